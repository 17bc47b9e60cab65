"""Settles what a run will do before it starts: units, vectors, who encodes which sentence. Imports no torch.

Reading the data comes first, so that what is malformed is known before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness import checkpoints
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint
from harness.errors import (
    DataError,
    HarnessError,
    SpecError,
    UnknownNameError,
    UsageError,
)
from harness.formats.base import HeadFormat
from harness.grouping import with_owners
from harness.heads import label_order
from harness.learned import not_kept_apart
from harness.phases import PhasePlanner
from harness.plan import Plan, Space, Unit
from harness.records import SCHEMA_VERSION
from harness.selection import Selected
from harness.sources import DataLocation
from harness.spec import Encoding, TaskSpec, resolve_layer
from harness.teaching import Teaching
from harness.unitrows import blame, with_data


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user may override; None keeps the protocol's. ``changes`` are settings of formats by task.

    ``strict`` gives each unit a group of its own, so that nothing depends on what else is computed.
    """

    protocol: str | None = None
    layer: str | None = None
    pooling: str | None = None
    special_tokens: bool = True
    max_length: int | None = None
    changes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    strict: bool = False
    teaching: Teaching = field(default_factory=Teaching)


def make_plan(
    catalog: Catalog,
    models: Mapping[str, Checkpoint],
    selected: Sequence[Selected],
    location: DataLocation,
    settings: Settings,
    *,
    dtype: str,
    device: str,
    limit: int | None = None,
    fail_fast: bool = False,
) -> Plan:
    """Settle what is to be done, reading every row set once.

    Args:
        models: The model of each selected task.

    Raises:
        HarnessError: With ``fail_fast``, the first row set that cannot be read.
        UsageError: A layer, protocol or length that is not allowed.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: must be at least 1")
    planner = PhasePlanner(catalog=catalog, location=location, teaching=settings.teaching)
    models = {
        task: checkpoints.adapted(model, catalog.encoder(model.family)) for task, model in models.items()
    }
    units: list[Unit] = []
    for entry in selected:
        for unit in _units(catalog, entry, models[entry.task.name], settings, planner, fail_fast=fail_fast):
            told = not_kept_apart(unit.checkpoint, unit.task, unit.language, unit.split, catalog)
            unit = replace(unit, learned=(*unit.learned, *told))
            units.append(with_data(unit, location, limit, fail_fast=fail_fast))
    models = {entry.task.name: models[entry.task.name] for entry in selected}
    return Plan(
        name=",".join(dict.fromkeys(model.name for model in models.values())),
        units=tuple(with_owners(units, strict=settings.strict, device=device)),
        location=location,
        limit=limit,
        identity={
            "schema": SCHEMA_VERSION,
            **_identity(models),
            "dtype": dtype,
            "device": device.split(":", maxsplit=1)[0],
            "data": location.kind,
            "limit": limit,
        },
    )


def _identity(models: Mapping[str, Checkpoint]) -> dict[str, Any]:
    """What the run's identity says of its models: digests, one per task where models differ.

    Of heads beside an encoder all are named, those of tasks that are not selected too, so that more tasks may follow in the
    same folder.
    """
    told = {task: _model_identity(model) for task, model in sorted(models.items())}
    first, *others = told.values()
    if all(other == first for other in others):
        return first
    names = dict.fromkeys(name for one in told.values() for name in one)
    return {name: {task: one.get(name) for task, one in told.items()} for name in names}


def _model_identity(model: Checkpoint) -> dict[str, Any]:
    heads = {task: head.digest for task, head in sorted(model.heads.items())}
    return {"model": model.weights, "tokenizer": model.tokenizer, **({"heads": heads} if heads else {})}


def _units(
    catalog: Catalog,
    entry: Selected,
    checkpoint: Checkpoint,
    settings: Settings,
    planner: PhasePlanner,
    *,
    fail_fast: bool,
) -> Iterable[Unit]:
    """The units of one task: one per language, and per seed where a head is trained."""
    unit = _unit(catalog, entry, checkpoint, settings)
    if unit.spaces:
        yield from (replace(unit, language=language) for language in entry.languages)
        return
    before = planner.learned_before(checkpoint, unit.task, unit.split)
    unit = replace(unit, without=before.ids, learned=before.caveats)
    order = _order(unit, settings.teaching)
    if not isinstance(order, str):
        yield from (replace(unit, language=language, order=order) for language in entry.languages)
        return
    if not settings.teaching.allowed:
        raise UsageError(
            f"task '{unit.task.name}' needs a {unit.task.format.head.kind} head and {checkpoint.name} does not bring it "
            f"({order}); leave out --no-train to fine-tune one, or give a fine-tuned model"
        )
    unit = replace(unit, aside=_fits(unit))
    for seed in settings.teaching.seeds:
        taught = _taught(unit, seed, planner, fail_fast=fail_fast)
        yield from (replace(taught, language=language) for language in entry.languages)


def _fits(unit: Unit) -> bool:
    """Whether the model carries a head that could answer, as it describes itself."""
    head = unit.task.format.head
    return not isinstance(label_order(unit.checkpoint.head, head.kind, head.labels), str)


def _order(unit: Unit, teaching: Teaching) -> tuple[int, ...] | str:
    """The order of the outputs of a head that the model carries, or why it carries none that fits.

    Raises:
        UsageError: The head may fit, but does not say what its outputs mean.
    """
    head, carried = unit.task.format.head, unit.checkpoint.head
    named = teaching.head_labels.get(unit.task.name, ())
    if named == ("none",):
        return "its head is left aside as --head-labels says"
    if named and carried is not None and carried.kind == head.kind and unit.checkpoint.outputs != len(named):
        raise UsageError(
            f"--head-labels {unit.task.name}={','.join(named)}: the head of {unit.checkpoint.name} has "
            f"{unit.checkpoint.outputs} outputs, not {len(named)}"
        )
    unnamed = (
        carried is not None and carried.kind == head.kind and head.labels and not (named or carried.labels)
    )
    if unnamed and unit.checkpoint.outputs == head.size:
        raise UsageError(
            f"the head of {unit.checkpoint.name} has {head.size} outputs but names none of them (LABEL_0 …), so whether "
            f"it fits task '{unit.task.name}' cannot be known; give --head-labels "
            f"{unit.task.name}={','.join(head.labels)} in the order of its outputs, or --head-labels "
            f"{unit.task.name}=none to train a new one"
        )
    order = label_order(carried, head.kind, head.labels, named)
    if named and isinstance(order, str):
        raise UsageError(f"--head-labels {unit.task.name}={','.join(named)}: {order}")
    return order


def _taught(unit: Unit, seed: int, planner: PhasePlanner, *, fail_fast: bool) -> Unit:
    """A unit with the fine-tuning that gives it its head; with an error where the training set is not to be had."""
    try:
        phase = planner.phase(unit.task, unit.protocol, unit.checkpoint, seed, unit.max_length)
        learned = planner.learned_from(phase, unit.task, unit.split)
    except (UsageError, SpecError):
        raise
    # Whatever a plugin's reader raises is no reason to give up the other tasks.
    except Exception as error:
        told = f"{unit.task.name}: its head must be trained, and {_lack(unit, error)}; --train-from names another training set"
        if fail_fast:
            raise DataError(told) from error
        return replace(unit, error=told)
    task = replace(unit.task, format=phase.format)
    without, caveats = unit.without | learned.ids, (*unit.learned, *learned.caveats)
    return replace(unit, task=task, phase=phase, without=without, learned=tuple(dict.fromkeys(caveats)))


def _lack(unit: Unit, error: Exception) -> str:
    """Why there is no training set; advice to score another split is no help there."""
    if isinstance(error, DataError):
        return error.told
    return str(error) if isinstance(error, HarnessError) else blame(unit, error)


def _unit(catalog: Catalog, entry: Selected, checkpoint: Checkpoint, settings: Settings) -> Unit:
    changes = settings.changes.get(entry.task.name, {})
    task = _changed(entry.task, changes)
    checkpoint = checkpoints.for_task(checkpoint, task.name)
    carried = checkpoint.head
    if carried is not None and carried.kind == task.format.head.kind and isinstance(task.format, HeadFormat):
        task = replace(task, format=task.format.labelled(carried.labels))
    _check_metrics(task, catalog)
    if settings.protocol not in (None, *task.protocols):
        raise UsageError(
            f"task '{task.name}' has no protocol '{settings.protocol}'; it has {', '.join(task.protocols)}"
        )
    protocol, encoding = task.protocol(settings.protocol), task.encoded_under(settings.protocol)
    unit = Unit(
        task=task,
        plugin=catalog.owner(task.name),
        language="",
        split=entry.split,
        protocol=protocol,
        checkpoint=checkpoint,
        max_length=checkpoints.check_length(checkpoint, settings.max_length, encoding.max_length),
        changes=changes,
        cut_at=settings.max_length,
    )
    if task.format.head.kind != "none":
        return unit
    layers = _layers(settings.layer or encoding.layer, checkpoint)
    spaces = tuple(_space(layer, encoding, checkpoint, settings) for layer in layers)
    default = resolve_layer(encoding.layer, checkpoint.depth)
    main = spaces[layers.index(default)] if default in layers else spaces[-1]
    return replace(unit, spaces=spaces, main=main)


def _check_metrics(task: TaskSpec, catalog: Catalog) -> None:
    for use in task.metrics:
        try:
            catalog.metric(use.metric)
        except UnknownNameError as error:
            raise SpecError(
                f"task '{task.name}' of plugin {catalog.owner(task.name).name}: {error}"
            ) from error


def _changed(task: TaskSpec, changes: Mapping[str, str]) -> TaskSpec:
    if not changes:
        return task
    try:
        return replace(task, format=task.format.replaced(changes))
    except UsageError as error:
        raise UsageError(f"--set for task '{task.name}': {error}") from error


def _layers(layer: str, checkpoint: Checkpoint) -> list[int]:
    if layer == "all":
        return list(range(checkpoint.depth + 1))
    return [resolve_layer(layer, checkpoint.depth)]


def _space(layer: int, encoding: Encoding, checkpoint: Checkpoint, settings: Settings) -> Space:
    return Space(
        layer=layer,
        pooling=settings.pooling or checkpoint.pooling or encoding.pooling,
        special_tokens=encoding.special_tokens and settings.special_tokens,
        normalise=encoding.normalise,
        max_length=checkpoints.check_length(checkpoint, settings.max_length, encoding.max_length),
    )
