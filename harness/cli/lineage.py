"""``harness lineage``: how a checkpoint came about, from the base model to the last training. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from harness.cli.options import json_option


@click.command()
@click.argument("checkpoint")
@json_option
def command(checkpoint: str, as_json: bool) -> int:
    """Print base model, phases, data digests and seeds of a CHECKPOINT folder."""
    from harness.checkpoints import FACTS, open_checkpoint
    from harness.errors import ModelError

    found = open_checkpoint(checkpoint, offline=True)
    if as_json:
        click.echo(
            json.dumps({"weights": found.weights, "phases": found.lineage}, ensure_ascii=False, indent=1)
        )
        return 0
    try:
        lines = lines_of(found.lineage, found.weights)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{found.folder / FACTS}: damaged, or written by another version ({type(error).__name__}: {error})"
        ) from error
    for line in lines:
        click.echo(line)
    return 0


def lines_of(lineage: tuple[Mapping[str, Any], ...], weights: str) -> list[str]:
    """The lineage as text, one line for the base, then a few for each phase."""
    if not lineage:
        return [f"base    no training of this harness made it; weights {weights}"]
    parent = lineage[0]["parent"]
    revision = f" at {parent['revision']}" if parent.get("revision") else ""
    lines = [f"base    {parent['name']}{revision}, weights {parent['weights']}"]
    for number, told in enumerate(lineage, start=1):
        lines += _phase_lines(number, told)
    return [*lines, f"result  weights {weights}"]


def _phase_lines(number: int, told: Mapping[str, Any]) -> list[str]:
    schedule = told["schedule"]
    rate = f"rate {schedule['learning_rate']:g}, warm-up {schedule['warmup']:g}"
    if told.get("lora"):
        rate += f", low-rank adapters of rank {told['lora']['rank']} (merged)"
    how = f"{told['steps']} steps, seed {told['seed']}, {told['dtype']}, {rate}, {told['finished']}"
    lines = [f"phase {number} {told['kind']}, recipe {told['key']}: {how}"]
    for course in told["courses"]:
        share = f"{100 * course['share']:.1f} % of the steps"
        lines.append(
            f"  {course['from']} ({course['language']}): {course['examples']} examples, {share}, from {course['source']}, "
            f"data {course['data']}"
        )
    if told.get("changed"):
        lines.append("  changed: " + ", ".join(f"{name}={value}" for name, value in told["changed"].items()))
    if told.get("ours"):
        lines.append(f"  ours, no source gives them: {', '.join(told['ours'])}")
    for dev in told.get("dev", ()):
        lines.append(f"  {dev_line(dev)}")
    return lines


def dev_line(dev: Mapping[str, Any]) -> str:
    """One development score as text: percent, for losses nats per token or per pair."""
    unit = " nats" if dev["metric"].endswith("_loss") else ""
    chosen = ", the checkpoint was chosen by it" if dev.get("chosen_on") else ""
    return (
        f"dev {dev['task']}/{dev['split']}: {dev['metric']} {dev['value']:.2f}{unit} (n {dev['n']}{chosen})"
    )
