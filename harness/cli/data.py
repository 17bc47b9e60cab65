"""``harness data``: data sets before a run."""

from __future__ import annotations

from pathlib import Path

import click

from harness import packing, selection
from harness.cli.options import plugin_options
from harness.errors import DataError
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.spec import TaskSpec

tasks_option = click.option("-t", "--tasks", multiple=True, required=True, help="Tasks, suites or globs.")
data_option = click.option("--data", default="hub", show_default=True, metavar="hub|DIR", help="Which data.")


@click.group()
def command() -> None:
    """Fetch, verify and pack data sets."""


def _tasks(names: tuple[str, ...], plugins: tuple[str, ...], no_plugins: bool) -> list[TaskSpec]:
    return selection.tasks(load_catalog(plugins, others=not no_plugins), names)


@command.command()
@tasks_option
@click.option("--offline", is_flag=True, help="Only note the checksums of what is cached.")
@plugin_options
def fetch(tasks: tuple[str, ...], offline: bool, plugins: tuple[str, ...], no_plugins: bool) -> None:
    """Fetch the hub data of tasks at their pinned revisions; afterwards 'eval --offline' needs no network."""
    items = packing.fetch(_tasks(tasks, plugins, no_plugins), offline=offline)
    for origin in dict.fromkeys(item.origin for item in items):
        mine = [item for item in items if item.origin == origin]
        click.echo(f"{origin}: {len(mine)} files, {sum(item.bytes for item in mine)} bytes")
    click.echo(f"checksums: {packing.manifest_path()}")


@command.command()
@tasks_option
@data_option
@plugin_options
def verify(tasks: tuple[str, ...], data: str, plugins: tuple[str, ...], no_plugins: bool) -> None:
    """Compare the data of tasks with the checksums noted when it was fetched or packed."""
    problems = packing.verify(_tasks(tasks, plugins, no_plugins), DataLocation.parse(data, offline=True))
    for problem in problems[1:]:
        click.echo(problem, err=True)
    if problems:
        raise DataError(problems[0])
    click.echo("every file is as noted")


@command.command()
@tasks_option
@data_option
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The tar file to write.")
@plugin_options
def pack(tasks: tuple[str, ...], data: str, output: Path, plugins: tuple[str, ...], no_plugins: bool) -> None:
    """Put the data of tasks into one tar file with a checksummed manifest."""
    items = packing.pack(_tasks(tasks, plugins, no_plugins), DataLocation.parse(data, offline=True), output)
    click.echo(f"{output}: {len(items)} files, {sum(item.bytes for item in items)} bytes")


@command.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.option(
    "--to", "target", type=click.Path(path_type=Path), help="Folder for files that are not of the hub."
)
def unpack(archive: Path, target: Path | None) -> None:
    """Lay out a pack, checking every file: hub data into the hub's cache, other files below --to."""
    items = packing.unpack(archive, target)
    click.echo(f"{archive}: {len(items)} files laid out, every checksum right")
