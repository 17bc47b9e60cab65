"""Settles what a run will do before it starts: units, vectors, who encodes which sentence. Imports no torch.

Reading the data comes first, so that what is malformed is known before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from harness import checkpoints, digests, sources
from harness.checkpoints import Checkpoint
from harness.errors import HarnessError, PluginError, SpecError, UnknownNameError, UsageError
from harness.plan import Plan, Space, Unit
from harness.records import SCHEMA_VERSION
from harness.registry import Catalog
from harness.selection import Selected
from harness.sources import DataLocation, RowSet
from harness.spec import Encoding, TaskSpec, resolve_layer

# New texts that are encoded together at most, unless one unit has more.
GROUP_TEXTS = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user may override; None keeps the protocol's. ``changes`` are settings of formats by task."""

    protocol: str | None = None
    layer: str | None = None
    pooling: str | None = None
    special_tokens: bool = True
    max_length: int | None = None
    changes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def make_plan(
    catalog: Catalog,
    checkpoint: Checkpoint,
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

    Raises:
        HarnessError: With ``fail_fast``, the first row set that cannot be read.
        UsageError: A layer, protocol or length that is not allowed.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit}: must be at least 1")
    units: list[Unit] = []
    for entry in selected:
        for language in entry.languages:
            unit = _unit(catalog, entry, language, checkpoint, settings)
            units.append(_with_data(unit, location, limit, fail_fast=fail_fast))
    return Plan(
        checkpoint=checkpoint,
        units=tuple(_with_owners(units)),
        location=location,
        limit=limit,
        identity={
            "schema": SCHEMA_VERSION,
            "model": checkpoint.weights,
            "tokenizer": checkpoint.tokenizer,
            "dtype": dtype,
            "device": device.split(":", maxsplit=1)[0],
            "data": location.kind,
            "limit": limit,
        },
    )


def _unit(
    catalog: Catalog, entry: Selected, language: str, checkpoint: Checkpoint, settings: Settings
) -> Unit:
    changes = settings.changes.get(entry.task.name, {})
    task = _changed(entry.task, changes)
    _check_metrics(task, catalog)
    protocol = settings.protocol or next(iter(task.protocols))
    if protocol not in task.protocols:
        raise UsageError(
            f"task '{task.name}' has no protocol '{protocol}'; it has {', '.join(task.protocols)}"
        )
    encoding = task.protocols[protocol]
    layers = _layers(settings.layer or encoding.layer, checkpoint)
    spaces = tuple(_space(layer, encoding, checkpoint, settings) for layer in layers)
    default = resolve_layer(encoding.layer, checkpoint.depth)
    main = spaces[layers.index(default)] if default in layers else spaces[-1]
    return Unit(
        task=task,
        plugin=catalog.owner(task.name),
        language=language,
        split=entry.split,
        protocol=protocol,
        changes=changes,
        cut_at=settings.max_length,
        spaces=spaces,
        main=main,
    )


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


def read_unit(unit: Unit, location: DataLocation, limit: int | None) -> tuple[RowSet, RowSet | None]:
    """The examples of a unit, and those of its tuning split where it has one; raises DataError."""
    rows = sources.read(unit.task, unit.language, unit.split, location, limit)
    held = None
    if unit.tuning is not None:
        held = sources.read(unit.task, unit.language, unit.tuning, location, limit)
    return rows, held


def _with_data(unit: Unit, location: DataLocation, limit: int | None, *, fail_fast: bool) -> Unit:
    tuning = unit.task.tuning_split
    try:
        if tuning not in (None, unit.split) and sources.has_split(unit.task, unit.language, tuning, location):
            unit = replace(unit, tuning=tuning)
        rows, held = read_unit(unit, location, limit)
        texts = [
            unit.task.format.text(example) for example in [*rows.examples, *(held.examples if held else ())]
        ]
    except HarnessError as error:
        if fail_fast:
            raise
        return replace(unit, error=str(error))
    # Whatever else a plugin's reader raises is that plugin's fault, and no reason to give up the other units.
    except Exception as error:
        if fail_fast:
            raise PluginError(blame(unit, error)) from error
        return replace(unit, error=blame(unit, error))
    return replace(
        unit,
        source=rows.source,
        data=digests.of_lines([rows.fingerprint, held.fingerprint]) if held else rows.fingerprint,
        examples=len(texts),
        empty=sum(not text.strip() for text in texts),
        texts=np.unique(digests.of_texts(texts)),
    )


def blame(unit: Unit, error: BaseException) -> str:
    """One line on an error that a plugin raised."""
    told = " ".join(str(error).split())
    owner = f"plugin {unit.plugin.name} of {unit.plugin.distribution} {unit.plugin.version}"
    return f"{unit.name}: {owner} raised {type(error).__name__}: {told}"


def _with_owners(units: Sequence[Unit]) -> Iterable[Unit]:
    """Give each distinct text to one group of units, the first in which it occurs, so that it is encoded once.

    Groups are runs of units that together bring some thousands of new texts: enough for full batches, and few enough
    for a unit's score not to keep one waiting. They follow from the plan alone, so batches do too.
    """
    nothing = np.empty(0, dtype="S16"), np.empty(0, dtype=np.int64)
    known: dict[int, tuple[NDArray[np.bytes_], NDArray[np.int64]]] = {}
    group, size, length = 0, 0, units[0].max_length if units else 0
    for unit in units:
        texts, owner = known.get(unit.max_length, nothing)
        fresh = unit.texts[~np.isin(unit.texts, texts)]
        if size and (size + len(fresh) > GROUP_TEXTS or unit.max_length != length):
            group, size = group + 1, 0
        size, length = size + len(fresh), unit.max_length
        texts, owner = np.concatenate([texts, fresh]), np.concatenate([owner, np.full(len(fresh), group)])
        order = np.argsort(texts, kind="stable")
        texts, owner = known[unit.max_length] = texts[order], owner[order]
        mine = owner[np.searchsorted(texts, unit.texts)] if len(unit.texts) else owner[:0]
        yield replace(unit, group=group, owner=mine)
