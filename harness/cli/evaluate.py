"""``harness eval``: options to a request, the run's steps to progress, its records to a table or JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.github import append_summary
from harness.cli.options import json_option, machine_options, plugin_options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.catalog import Catalog
    from harness.engine.ranks import Ranks
    from harness.request import Prepared, Request
    from harness.run import Run
    from harness.suite import Suite


@click.command()
@click.option(
    "-m",
    "--model",
    multiple=True,
    required=True,
    metavar="[TASK=]MODEL",
    help="A model folder, a hub id (owner/name), 'sample', or a folder of one model folder per task; a decoder with "
    "+bidirectional behind it is read in both directions.",
)
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
    "--data", default="hub", show_default=True, metavar="hub|sample|DIR|DIR+hub", help="Where rows come from."
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
    help="Another setting of a task's format, e.g. bucc2018.margin=distance, bucc2018.k=8, bucc2018.retrieval=intersect, tatoeba.centred=true.",
)
@click.option(
    "--protocol", help="Layer, pooling and lengths as published. Default: the task's first (xtreme)."
)
@click.option("--layer", help="Hidden state: a number, 'last', 'middle' (XTREME's), or 'all'.")
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls", "last_token"]),
    help="Default: the model's own, else the protocol's.",
)
@click.option(
    "--skip-special-tokens", is_flag=True, help="Leave <s> and </s> out of the mean (XTREME keeps them)."
)
@click.option("--max-length", type=int, help="Tokens per text at most; what is cut is counted.")
@click.option(
    "-b", "--batch-tokens", type=int, help="Tokens per batch. Default: 3072 on CPUs, 65536 on CUDA."
)
@click.option("-L", "--limit", type=int, help="Items per task and language; marked wherever it is shown.")
@click.option(
    "--overwrite",
    type=click.Choice(["missing", "always", "never"]),
    default="missing",
    show_default=True,
    help="Compute what is missing, everything selected, or refuse a folder that holds results.",
)
@click.option("--keep-going/--fail-fast", default=True, help="What to do when a task in a language fails.")
@click.option("--model-revision", "revision", help="Commit, branch or tag of a hub model.")
@click.option(
    "--train/--no-train",
    default=True,
    help="Fine-tune a head where the model brings none that fits, or refuse. Default: fine-tune, and say so first.",
)
@click.option(
    "--train-from",
    multiple=True,
    metavar="[TASK=][OTHER/]SPLIT[:RANGE]",
    help="Another training set than the protocol's, e.g. train:2000 or pawsx=dev:0-699. What is learned is not scored.",
)
@click.option(
    "--hyper",
    multiple=True,
    metavar="[TASK.]NAME=VALUE",
    help="Another hyper-parameter than the protocol's, e.g. epochs=1, panx.max_steps=500, select=last.",
)
@click.option(
    "--seeds",
    default="0",
    show_default=True,
    callback=lambda _context, _option, text: _numbers(text),
    help="One fine-tuning for each, comma-separated.",
)
@click.option(
    "--head-labels",
    multiple=True,
    metavar="TASK=LABEL,LABEL,…",
    help="What the outputs of the model's head mean, in order, where it does not say so; 'none' leaves it aside.",
)
@machine_options
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@plugin_options
@json_option
def command(dry_run: bool, as_json: bool, **options: Any) -> int:
    """Evaluate a model zero-shot on tasks, in every language, and write a run folder.

    The same command goes on where an earlier one stopped, and computes nothing twice.
    """
    from harness.cli.together import taking_part

    with taking_part() as ranks:
        return _evaluated(ranks, options, dry_run=dry_run, as_json=as_json)


def _evaluated(ranks: Ranks, options: dict[str, Any], *, dry_run: bool, as_json: bool) -> int:
    # The imports wait, so that --help needs no torch.
    from harness import api
    from harness.cli.planned import show_plan
    from harness.cli.progress import listener, say_of
    from harness.registry import load_catalog

    catalog = load_catalog(options.pop("plugins"), others=not options.pop("no_plugins"))
    prepared = api.prepare(_request(options), catalog)
    if dry_run:
        if ranks.first:
            show_plan(prepared, as_json=as_json)
        return 0
    if ranks.first:
        say_of(prepared.compute)
    with listener(quiet=not ranks.first) as told:
        run = api.carry_out(prepared, catalog, told)
    return ranks.from_first(lambda: _show(run, prepared, catalog, as_json=as_json))


def _show(run: Run, prepared: Prepared, catalog: Catalog, *, as_json: bool) -> int:
    """Print a finished run; its exit code."""
    from harness.run import verdict

    code, sentence = verdict(run)
    if as_json:
        _print_json(run, code, sentence, catalog.suites)
    else:
        _print_table(run, prepared, catalog.suites)
    click.echo(f"harness: {sentence}", err=True)
    append_summary((run.folder / "report.md").read_text(encoding="utf-8"))
    return code


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise click.BadParameter(f"{text}: give whole numbers, comma-separated") from error


def _request(options: dict[str, Any]) -> Request:
    from harness.request import Request

    options["special_tokens"] = not options.pop("skip_special_tokens")
    options["fail_fast"] = not options.pop("keep_going")
    return Request(**options)


def _print_json(run: Run, code: int, sentence: str, suites: Mapping[str, Suite]) -> None:
    from harness.report import tables_as_json

    value = {
        "folder": str(run.folder),
        "status": run.manifest["status"],
        "exit_code": code,
        "verdict": sentence,
        "failures": [
            {"task": task, "language": language, "seed": seed, "error": error}
            for (task, language, seed), error in run.failures.items()
        ],
        "records": run.table(),
        "report": tables_as_json(run, suites),
    }
    click.echo(json.dumps(value, ensure_ascii=False, indent=1))


def _print_table(run: Run, prepared: Prepared, suites: Mapping[str, Suite]) -> None:
    from harness.cli.console import console
    from harness.report import summarise, terminal

    chosen = {unit.key for unit in prepared.plan.units}
    shown = [record for record in run.records if record.unit in chosen]
    console().print(terminal.render(summarise(shown, suites)))
    for entry in prepared.selected:
        if entry.missing:
            click.echo(
                f"not in the data, {entry.task.name} ({len(entry.missing)}): {' '.join(entry.missing)}"
            )
    click.echo(f"run:    {run.folder}")
    click.echo(f"report: {run.report}")
