"""``harness report``: a finished run, shown again."""

from __future__ import annotations

from pathlib import Path

import click

from harness import report
from harness.cli.options import plugin_options
from harness.registry import load_catalog
from harness.run import open_run


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@plugin_options
def command(folder: Path, plugins: tuple[str, ...], no_plugins: bool) -> None:
    """Show the scores of the run in FOLDER and rewrite its report.html and report.md."""
    from rich.console import Console

    from harness.report import terminal

    run = open_run(folder)
    suites = load_catalog(plugins, others=not no_plugins).suites
    report.write(run, suites)
    Console().print(terminal.render(report.summarise(run.records, suites)))
    click.echo(f"report: {run.report}")
