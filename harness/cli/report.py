"""``harness report``: a finished run or an experiment, shown again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness import report
from harness.catalog import Catalog
from harness.cli.options import json_option, plugin_options
from harness.names import EXPERIMENT
from harness.registry import load_catalog
from harness.run import Run, open_run


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--by-language/--no-by-language",
    default=None,
    help="A line per language on the terminal, of a run. Default: for up to two tasks.",
)
@plugin_options
@json_option
def command(
    folder: Path, by_language: bool | None, plugins: tuple[str, ...], no_plugins: bool, as_json: bool
) -> None:
    """Show the scores of the run or the experiment in FOLDER and rewrite its report.

    A run gets report.html and report.md, an experiment a CSV file per table as well.
    """
    catalog = load_catalog(plugins, others=not no_plugins)
    if (folder / EXPERIMENT).is_file():
        _experiment(folder, catalog, as_json)
    else:
        _run(folder, catalog, by_language, as_json)


def _run(folder: Path, catalog: Catalog, by_language: bool | None, as_json: bool) -> None:
    from harness.cli.console import console
    from harness.report import terminal

    run = open_run(folder)
    gone = _gone(run, catalog)
    if gone:
        click.echo(
            f"harness: {folder} was made with the plugins {', '.join(gone)}, which are not loaded here, so no suite of theirs "
            "is shown; install them, or give --plugin",
            err=True,
        )
    report.write(run, catalog.suites)
    if as_json:
        _print_json(report.tables_as_json(run, catalog.suites))
        return
    console().print(terminal.render(report.summarise(run.records, catalog.suites), by_language=by_language))
    click.echo(f"report: {run.report}")


def _gone(run: Run, catalog: Catalog) -> list[str]:
    """Plugins that a run was made with and that are not here."""
    here = {plugin.name for plugin in catalog.plugins if plugin.status == "loaded"}
    then = [plugin["name"] for plugin in run.manifest.get("plugins", ()) if plugin["status"] == "loaded"]
    return [name for name in then if name not in here]


def _experiment(folder: Path, catalog: Catalog, as_json: bool) -> None:
    from harness.cli.console import console
    from harness.report import experiment
    from harness.report.experiment import terminal

    found = experiment.find(folder, catalog)
    page = experiment.write(found)
    if as_json:
        _print_json(experiment.as_json(found))
        return
    console().print(terminal.render(found))
    click.echo(f"report: {page}")


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=1))
