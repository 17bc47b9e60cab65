"""``harness run``: a recipe to an experiment, its cells to progress, its report to a path. Imports no torch itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import json_option, machine_options, plugin_options

if TYPE_CHECKING:
    from harness.catalog import Catalog
    from harness.executors import Executor
    from harness.experiment import Conditions, Ended, ExperimentWriter, Job
    from harness.recipes import Recipe, RecipeModel


@click.command()
@click.argument("recipe")
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    metavar="[NAME=]MODEL",
    help="Another model than the recipe's: a folder, a hub id or 'sample'. Repeatable.",
)
@click.option(
    "--data",
    metavar="hub|sample|DIR|DIR+hub",
    help="Where rows come from. Default: what the recipe says, else the hub.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Folder of the experiment. Default: experiments/<recipe>.",
)
@click.option(
    "--executor",
    type=click.Choice(["local", "ray", "slurm"]),
    default="local",
    show_default=True,
    help="Where cells run: in processes of this machine, one per device, on a Ray cluster, or as jobs of Slurm.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Cells at a time. Default: one per CUDA device, one on a CPU; with ray as many as the nodes can do, with slurm "
    "all. Several processes on a CPU share its cores evenly.",
)
@click.option(
    "--ray-address",
    metavar="auto|local|HOST:PORT",
    help="With --executor ray: the cluster that this machine belongs to (auto, the default), a new one of this machine "
    "alone, or that of a head.",
)
@click.option(
    "--slurm",
    multiple=True,
    metavar="KEY=VALUE",
    help="With --executor slurm: account, cluster, constraint, gpus, memory, partition, qos or time of a job. Repeatable.",
)
@click.option(
    "--cores",
    type=click.IntRange(min=1),
    help="With ray or slurm: CPU cores of a cell. Default: a node's, divided by its GPUs, or what Slurm gives.",
)
@click.option(
    "-b", "--batch-tokens", type=click.IntRange(min=1), help="Tokens per batch, as in harness eval."
)
@machine_options
@click.option("--dry-run", is_flag=True, help="Print cells, shared prefixes and cost, and stop.")
@plugin_options
@json_option
def command(
    recipe: str,
    models: Sequence[str],
    data: str | None,
    output: Path | None,
    executor: str,
    dry_run: bool,
    as_json: bool,
    plugins: Sequence[str],
    no_plugins: bool,
    **given: Any,
) -> int:
    """Carry out a RECIPE: models, ways of intermediate training, targets and seeds.

    RECIPE is the name of a shipped one (an unknown name shows them all) or a .yaml file. The same command goes on where an
    earlier one stopped; a cell that fails does not keep the others from being done.
    """
    from harness.cli.places import executor_of, planned_device
    from harness.cli.together import alone
    from harness.experiment import Conditions, ExperimentWriter
    from harness.recipefile import find_recipe
    from harness.recipenames import check
    from harness.registry import load_catalog

    alone("run")
    catalog = load_catalog(plugins, others=not no_plugins)
    found = find_recipe(recipe, catalog.recipes)
    check(found, catalog, given=[key for key, value in (("model", models), ("data", data)) if value])
    asked = replace(found.recipe, models=_models(models)) if models else found.recipe
    names = ("device", "workers", "cores", "ray_address", "slurm")
    where = {name: given.pop(name) for name in names}
    given |= {"plugins": tuple(plugins), "others": not no_plugins}
    folder = output or Path("experiments") / asked.name
    if dry_run:
        device = planned_device(executor, **where)
        conditions = Conditions(device=device, data=_data(data or asked.data or "hub"), **given)
        _show_plan(asked, _jobs(asked, catalog, conditions, folder), catalog, conditions, as_json=as_json)
        return 0
    with executor_of(executor, **where) as place:
        conditions = Conditions(device=place.device, data=_data(data or asked.data or "hub"), **given)
        jobs = _jobs(asked, catalog, conditions, folder)
        with ExperimentWriter(
            folder=folder,
            recipe=asked,
            jobs=jobs,
            conditions=conditions,
            workers=max(1, min(place.processes, len(jobs))),
        ) as writer:
            writer.write()
            _carry_out(writer, place)
            return _finished(writer, catalog, as_json=as_json)


def _models(texts: Sequence[str]) -> tuple[RecipeModel, ...]:
    """Models by name, the last part of their path where no name is given; a folder as an absolute path."""
    from harness.newmodels import is_new
    from harness.recipes import RecipeModel

    found = []
    for text in texts:
        name, equals, model = ("", "", text) if is_new(text) else text.partition("=")
        model = model if equals else text
        name = name if equals else model if is_new(model) else Path(model).name
        found.append(
            RecipeModel(name=name, model=str(Path(model).resolve()) if Path(model).is_dir() else model)
        )
    return tuple(found)


def _jobs(recipe: Recipe, catalog: Catalog, conditions: Conditions, folder: Path) -> tuple[Job, ...]:
    """The cells of a recipe, if all of them can be evaluated; raises UsageError."""
    from harness.experiment import jobs_of

    _check_targets(recipe, catalog, conditions.data)
    return jobs_of(recipe, conditions, folder)


def _check_targets(recipe: Recipe, catalog: Catalog, data: str) -> None:
    """Find out before anything is trained what no cell could evaluate: languages, splits, protocol; raises UsageError."""
    from harness.errors import UsageError
    from harness.selection import select
    from harness.sources import DataLocation

    location = DataLocation.parse(data)
    for entry in select(catalog, recipe.targets, recipe.languages, recipe.split, location):
        known = entry.task.protocols
        if recipe.protocol not in (None, *known):
            raise UsageError(
                f"recipe '{recipe.name}': task '{entry.task.name}' has no protocol '{recipe.protocol}'; it has "
                f"{', '.join(known)}"
            )


def _data(text: str) -> str:
    """A folder as an absolute path, for cells run in other processes; raises DataError where there is none."""
    from harness.sources import DataLocation

    return str(DataLocation.parse(text))


def _carry_out(writer: ExperimentWriter, place: Executor) -> None:
    from harness.cli.cells import shown
    from harness.errors import OutputError

    try:
        with shown(writer.jobs) as show, closing(place.carry_out(writer.jobs, writer.sharing)) as events:
            for event in events:
                show(event)
                if event.told[:1] == ("started",):
                    writer.begin(event.job)
                if event.ended is not None:
                    writer.note(event.job, event.ended)
                    if event.ended.stops:
                        raise OutputError(event.ended.error)
    except KeyboardInterrupt:
        if place.farewell:
            click.echo(f"harness: {place.farewell}", err=True)
        raise
    writer.finish()


def _finished(writer: ExperimentWriter, catalog: Catalog, *, as_json: bool) -> int:
    from harness.report.experiment import write_experiment_report

    ended = [(job, writer.ended(job)) for job in writer.jobs]
    bad = [(job, end) for job, end in ended if end is None or end.status != "done"]
    report = write_experiment_report(writer.folder, catalog)
    code = 3 if bad else 0
    if as_json:
        _print_json(writer.folder, report, code, ended)
    else:
        for job, end in bad:
            click.echo(f"{job.cell.title}: {end.status if end else 'missing'}: {end.error if end else ''}")
        click.echo(f"experiment: {writer.folder}")
        click.echo(f"report:     {report}")
    click.echo(f"harness: {len(ended) - len(bad)} of {len(ended)} cells done", err=True)
    return code


def _print_json(folder: Path, report: Path, code: int, ended: Sequence[tuple[Job, Ended | None]]) -> None:
    cells = [
        {
            "id": job.id,
            "model": job.cell.model.name,
            "setting": job.cell.setting.name,
            "seed": job.cell.seed,
            "status": end.status if end else "missing",
            "error": end.error if end else "",
        }
        for job, end in ended
    ]
    value = {"folder": str(folder), "report": str(report), "exit_code": code, "cells": cells}
    click.echo(json.dumps(value, ensure_ascii=False, indent=1))


def _show_plan(
    recipe: Recipe, jobs: Sequence[Job], catalog: Catalog, conditions: Conditions, *, as_json: bool
) -> None:
    from harness.costs import cost_of
    from harness.recipes import shared_prefixes
    from harness.sources import DataLocation

    prefixes = shared_prefixes(recipe)
    cost = cost_of(recipe, catalog, DataLocation.parse(conditions.data))
    if conditions.device == "auto":
        click.echo(
            "harness: the Ray cluster was not asked, so cells are named as on a CPU; --device cuda names them as on GPUs",
            err=True,
        )
    if as_json:
        value = {
            "recipe": recipe.name,
            "cells": [{"id": job.id, "cell": job.cell.title} for job in jobs],
            "prefixes": [{"id": prefix.id, "cells": list(prefix.cells)} for prefix in prefixes],
            "cost": cost.as_json(),
        }
        click.echo(json.dumps(value, ensure_ascii=False, indent=1))
        return
    width = os.get_terminal_size().columns if sys.stdout.isatty() else 140
    click.echo(f"{recipe.name}: {recipe.question}"[:width])
    for job in jobs:
        click.echo(f"cell    {job.id}  {job.cell.title}")
    for prefix in prefixes:
        learned = ", then ".join(" + ".join(stage.tasks) for stage in prefix.stages)
        click.echo(
            f"shared  {prefix.model.name}: {learned}, seed {prefix.seed}: trained once for {len(prefix.cells)} cells"
        )
    for line in cost.lines():
        click.echo(f"cost    {line}")
