"""What a run will do, settled before it starts: units, vectors, who encodes which sentence. Imports no torch.

Reading the data comes first, so that what is malformed is known before anything is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import checkpoints, digests, sources
from harness.checkpoints import Checkpoint
from harness.errors import HarnessError, PluginError, SpecError, UnknownNameError, UsageError
from harness.records import SCHEMA_VERSION
from harness.registry import Catalog, Plugin
from harness.selection import Selected
from harness.sources import DataLocation, RowSet
from harness.spec import Encoding, TaskSpec, resolve_layer

# Rises when the engine's numbers change.
ENGINE_VERSION = 1
# New texts that are encoded together at most, unless one unit has more.
GROUP_TEXTS = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """What a vector means: hidden state, pooling, length.

    Attributes:
        layer: Number of the hidden state, of ``depth + 1``.
        pooling: How tokens become one vector.
        special_tokens: Whether pooling includes them.
        normalise: Whether vectors have length 1.
        max_length: Tokens at most.
    """

    layer: int
    pooling: str
    special_tokens: bool
    normalise: bool
    max_length: int

    def variant(self, protocol: str) -> str:
        """The part of a record's variant that names protocol (with changed settings), layer and pooling."""
        content = "" if self.special_tokens else "-content"
        return f"{protocol}.layer{self.layer}.{self.pooling}{content}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the user may override; None keeps the protocol's. ``changes`` are settings of formats by task."""

    protocol: str | None = None
    layer: str | None = None
    pooling: str | None = None
    special_tokens: bool = True
    max_length: int | None = None
    changes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A task in one language: what is computed and written together.

    Attributes:
        task: The task.
        plugin: Who brought it.
        language: In the harness's spelling.
        split: Of the data; ``tuning`` the split for thresholds, where there is another.
        protocol: Name of the protocol.
        changes: Settings of the format that are not the task's own.
        spaces: One set of records for each.
        main: The space of the task's main number.
        source: Where the rows came from; ``data`` their fingerprint.
        examples: Number of examples, tuning included.
        texts: Digests of the distinct texts, sorted; ``owner`` the number of the group that encodes each.
        group: Number of the group to which the unit belongs.
        empty: Texts that are empty or white space.
        error: Why the data could not be read.
    """

    task: TaskSpec
    plugin: Plugin
    language: str
    split: str
    protocol: str
    spaces: tuple[Space, ...]
    main: Space
    changes: Mapping[str, str] = field(default_factory=dict)
    tuning: str | None = None
    source: str = ""
    data: str = ""
    examples: int = 0
    empty: int = 0
    texts: NDArray[np.bytes_] = field(default_factory=lambda: np.empty(0, dtype="S16"))
    owner: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    group: int = 0
    error: str = ""

    @property
    def name(self) -> str:
        """``task/language``."""
        return f"{self.task.name}/{self.language}"

    def variant(self, space: Space, view: str) -> str:
        """What tells this unit's numbers in a space and view from others of the same task."""
        changed = ",".join(f"{name}={value}" for name, value in sorted(self.changes.items()))
        encoding = space.variant(f"{self.protocol}+{changed}" if changed else self.protocol)
        return f"{encoding}.{view}" if view else encoding

    @property
    def max_length(self) -> int:
        """Tokens at most; the same in all spaces of a unit."""
        return self.main.max_length

    def recipe(self, space: Space, catalog: Catalog) -> str:
        """Hash of everything that decides the numbers of a space, besides model and data."""
        encoding = {name: getattr(space, name) for name in Space.__slots__}
        return digests.of_value(
            {
                "task": [self.task.name, self.task.version],
                "format": [self.task.format.name, self.task.format.version, dict(self.task.format.settings)],
                "metrics": [[catalog.metric(use.metric).signature, use.view] for use in self.task.metrics],
                "protocol": self.protocol,
                "encoding": encoding,
                "split": [self.split, self.tuning],
                "engine": ENGINE_VERSION,
            }
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is settled before a run starts.

    Attributes:
        checkpoint: The model.
        units: In order of task and language; those with an error are not computed.
        location: Where the data is.
        limit: Items per unit, or None for all.
        identity: What makes two runs the same experiment; ``run`` is its hash.
    """

    checkpoint: Checkpoint
    units: tuple[Unit, ...]
    location: DataLocation
    limit: int | None
    identity: Mapping[str, Any]

    @property
    def run(self) -> str:
        """Hash of the identity."""
        return digests.of_value(dict(self.identity))

    @property
    def distinct(self) -> int:
        """Number of distinct texts of the whole run (texts cut at different lengths counted apart)."""
        lengths = {unit.max_length for unit in self.units}
        return sum(
            len(np.unique(np.concatenate([unit.texts for unit in self.units if unit.max_length == length])))
            for length in lengths
        )

    @property
    def spaces(self) -> tuple[Space, ...]:
        """Every space that some unit needs, by layer."""
        return tuple(
            sorted(
                {space for unit in self.units for space in unit.spaces},
                key=lambda s: (s.max_length, s.layer, s.pooling),
            )
        )

    def folder(self, output: Path | None) -> Path:
        """The run folder: what the user gave, or one named after model and identity."""
        name = Path(self.checkpoint.name.rstrip("/")).name or "model"
        return output if output is not None else Path("runs") / f"{name}-{self.run[:8]}"


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
