"""What every format is: Example, Head, Predictions, Format. Values only; knows no file, no model and no task."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.digests import canonical_json, of_value
from harness.errors import UsageError

Json: TypeAlias = Any
Vectors: TypeAlias = NDArray[np.float32]
Neighbours: TypeAlias = Callable[[Vectors, Vectors, int], tuple[NDArray[np.float64], NDArray[np.int64]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One item of a data set. Formats subclass it with the fields they need.

    Attributes:
        id: Unique within its task, language and split.
    """

    id: str

    def canonical(self) -> str:
        """The one spelling of the example, from which fingerprints are made."""
        return canonical_json([getattr(self, item.name) for item in dataclasses.fields(self)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a format needs on top of an encoder. The engine maps it once to a module and a loss.

    Attributes:
        kind: ``none`` uses the encoder's vectors as they are.
        size: Number of outputs, where the kind has them.
    """

    kind: Literal["none", "pooled", "token", "span", "choice"]
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a model said of one set of examples, in one view (a task may look at its outputs in several ways).

    Attributes:
        view: Name of the view, ``""`` where there is only one.
        ids: Example ids, in order.
        gold: The gold answer of each.
        values: The predicted answer of each.
        facts: What was decided on the way, e.g. a tuned threshold; goes into each record.
        caveats: Why the scores must not be compared with published ones; a record with any is left out of averages.
    """

    view: str
    ids: Sequence[str]
    gold: Sequence[Json]
    values: Sequence[Json]
    facts: Mapping[str, Json] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()


def smallest_digests(ids: Iterable[str], count: int) -> set[str]:
    """The ``count`` ids whose digests are the smallest: a choice that looks random and never changes."""
    return set(sorted(ids, key=lambda identity: of_value(identity, 64))[:count])


class Format(ABC):
    """What a family of tasks shares: which texts of an example the model reads, and what its outputs mean.

    NumPy only. ``version`` rises when a golden output changes.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    head: ClassVar[Head]

    @property
    @abstractmethod
    def views(self) -> tuple[str, ...]:
        """Names of the prediction sets that :meth:`decode` gives."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Json]:
        """Everything in this value that changes a prediction; part of the recipe's hash."""

    @abstractmethod
    def text(self, example: Any) -> str:
        """The text of an example that the model reads."""

    def replaced(self, changes: Mapping[str, str]) -> Format:
        """This format with some settings changed, given as text (``--set``).

        Raises:
            UsageError: There is no such setting, or the value is not allowed.
        """
        raise UsageError(f"the format '{self.name}' has no setting {', '.join(changes)}")

    def subset(self, examples: Sequence[Any], limit: int) -> list[Any]:
        """A deterministic subset of ``limit`` items, in order: those whose ids have the smallest digests."""
        chosen = smallest_digests([example.id for example in examples], limit)
        return [example for example in examples if example.id in chosen]

    @abstractmethod
    def decode(
        self,
        examples: Sequence[Any],
        outputs: Vectors,
        tuning: tuple[Sequence[Any], Vectors] | None,
        neighbours: Neighbours,
    ) -> list[Predictions]:
        """Predictions from model outputs, one value per view.

        Args:
            examples: The examples of the split, in order.
            outputs: One row per example, float32, shape ``(examples, …)``.
            tuning: Examples and outputs of the split on which thresholds are chosen, where the task has one.
            neighbours: Exact search ``(queries, base, k) -> (scores, indices)``, on whatever device the run uses.
        """
