"""``harness eval``: options to a request, the run's steps to progress, its records to a table or JSON."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import json_option, plugin_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.api import Prepared, Request
    from harness.plan import Space, Unit
    from harness.run import Run
    from harness.suite import Suite


@click.command()
@click.option("-m", "--model", required=True, help="A model folder, a hub id (owner/name), or 'sample'.")
@click.option(
    "-t", "--tasks", multiple=True, required=True, help="Tasks, suites or globs; comma-separated or repeated."
)
@click.option(
    "-l",
    "--languages",
    multiple=True,
    help="ISO 639-1 or 639-3 codes, or 'available' for what the data holds. Default: the suite's, or all of a task.",
)
@click.option(
    "--data", default="hub", show_default=True, metavar="hub|sample|DIR", help="Where rows come from."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Run folder. Default: runs/<model>-<hash>."
)
@click.option("--split", multiple=True, metavar="[TASK=]SPLIT", help="Another split than the task's own.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="TASK.SETTING=VALUE",
    help="Another setting of a task's format, e.g. bucc2018.margin=distance, .k=8, .retrieval=intersect.",
)
@click.option(
    "--protocol", help="Layer, pooling and lengths as published. Default: the task's first (xtreme)."
)
@click.option("--layer", help="Hidden state: a number, 'last', 'middle' (XTREME's), or 'all'.")
@click.option(
    "--pooling", type=click.Choice(["mean", "cls"]), help="Default: the model's own, else the protocol's."
)
@click.option(
    "--skip-special-tokens", is_flag=True, help="Leave <s> and </s> out of the mean (XTREME keeps them)."
)
@click.option("--max-length", type=int, help="Tokens per text at most; what is cut is counted.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:N]")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
    default="auto",
    show_default=True,
    help="auto: float32 on CPUs, bfloat16 on CUDA devices that have it.",
)
@click.option(
    "-b", "--batch-tokens", type=int, help="Tokens per batch. Default: 2048 on CPUs, 65536 on CUDA."
)
@click.option("-L", "--limit", type=int, help="Items per task and language; marked, and never averaged.")
@click.option(
    "--overwrite",
    type=click.Choice(["missing", "always", "never"]),
    default="missing",
    show_default=True,
    help="Compute what is missing, everything selected, or refuse a folder that holds results.",
)
@click.option("--keep-going/--fail-fast", default=True, help="What to do when a task in a language fails.")
@click.option("--offline", is_flag=True, help="Ask no network; read only what is cached.")
@click.option("--model-revision", "revision", help="Commit, branch or tag of a hub model.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@plugin_options
@json_option
def command(dry_run: bool, as_json: bool, **options: Any) -> int:
    """Evaluate a model zero-shot on tasks, in every language, and write a run folder.

    The same command goes on where an earlier one stopped, and computes nothing twice.
    """
    # The imports wait, so that --help needs no torch.
    from harness import api
    from harness.registry import load_catalog

    catalog = load_catalog(options.pop("plugins"), others=not options.pop("no_plugins"))
    request = _request(options)
    prepared = api.prepare(request, catalog)
    if dry_run:
        _show_plan(prepared, as_json=as_json)
        return 0
    from harness.cli.progress import listener
    from harness.run import verdict

    with listener() as told:
        run = api.carry_out(prepared, catalog, told)
    code, sentence = verdict(run)
    if as_json:
        _print_json(run, code, sentence)
    else:
        _print_table(run, prepared, catalog.suites)
    click.echo(f"harness: {sentence}", err=True)
    _tell_github(run)
    return code


def _tell_github(run: Run) -> None:
    """Append the report to the job summary where GitHub Actions offers one."""
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if not summary:
        return
    try:
        with Path(summary).open("a", encoding="utf-8") as stream:
            stream.write((run.folder / "report.md").read_text(encoding="utf-8"))
    except OSError as error:
        click.echo(f"harness: the job summary {summary} cannot be written ({error.strerror})", err=True)


def _request(options: dict[str, Any]) -> Request:
    from harness.api import Request

    options["special_tokens"] = not options.pop("skip_special_tokens")
    options["fail_fast"] = not options.pop("keep_going")
    return Request(**options)


def _print_json(run: Run, code: int, sentence: str) -> None:
    value = {
        "folder": str(run.folder),
        "status": run.manifest["status"],
        "exit_code": code,
        "verdict": sentence,
        "failures": [
            {"task": task, "language": lang, "error": error} for (task, lang), error in run.failures.items()
        ],
        "records": run.table(),
    }
    click.echo(json.dumps(value, ensure_ascii=False, indent=1))


def _print_table(run: Run, prepared: Prepared, suites: Mapping[str, Suite]) -> None:
    from rich.console import Console

    from harness.report import summarise, terminal

    chosen = {(unit.task.name, unit.language) for unit in prepared.plan.units}
    shown = [record for record in run.records if record.unit in chosen]
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(terminal.render(summarise(shown, suites)))
    for entry in prepared.selected:
        if entry.missing:
            click.echo(
                f"not in the data, {entry.task.name} ({len(entry.missing)}): {' '.join(entry.missing)}"
            )
    click.echo(f"run:    {run.folder}")
    click.echo(f"report: {run.report}")


def _show_plan(prepared: Prepared, *, as_json: bool) -> None:
    plan = prepared.plan
    if as_json:
        units = [_unit_facts(unit, plan.checkpoint.depth) for unit in plan.units]
        value = {"folder": str(prepared.folder), "run": plan.run, "units": units}
        click.echo(json.dumps(value, ensure_ascii=False, indent=1))
        return
    model = plan.checkpoint
    click.echo(f"model   {model.name} ({model.family}, {model.depth} blocks), weights {model.weights}")
    click.echo(f"device  {prepared.request.device}, {prepared.request.dtype}")
    click.echo(f"folder  {prepared.folder}")
    for unit in plan.units:
        tuned = f", threshold from {unit.tuning}" if unit.tuning else ""
        told = f"{unit.examples} texts, {len(unit.texts)} distinct, from {unit.source}{tuned}"
        click.echo(f"  {unit.name} {unit.split}: {unit.error or told}")
    for space in plan.spaces:
        click.echo(f"vectors {_told(space, model.depth)}")
    click.echo(f"in all  {len(plan.units)} units, {plan.distinct} distinct texts to encode unless stored")


def _unit_facts(unit: Unit, depth: int) -> dict[str, Any]:
    return {
        "task": unit.task.name,
        "language": unit.language,
        "split": unit.split,
        "tuning_split": unit.tuning,
        "source": unit.source,
        "texts": unit.examples,
        "distinct": len(unit.texts),
        "vectors": [_told(space, depth) for space in unit.spaces],
        "error": unit.error,
    }


def _told(space: Space, depth: int) -> str:
    tokens = "all tokens" if space.special_tokens else "content tokens"
    name = "last_hidden_state" if space.layer == depth else f"hidden_states[{space.layer}] of {depth + 1}"
    return f"{name}, {space.pooling} over {tokens}, at most {space.max_length} tokens"
