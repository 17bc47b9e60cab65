"""A run as tables on a terminal, short enough to be read there. Knows tables; computes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness import languages
from harness.report.cells import Cell
from harness.report.health import warnings
from harness.report.suites import SuiteTable, brief_line, title_of, total_label
from harness.report.summary import TaskTable, label
from harness.report.tables import Tables
from harness.report.transfer import NO_ENGLISH

# Up to so many tasks every language has its own line; with more the report has them.
FEW_TASKS = 2
_POINTER = "every language: in the report, or by harness report FOLDER --by-language"


def render(tables: Tables, *, by_language: bool | None = None) -> RenderableType:
    """The suites, one line per task, and warnings.

    Args:
        tables: What there is to show.
        by_language: Whether a table per task and encoding follows, with a line per language. None: for few tasks only.
    """
    tasks = len({table.task for table in tables.tasks})
    detailed = tasks <= FEW_TASKS if by_language is None else by_language
    parts: list[RenderableType] = [part for suite in tables.suites for part in _suite(suite)]
    if tables.main_transfer:
        parts += _transfers(tables)
    for table in tables.tasks if detailed else ():
        parts.append(_table(table))
        parts += [_warning(f"not comparable with published scores: {text}") for text in table.caveats]
    for table in tables.tasks:
        if table.main:
            parts += [_warning(f"{table.task}: {text}") for text in warnings(table.health)]
    if tables.seed_note:
        parts.append(Text(f"  {tables.seed_note}"))
    if tables.error_note:
        parts.append(Text(f"  {tables.error_note}"))
    if not detailed:
        parts.append(Text(f"  {_POINTER}", style="dim"))
    return Group(*parts)


def _suite(suite: SuiteTable) -> Iterable[RenderableType]:
    if suite.brief:
        yield Text(f"  {brief_line(suite)}")
        return
    shown = Table(title=suite.name, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    shown.add_column("task", overflow="fold")
    shown.add_column("group")
    shown.add_column("score", justify="right")
    shown.add_column("languages", justify="right")
    for score in suite.scores:
        shown.add_row(score.task, score.group, _cell(score.score), f"{len(score.languages)}/{score.of}")
    shown.add_section()
    for total in (*suite.groups, suite.overall):
        shown.add_row(total_label(suite, total), "", _cell(total.score), "", style="bold")
    yield shown
    if suite.overall.reasons:
        yield _warning(title_of(suite))


def _transfers(tables: Tables) -> Iterable[RenderableType]:
    shown = Table(title="transfer", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    shown.add_column("task", overflow="fold")
    for column in ("average", "English", "others", "gap"):
        shown.add_column(column, justify="right")
    shown.add_column("worst", overflow="fold")
    shown.add_column("metric", overflow="fold")
    shown.add_column("languages", overflow="fold")
    for entry in tables.main_transfer:
        worst = f"{entry.worst} {entry.scores[entry.worst].value:.2f}"
        numbers = (entry.average, entry.english, entry.others, entry.gap)
        whose = "" if entry.basis == "languages shown" else f"/{entry.of} {entry.basis}"
        shown.add_row(
            f"{entry.task}{'*' if entry.average.marks else ''}",
            *["–" if cell is None else f"{cell.value:.2f} ±{cell.stderr:.2f}" for cell in numbers],
            worst,
            " and ".join(entry.metrics),
            f"{len(entry.scores)}{whose}",
        )
    yield shown
    for text in tables.transfer_marks:
        yield _warning(f"*: not comparable with published scores: {text}")
    if any(entry.english is None for entry in tables.main_transfer):
        yield Text(f"  –: {NO_ENGLISH}", style="dim")


def _table(table: TaskTable) -> Table:
    shown = Table(
        title=f"{table.task}  {table.encoding}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    shown.add_column("language", overflow="fold")
    shown.add_column("n", justify="right")
    for column in table.columns:
        shown.add_column(table.header(column), justify="right")
    for average in table.averages:
        cells = [_cell(average.values.get(column), none="") for column in table.columns]
        shown.add_row(label(average), "", *cells, style="bold")
    shown.add_section()
    for language, row in table.rows.items():
        counted = [name for name, codes in table.counted.items() if language in codes]
        mark = "" if counted or not table.counted else " ·"
        cells = [_cell(row.get(column), none="") for column in table.columns]
        n = str(row[table.first].n) if table.first in row else ""
        shown.add_row(f"{language} {languages.name(language)}{mark}", n, *cells)
    if table.counted and any(not _counted(table, language) for language in table.rows):
        shown.caption = f"· not among the languages that {' and '.join(table.counted)} count"
        shown.caption_justify = "left"
    return shown


def _counted(table: TaskTable, language: str) -> bool:
    return any(language in codes for codes in table.counted.values())


def _warning(text: str) -> Text:
    return Text(f"  {text}", style="yellow")


def _cell(cell: Cell | None, none: str = "–") -> str:
    if cell is None:
        return none
    deviation = "" if cell.deviation is None else f" (sd {cell.deviation:.2f})"
    return f"{cell.value:.2f} ±{cell.stderr:.2f}{deviation}"
