"""What ``harness eval --dry-run`` prints: a plan in lines or as JSON. Carries out nothing."""

from __future__ import annotations

import json
from typing import Any

import click

from harness.curriculum import Phase
from harness.home import home
from harness.plan import Space, Unit
from harness.request import Prepared
from harness.tuning import folder_of
from harness.wording import counted


def show_plan(prepared: Prepared, *, as_json: bool) -> None:
    """Print what ``harness eval`` would do: trainings, units, vectors."""
    plan = prepared.plan
    if as_json:
        value = {
            "folder": str(prepared.folder),
            "run": plan.run,
            "trainings": [_phase_facts(phase) for phase in plan.phases],
            "units": [_unit_facts(unit) for unit in plan.units],
        }
        click.echo(json.dumps(value, ensure_ascii=False, indent=1))
        return
    for model in plan.checkpoints:
        click.echo(f"model   {model.name} ({model.family}, {model.depth} blocks), weights {model.weights}")
    click.echo(f"device  {prepared.request.device}, {prepared.request.dtype}")
    click.echo(f"folder  {prepared.folder}")
    for phase in plan.phases:
        click.echo(f"train   {_phase_line(phase)}")
    for unit in plan.units:
        click.echo(f"  {unit.name} {unit.split}: {unit.error or _unit_line(unit)}")
    for model in plan.checkpoints:
        for space in plan.spaces(model):
            click.echo(f"vectors {_told(space, model.depth)}")
    click.echo(
        f"in all  {counted(len(plan.units), 'unit')}, {plan.distinct} distinct texts to encode unless stored"
    )


def _unit_line(unit: Unit) -> str:
    tuned = f", threshold from {unit.tuning}" if unit.tuning else ""
    head = (
        "" if unit.spaces else ", the model's own head" if unit.phase is None else ", a head that is trained"
    )
    left = f", {len(unit.without)} left out that are learned" if unit.without else ""
    return f"{unit.examples} examples, {len(unit.texts)} distinct, from {unit.source}{tuned}{head}{left}"


def _phase_line(phase: Phase) -> str:
    """What a training learns, what it costs, and whether it is done already."""
    facts = _phase_facts(phase)
    before = _learned_before(phase)
    state = (
        "done before"
        if facts["done"]
        else f"{facts['steps']} steps or more of {phase.schedule.batch_size} rows, {phase.schedule.epochs:g} epochs"
    )
    chosen = f"chosen on {phase.select.name}" if phase.select is not None else "last checkpoint"
    ours = f"; ours: {', '.join(phase.schedule.ours)}" if phase.schedule.ours else ""
    return (
        f"{phase.key}: a {phase.format.head.kind} head on {phase.parent.name}{before}, learned from {phase.learn.name} "
        f"({phase.learn.language}, {phase.learn.examples} examples), {state}, {chosen}, "
        f"{phase.schedule.told}, seed {phase.seed}{ours}"
    )


def _learned_before(phase: Phase) -> str:
    """What the encoder has learned since it was pretrained: a target is then fine-tuned on an intermediate one."""
    tasks = [
        " + ".join(course["task"] for course in told.get("courses", ())) for told in phase.parent.lineage
    ]
    learned = f", which learned {', then '.join(tasks)} before" if tasks else ""
    return (", on an encoder that carries another head" if phase.parent.head is not None else "") + learned


def _phase_facts(phase: Phase) -> dict[str, Any]:
    return {
        "checkpoint": phase.key,
        "head": phase.format.head.kind,
        "parent": phase.parent.name,
        "learned": phase.learn.name,
        "language": phase.learn.language,
        "examples": phase.learn.examples,
        "steps": phase.least_steps,
        "selected_on": None if phase.select is None else phase.select.name,
        "seed": phase.seed,
        "done": folder_of(phase, home()).is_dir(),
    }


def _unit_facts(unit: Unit) -> dict[str, Any]:
    return {
        "task": unit.task.name,
        "language": unit.language,
        "seed": unit.seed,
        "split": unit.split,
        "tuning_split": unit.tuning,
        "source": unit.source,
        "texts": unit.examples,
        "distinct": len(unit.texts),
        "vectors": [_told(space, unit.checkpoint.depth) for space in unit.spaces],
        "training": None if unit.phase is None else unit.phase.key,
        "error": unit.error,
    }


def _told(space: Space, depth: int) -> str:
    tokens = "all tokens" if space.special_tokens else "content tokens"
    name = "last_hidden_state" if space.layer == depth else f"hidden_states[{space.layer}] of {depth + 1}"
    return f"{name}, {space.pooling} over {tokens}, at most {space.max_length} tokens"
