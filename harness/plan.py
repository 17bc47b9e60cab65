"""What a run will do, as values: spaces, units, the plan. Knows no file and imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import digests
from harness.checkpoints import Checkpoint
from harness.registry import Catalog, Plugin
from harness.sources import DataLocation
from harness.spec import TaskSpec

# Rises when the engine's numbers change.
ENGINE_VERSION = 1


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
class Unit:
    """A task in one language: what is computed and written together.

    Attributes:
        task: The task.
        plugin: Who brought it.
        language: In the harness's spelling.
        split: Of the data; ``tuning`` the split for thresholds, where there is another.
        protocol: Name of the protocol.
        changes: Settings of the format that are not the task's own.
        cut_at: The length that the user asked for, None for the protocol's own.
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
    cut_at: int | None = None
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
        odd = {**self.changes, **({"split": self.split} if self.split != self.task.split else {})}
        if self.cut_at is not None:
            odd["length"] = str(self.cut_at)
        changed = ",".join(f"{name}={value}" for name, value in sorted(odd.items()))
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
