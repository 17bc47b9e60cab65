"""``harness gate``: options to a gate, its cells to a table, JSON or Markdown, its verdict to the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.github import append_summary
from harness.cli.options import json_option, plugin_options
from harness.gate import ALPHA, MAX_DROP, MIN_ITEMS, Cell, Gate, gate
from harness.registry import load_catalog

if TYPE_CHECKING:
    from rich.table import Table

_COLUMNS = (
    "task",
    "language",
    "baseline",
    "run",
    "drop",
    "95 % interval",
    "p",
    "adjusted p",
    "n",
    "detectable",
    "verdict",
)
_WORDS = (0, 1, 10)  # columns that hold words; numbers stand to the right
_STYLES = {"regression": "bold red", "missing": "red", "not comparable": "red", "too few items": "yellow"}
_LEGEND = "Values in percent, drops in points; detectable: the drop found with 80 % power at alpha"


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--baseline", type=click.Path(path_type=Path), required=True, help="Run folder to compare with."
)
@click.option(
    "--max-drop",
    type=float,
    default=MAX_DROP,
    show_default=True,
    help="Largest allowed drop, percent points.",
)
@click.option(
    "--alpha",
    type=float,
    default=ALPHA,
    show_default=True,
    help="Chance of a false alarm, over all cells together.",
)
@click.option(
    "--min-items",
    type=int,
    default=MIN_ITEMS,
    show_default=True,
    help="Items below which nothing is decided.",
)
@plugin_options
@json_option
def command(
    run: Path,
    baseline: Path,
    max_drop: float,
    alpha: float,
    min_items: int,
    plugins: tuple[str, ...],
    no_plugins: bool,
    as_json: bool,
) -> int:
    """Is RUN worse than a baseline, in any task and language?

    Both are compared item by item (exact McNemar test for accuracy, paired bootstrap for the rest). A task in a language
    fails when the one-sided test, adjusted by Holm, rejects "no drop" and the drop is larger than --max-drop.

    Exit codes: 0 no regression; 1 regression; 4 cannot decide: the baseline is no run folder, a task in a language is
    missing in RUN or not comparable, or there are too few items everywhere.
    """
    catalog = load_catalog(plugins, others=not no_plugins)
    found = gate(run, baseline, catalog, max_drop=max_drop, alpha=alpha, min_items=min_items)
    verdict = found.verdict
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False, indent=1))
        click.echo(f"harness: {verdict.sentence}", err=True)
    else:
        _print(found)
    append_summary(_markdown(found))
    return verdict.code


def _print(found: Gate) -> None:
    from harness.cli.console import console

    out = console(plain=True)
    if found.cells:
        out.print(_table(found))
    for remark in _remarks(found):
        out.print(remark, soft_wrap=True)
    out.print(f"verdict: {found.verdict.sentence}", soft_wrap=True)


def _table(found: Gate) -> Table:
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, caption=_LEGEND, caption_justify="left")
    for number, column in enumerate(_COLUMNS):
        shown.add_column(column, justify="left" if number in _WORDS else "right")
    for cell in found.cells:
        shown.add_row(*_row(cell), style=_STYLES.get(cell.status))
    return shown


def _row(cell: Cell) -> tuple[str, ...]:
    compared = cell.comparison
    if compared is None:
        return (cell.task, cell.language, *[""] * 8, cell.status)
    return (
        cell.task,
        cell.language,
        f"{compared.baseline:.2f}",
        f"{compared.value:.2f}",
        f"{compared.drop:+.2f}",
        f"{compared.low:+.2f} to {compared.high:+.2f}",
        _p(compared.p),
        "" if cell.adjusted_p is None else _p(cell.adjusted_p),
        str(compared.n),
        "" if cell.detectable is None else f"{cell.detectable:.2f}",
        cell.status,
    )


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def _remarks(found: Gate) -> list[str]:
    """Why cells were not tested, and notes on those that were."""
    return [
        f"{cell.name}: {text}"
        for cell in found.cells
        for text in (cell.reason, *cell.notes)
        if text and cell.status != "new"
    ]


def _markdown(found: Gate) -> str:
    lines = [
        f"## Gate: {found.verdict.word}",
        "",
        f"{found.verdict.sentence}.",
        "",
        f"`{found.run}` against `{found.baseline}`. {_LEGEND}. Allowed: {found.max_drop:g}; alpha {found.alpha:g}.",
        "",
    ]
    if found.cells:
        rules = ["---" if number in _WORDS else "---:" for number in range(len(_COLUMNS))]
        rows = [_COLUMNS, rules, *(_row(cell) for cell in found.cells)]
        lines += ["| " + " | ".join(row) + " |" for row in rows] + [""]
    lines += [f"- {remark}" for remark in _remarks(found)] + [""]
    return "\n".join(lines)
