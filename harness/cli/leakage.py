"""``harness leakage``: whether what a checkpoint learned is evaluated. Imports no torch."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from harness.cli.options import json_option, plugin_options

_MOST_SHOWN = 20


@click.command()
@click.argument("checkpoint")
@click.option(
    "-t", "--tasks", multiple=True, required=True, help="Tasks, suites or globs; comma-separated or repeated."
)
@click.option("-l", "--languages", multiple=True, help="Codes; comma-separated or repeated. Default: all.")
@click.option(
    "--data", required=True, metavar="hub|sample|DIR|DIR+hub", help="Where both kinds of texts come from."
)
@click.option("--offline", is_flag=True, help="Ask no network; read only what is cached.")
@plugin_options
@json_option
def command(
    checkpoint: str,
    tasks: Sequence[str],
    languages: Sequence[str],
    data: str,
    offline: bool,
    plugins: Sequence[str],
    no_plugins: bool,
    as_json: bool,
) -> int:
    """Read again what the trainings of a CHECKPOINT learned, and look for it in evaluated sets.

    A learned text leaks where it has a whole evaluated text in it (five words at least; a shorter one must be all of it) or
    shares thirteen words in a row with one. Exit code 0: none; 1: some; 4: what was learned could not be read again. Texts
    from which a new model's tokenizer was made are not looked at; new:…,apart=TASKS keeps them clean.
    """
    from harness.checkpoints import open_checkpoint
    from harness.errors import UsageError
    from harness.languages import canonical
    from harness.leakage import leakage
    from harness.newmodels import is_new
    from harness.registry import load_catalog
    from harness.selection import tasks_of
    from harness.sources import DataLocation

    if checkpoint == "sample" or is_new(checkpoint):
        raise UsageError(
            f"CHECKPOINT {checkpoint}: it has learned nothing yet; give the folder that harness train or harness eval made"
        )
    catalog = load_catalog(plugins, others=not no_plugins)
    found = leakage(
        open_checkpoint(checkpoint, offline=offline),
        [catalog.task(name) for name in sorted(tasks_of(catalog, tasks))],
        [canonical(code.strip()) for value in languages for code in value.split(",") if code.strip()],
        DataLocation.parse(data, offline=offline),
        catalog,
    )
    code, sentence = found.verdict
    if as_json:
        value: dict[str, Any] = {**asdict(found), "exit_code": code, "verdict": sentence}
        click.echo(json.dumps(value, ensure_ascii=False, indent=1))
        return code
    for name, count in found.learned.items():
        click.echo(f"learned    {name}: {count} texts")
    click.echo(f"evaluated  {len(found.evaluated)} sets: {sum(found.evaluated.values())} texts")
    unread = {**found.forgotten, **found.unread}
    for name, told in itertools.islice(unread.items(), _MOST_SHOWN):
        click.echo(f"unread     {name}: {told.removeprefix(f'{name}: ')}", err=True)
    if len(unread) > _MOST_SHOWN:
        click.echo(f"unread     … and {len(unread) - _MOST_SHOWN} sets more; --json lists all", err=True)
    for leak in found.leaks[:_MOST_SHOWN]:
        click.echo(f"leak       {leak.texts} of {leak.learned} in {leak.evaluated}, e.g. {leak.example!r}")
    if len(found.leaks) > _MOST_SHOWN:
        click.echo(f"leak       … and {len(found.leaks) - _MOST_SHOWN} sets more; --json lists all")
    click.echo(sentence)
    return code
