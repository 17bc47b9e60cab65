"""``harness report``: a finished run, shown again."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness import report
from harness.cli.options import json_option, plugin_options
from harness.registry import load_catalog
from harness.run import open_run


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--by-language/--no-by-language",
    default=None,
    help="A line per language on the terminal. Default: for up to two tasks.",
)
@plugin_options
@json_option
def command(
    folder: Path, by_language: bool | None, plugins: tuple[str, ...], no_plugins: bool, as_json: bool
) -> None:
    """Show the scores of the run in FOLDER and rewrite its report.html and report.md."""
    from rich.console import Console

    from harness.report import terminal

    run = open_run(folder)
    suites = load_catalog(plugins, others=not no_plugins).suites
    report.write(run, suites)
    if as_json:
        click.echo(json.dumps(report.tables_as_json(run, suites), ensure_ascii=False, indent=1))
        return
    Console().print(terminal.render(report.summarise(run.records, suites), by_language=by_language))
    click.echo(f"report: {run.report}")
