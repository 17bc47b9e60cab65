"""``harness train``: options to stages, training to progress, the checkpoint's folder to standard output."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import json_option, machine_options, plugin_options
from harness.stages import PROTOCOL

if TYPE_CHECKING:
    from harness.curriculum import Course
    from harness.engine.ranks import Ranks
    from harness.training import Chain, Planned

_OWN = ("output", "data", "protocol", "seed", "revision", "offline", "overwrite", "model")


@click.command()
@click.option(
    "-m",
    "--model",
    required=True,
    help="A model folder, a hub id, 'sample', or new:…; +bidirectional as in harness eval.",
)
@click.option(
    "-t", "--tasks", multiple=True, required=True, help="What is learned; comma-separated or repeated."
)
@click.option(
    "--schedule",
    type=click.Choice(["multitask", "sequential"]),
    default="multitask",
    show_default=True,
    help="All tasks at once, one per optimizer step, or one after the other in the given order.",
)
@click.option(
    "--sampler",
    type=click.Choice(["proportional", "uniform", "temperature", "fixed"]),
    help="How often each task of a multi-task schedule is drawn. Default: proportional.",
)
@click.option("--temperature", type=float, help="Of the sampler 'temperature': sizes to the power 1/T.")
@click.option("--cap", type=int, help="Examples of a task that count at most for the sampler.")
@click.option(
    "--share", "shares", multiple=True, metavar="TASK=X", help="Fixed share of the steps of a task."
)
@click.option(
    "--mlm-share", type=float, default=0.0, show_default=True, help="Share of masked-LM steps, 0 to below 1."
)
@click.option(
    "--mlm-tasks",
    multiple=True,
    help="mlm (text), tlm (translation pairs), or both, with --mlm-share. Default: mlm.",
)
@click.option(
    "--mlm-languages", multiple=True, help="Of texts and translation pairs. Default: all that the data has."
)
@click.option("--mlm-alpha", type=float, help="Exponent of language sampling. Default: 0.3.")
@click.option(
    "--train-size",
    multiple=True,
    metavar="[TASK=]N|10%|0.1",
    help="A part of a training set; of one seed, smaller parts lie in larger ones.",
)
@click.option(
    "--translated",
    multiple=True,
    metavar="[TASK=]LANG,LANG[:SHARE]",
    help="Read this share of the examples (default 0.5) in translations: DATA/translated/<language>/….",
)
@click.option(
    "--train-from",
    multiple=True,
    metavar="[TASK=]SPLIT[:RANGE]",
    help="Another training set than the task's own.",
)
@click.option(
    "--apart",
    multiple=True,
    metavar="TASKS",
    help="Tasks, suites or globs whose evaluated texts must not be learned from mlm, tlm and their like; comma-separated or repeated.",
)
@click.option(
    "--hyper", multiple=True, metavar="[TASK.]NAME=VALUE", help="Another hyper-parameter, e.g. mnli.epochs=1."
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="TASK.SETTING=VALUE",
    help="Another setting of a task's format, e.g. mlm.share=0.3, translation_ranking.temperature=0.1.",
)
@click.option(
    "--data", default="hub", show_default=True, metavar="hub|sample|DIR|DIR+hub", help="Where rows come from."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Where the checkpoint is put. Default: the cache."
)
@click.option("--overwrite", is_flag=True, help="Replace a checkpoint that lies in --output.")
@click.option("--protocol", default=PROTOCOL, show_default=True, help="Whose hyper-parameters and lengths.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--model-revision", "revision", help="Commit, branch or tag of a hub model.")
@machine_options
@click.option("--dry-run", is_flag=True, help="Print what would be learned and stop.")
@plugin_options
@json_option
def command(dry_run: bool, as_json: bool, **options: Any) -> int:
    """Train a model on intermediate tasks: one, several at once, or one after the other.

    The result is a plain transformers encoder with the heads beside it, which 'harness eval' takes as a model. The same
    command goes on where an earlier one stopped.
    """
    from harness.cli.together import taking_part

    with taking_part() as ranks:
        return _trained(ranks, options, dry_run=dry_run, as_json=as_json)


def _trained(ranks: Ranks, options: dict[str, Any], *, dry_run: bool, as_json: bool) -> int:
    from harness.cli.progress import listener, say_of
    from harness.home import home
    from harness.making import model_of
    from harness.registry import load_catalog
    from harness.sources import DataLocation
    from harness.stageoptions import StageOptions, stages_of
    from harness.training import Chain, carried_out, planned
    from harness.unused import check_stage_options
    from harness.workplace import compute_of

    catalog = load_catalog(options.pop("plugins"), others=not options.pop("no_plugins"))
    own = {name: options.pop(name) for name in _OWN}
    compute = compute_of(
        **{name: options.pop(name) for name in ("device", "dtype", "gradient_checkpointing", "deterministic")}
    )
    staged = StageOptions(**options)
    stages = stages_of(staged)
    check_stage_options(staged, stages, catalog)
    location = DataLocation.parse(own["data"], offline=own["offline"])
    named = {"revision": own["revision"], "offline": own["offline"]}
    chain = Chain(
        base=model_of(own["model"], catalog, location, **named),
        stages=stages,
        location=location,
        protocol=own["protocol"],
        seed=own["seed"],
        dtype=compute.dtype,
    )
    if dry_run:
        if ranks.first:
            _show(list(planned(chain, catalog, home())), as_json=as_json)
        return 0
    if ranks.first:
        say_of(compute)
    with listener(quiet=not ranks.first) as told:
        folder = carried_out(chain, catalog, compute, told, own["output"], overwrite=own["overwrite"])
    ranks.from_first(lambda: _told(folder, chain, as_json=as_json))
    return 0


def _show(stages: list[Planned], *, as_json: bool) -> None:
    values = [_facts(stage) for stage in stages]
    if as_json:
        click.echo(json.dumps(values, ensure_ascii=False, indent=1))
        return
    for number, value in enumerate(values, start=1):
        state = "done before" if value["done"] else f"{value['steps']} steps or more"
        ours = f"; ours: {', '.join(value['ours'])}" if value["ours"] else ""
        on = (
            f"{value['key']} on {value['parent']}" if value["key"] else f"on the result of stage {number - 1}"
        )
        click.echo(f"train   {on}: {state}, seed {value['seed']}{ours}")
        click.echo(f"  {value['schedule']}")
        if value["changed"]:
            click.echo("  changed: " + ", ".join(f"{name}={text}" for name, text in value["changed"].items()))
        for course in value["courses"]:
            click.echo(
                f"  {course['from']}: {course['examples']} examples ({course['language']}), drawn with {course['weight']:.3f}, "
                f"{course['epochs']:g} epochs, {course['batch_size']} a step, {course['max_length']} tokens, {course['selected_on'] or 'no selection'}"
            )
            for line in _apart_lines(course):
                click.echo(f"    {line}")


def _apart_lines(course: Mapping[str, Any]) -> Iterator[str]:
    """What is not learned because it is evaluated; nothing where nothing is kept apart."""
    if not course["apart"]:
        return
    yield f"kept apart from {', '.join(course['apart'])}: {course['left_out']} texts left out"
    yield from course["caveats"]


def _facts(stage: Planned) -> dict[str, Any]:
    phase = stage.phase
    return {
        "key": phase.key if stage.known else None,
        "done": stage.done,
        "parent": phase.parent.name if stage.known else None,
        "steps": phase.least_steps,
        "seed": phase.seed,
        "schedule": phase.schedule.told,
        "ours": list(phase.schedule.ours),
        "changed": dict(phase.changes),
        "courses": [_course(course) for course in phase.courses],
        "watched": [taught.name for taught in phase.watched],
    }


def _course(course: Course) -> dict[str, Any]:
    return {
        "task": course.learn.task.name,
        "from": course.learn.name,
        "language": course.learn.language,
        "examples": course.learn.examples,
        "weight": course.weight,
        "batch_size": course.batch_size,
        "epochs": course.epochs,
        "max_length": course.max_length,
        "selected_on": None if course.select is None else f"chosen on {course.select.name}",
        "apart": [task.name for task in course.learn.apart],
        "left_out": course.learn.left_out,
        "caveats": list(course.learn.caveats),
    }


def _told(folder: Path, chain: Chain, *, as_json: bool) -> None:
    from harness.checkpoints import open_checkpoint
    from harness.cli.lineage import dev_line

    lineage = open_checkpoint(str(folder)).lineage
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "lineage": lineage}, ensure_ascii=False, indent=1))
        return
    for told in lineage[-len(chain.stages) :]:
        for course in told["courses"]:
            share = f"{100 * course['share']:.1f} % of {told['steps']} steps"
            click.echo(f"learned {course['from']}: {share}")
    for dev in lineage[-1].get("dev", ()) if lineage else ():
        click.echo(dev_line(dev))
    click.echo(f"checkpoint: {folder}")
