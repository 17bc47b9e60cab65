"""``harness export``: a finished run to files that others read."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import plugin_options
from harness.export import export_run
from harness.registry import load_catalog
from harness.run import open_run


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "layout",
    type=click.Choice(["xtreme"]),
    required=True,
    help="xtreme: its submission layout, as 'harness score' and XTREME's evaluate.py read it.",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A new or empty folder.")
@click.option("--seed", type=int, help="Seed of the tasks that were trained. Default: the lowest.")
@plugin_options
def command(
    run: Path, layout: str, output: Path, seed: int | None, plugins: tuple[str, ...], no_plugins: bool
) -> None:
    """Write the predictions and gold answers of the run folder RUN to DIR/predictions and DIR/labels.

    Of each task its main metric's predictions in the main encoding are written, in every language.
    """
    catalog = load_catalog(plugins, others=not no_plugins)
    done = export_run(open_run(run), output, catalog, seed)
    for note in done.notes:
        click.echo(f"harness: not comparable with published scores: {note}", err=True)
    if done.skipped:
        click.echo(f"harness: not written, for they have no such layout: {', '.join(done.skipped)}", err=True)
    click.echo(f"{done.files} files of {len(done.tasks)} tasks: {output / 'predictions'}")
    click.echo(f"score:  harness score {output / 'predictions'} --labels {output / 'labels'} -l available")
