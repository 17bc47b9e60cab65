"""What a run will do, as values: spaces, units, the plan. Knows no file and imports no torch.

What is trained for it is :mod:`harness.curriculum`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import digests
from harness.catalog import Catalog, Plugin
from harness.checkpoints import Checkpoint
from harness.curriculum import Phase
from harness.newmodels import folder_name, is_new
from harness.sources import DataLocation
from harness.spec import TaskSpec

# Rises when the engine's numbers change.
ENGINE_VERSION = 3
# Characters of changed settings that a variant, which is a folder's name, spells out; a digest stands for more.
_LONGEST_CHANGES = 120


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
    """A task in one language, with one seed where a head is trained: what is computed and written together.

    Attributes:
        task: The task.
        plugin: Who brought it.
        language: In the harness's spelling.
        split: Of the data; ``tuning`` the split for thresholds, where there is another.
        protocol: Name of the protocol.
        checkpoint: The model; ``phase`` the training that makes the one that answers, where it does not carry the head.
        order: For each label the number of the output of a head that the checkpoint carries.
        aside: Whether the checkpoint carries a head that fits and the user wants a new one.
        without: Ids of examples that are left out because they were learned.
        learned: What was learned and could not be looked up or compared, as caveats.
        max_length: Tokens at most.
        changes: Settings of the format that are not the task's own.
        cut_at: The length that the user asked for, None for the protocol's own.
        spaces: One set of records for each; none where a head answers.
        main: The space of the task's main number, None where a head answers.
        source: Where the rows came from; ``data`` their fingerprint.
        examples: Number of examples, tuning included.
        texts: Digests of the distinct texts, sorted; ``owner`` the number of the group that encodes each.
        group: Number of the group to which the unit belongs.
        empty: Texts that are empty or white space.
        repairs: What was mended in the data while it was read, and how often.
        caveats: What the data's source says against comparing its scores.
        error: Why the data could not be read.
    """

    task: TaskSpec
    plugin: Plugin
    language: str
    split: str
    protocol: str
    checkpoint: Checkpoint
    max_length: int
    spaces: tuple[Space, ...] = ()
    main: Space | None = None
    phase: Phase | None = None
    order: tuple[int, ...] = ()
    aside: bool = False
    without: frozenset[str] = frozenset()
    learned: tuple[str, ...] = ()
    changes: Mapping[str, str] = field(default_factory=dict)
    cut_at: int | None = None
    tuning: str | None = None
    source: str = ""
    data: str = ""
    examples: int = 0
    empty: int = 0
    repairs: Mapping[str, int] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()
    texts: NDArray[np.bytes_] = field(default_factory=lambda: np.empty(0, dtype="S16"))
    owner: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    group: int = 0
    error: str = ""

    @property
    def seed(self) -> int | None:
        """Of the fine-tuning, None where nothing is trained."""
        return None if self.phase is None else self.phase.seed

    @property
    def key(self) -> tuple[str, str, int | None]:
        """Task, language and seed."""
        return self.task.name, self.language, self.seed

    @property
    def name(self) -> str:
        """``task/language``, with the seed where it is not the first."""
        return f"{self.task.name}/{self.language}" + (f" seed {self.seed}" if self.seed else "")

    @property
    def main_number(self) -> tuple[str, str]:
        """Variant and metric of the number that counts."""
        main = self.task.main
        return self.variant(self.main, main.view), main.metric

    @property
    def model(self) -> str:
        """What tells the model that answers from others: the phase's key, or the checkpoint's."""
        return self.checkpoint.key if self.phase is None else self.phase.key

    def variant(self, space: Space | None, view: str) -> str:
        """What tells this unit's numbers in a space (None: from a head) and view from others of the same task."""
        odd = {**self.changes, **({"split": self.split} if self.split != self.task.split else {})}
        if self.cut_at is not None:
            odd["length"] = str(self.cut_at)
        if self.aside:
            odd["head"] = "new"
        if self.phase is not None:
            odd.update({f"train.{name}": value for name, value in self.phase.changes.items()})
            own = self.task.training.get(self.protocol)
            learn = self.phase.learn
            if own is not None and (learn.rows or (learn.task.name, learn.split) != (own.task, own.split)):
                rows = f":{learn.rows[0]}-{learn.rows[1] - 1}" if learn.rows else ""
                odd["train.from"] = f"{learn.task.name}-{learn.split}{rows}"
        changed = ",".join(f"{name}={value}" for name, value in sorted(odd.items()))
        if len(changed) > _LONGEST_CHANGES:
            changed = digests.of_value(changed, 8)
        protocol = f"{self.protocol}+{changed}" if changed else self.protocol
        encoding = f"{protocol}.head" if space is None else space.variant(protocol)
        return f"{encoding}.{view}" if view else encoding

    def recipe(self, space: Space | None, catalog: Catalog) -> str:
        """Hash of everything that decides the numbers of a space (None: of the head), besides model and data."""
        encoding = (
            {
                "max_length": self.max_length,
                "phase": self.phase.key if self.phase is not None else None,
                "order": list(self.order),
            }
            if space is None
            else {name: getattr(space, name) for name in Space.__slots__}
        )
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
        name: Of the model, as the user gave it; for several, all of them.
        units: In order of task, seed and language; those with an error are not computed.
        location: Where the data is.
        limit: Items per unit, or None for all.
        identity: What makes two runs the same experiment; ``run`` is its hash.
    """

    name: str
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
        kinds: dict[tuple[str, int, bool], list[NDArray[np.bytes_]]] = {}
        for unit in self.units:
            kinds.setdefault((unit.model, unit.max_length, bool(unit.spaces)), []).append(unit.texts)
        return sum(len(np.unique(np.concatenate(texts))) for texts in kinds.values())

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """The distinct models, in order of use."""
        return tuple({unit.checkpoint.key: unit.checkpoint for unit in self.units}.values())

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The distinct trainings, in order of use."""
        return tuple({unit.phase.key: unit.phase for unit in self.units if unit.phase is not None}.values())

    def spaces(self, checkpoint: Checkpoint) -> tuple[Space, ...]:
        """Every space of a model that some unit needs, by layer."""
        mine = {
            space for unit in self.units if unit.checkpoint.key == checkpoint.key for space in unit.spaces
        }
        return tuple(sorted(mine, key=lambda s: (s.max_length, s.layer, s.pooling)))

    def folder(self, output: Path | None) -> Path:
        """The run folder: what the user gave, or one named after model and identity."""
        if is_new(self.name):
            name = folder_name(self.name)
        else:
            name = Path(self.name.split(",", maxsplit=1)[0].rstrip("/")).name or "model"
        return output if output is not None else Path("runs") / f"{name}-{self.run[:8]}"
