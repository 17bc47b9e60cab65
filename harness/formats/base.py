"""What every format is: Example, Head, Predictions, Format. Values only; knows no file, no model and no task."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from harness.arrays import NDArray, np
from harness.digests import canonical_json, of_value
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.formats.rows import Rows, Tokenizer
    from harness.search import Neighbours

Json: TypeAlias = Any
Vectors: TypeAlias = "NDArray[np.float32]"


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
        kind: ``none`` uses the encoder's vectors as they are; ``pooled`` gives one row of scores per sequence, ``token``
            one per token, ``span`` two per token (start, end), ``choice`` one score per sequence, ``vocabulary`` one score
            per entry of the tokenizer's vocabulary for each token, ``vector`` the mean of a sequence's states. The sizes
            of the last two are not the format's to say.
        labels: Names of the outputs in order, for ``pooled`` and ``token``.
    """

    kind: Literal["none", "pooled", "token", "span", "choice", "vocabulary", "vector"]
    labels: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Number of outputs per sequence or token."""
        return {"span": 2, "choice": 1}.get(self.kind, len(self.labels))


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a model said of one set of examples, in one view (a task may look at its outputs in several ways).

    Attributes:
        view: Name of the view, ``""`` where there is only one.
        ids: Example ids, in order.
        gold: The gold answer of each.
        values: The predicted answer of each.
        facts: What was decided on the way, e.g. a tuned threshold; goes into each record.
        caveats: Why the scores must not be compared with published ones; they mark every average that the record enters.
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
    """What a family of tasks shares. NumPy only; ``version`` rises when a golden output changes.

    A format is either a :class:`VectorFormat`, read from the encoder's vectors as they are, or a :class:`HeadFormat`,
    read from the scores of a head that was trained.
    """

    name: ClassVar[str]
    version: ClassVar[int]

    @property
    @abstractmethod
    def head(self) -> Head:
        """What it needs on top of an encoder."""

    @property
    @abstractmethod
    def views(self) -> tuple[str, ...]:
        """Names of the prediction sets that it gives."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Json]:
        """Everything in this value that changes a prediction; part of the recipe's hash."""

    @abstractmethod
    def texts(self, example: Any) -> tuple[str, ...]:
        """The texts of an example that the model reads."""

    def passages(self, example: Any) -> tuple[str, ...]:
        """The same as running text, in which copies are looked for: words that are read one by one are a sentence here."""
        return self.texts(example)

    def language(self, example: Any, own: str) -> str:
        """The language that an example is read in, for models with parts for languages; ``own`` is its row set's."""
        return own

    def replaced(self, changes: Mapping[str, str]) -> Format:
        """This format with some settings changed, given as text (``--set``).

        Raises:
            UsageError: There is no such setting, or the value is not allowed.
        """
        raise UsageError(f"the format '{self.name}' has no setting {', '.join(changes)}")

    def items(self, examples: Sequence[Any]) -> int:
        """How many items these are as data sets count them, and a limit does: examples, where a format has no other way."""
        return len(examples)

    def subset(self, examples: Sequence[Any], limit: int) -> list[Any]:
        """A deterministic subset of ``limit`` items, in order: those whose ids have the smallest digests."""
        chosen = smallest_digests([example.id for example in examples], limit)
        return [example for example in examples if example.id in chosen]


class VectorFormat(Format):
    """A format that needs no head: each example is one text, and its vector is used as it is."""

    @property
    def head(self) -> Head:
        """None."""
        return Head(kind="none")

    @abstractmethod
    def decode(
        self,
        examples: Sequence[Any],
        outputs: Vectors,
        tuning: tuple[Sequence[Any], Vectors] | None,
        neighbours: Neighbours,
    ) -> list[Predictions]:
        """Predictions from vectors, one value per view.

        Args:
            examples: The examples of the split, in order.
            outputs: One row per example, float32, shape ``(examples, dimension)``.
            tuning: Examples and outputs of the split on which thresholds are chosen, where the task has one.
            neighbours: Search on whatever device the run uses; what it finds says whether it is exact.
        """


class Reader(ABC):
    """Reads the scores of one set of rows, in any order and a few at a time, and keeps only what predictions need."""

    @abstractmethod
    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Take the scores of some rows; every row comes exactly once.

        Args:
            chosen: Numbers of the rows, shape ``(chosen,)``.
            scores: ``(chosen, size)`` for a pooled or choice head; ``(chosen, length, size)`` for a token or span head,
                where ``length`` is at least that of the longest chosen row and what lies behind a row's end is padding.
        """

    @abstractmethod
    def predictions(self) -> list[Predictions]:
        """One value per view, after all rows were taken."""


class HeadFormat(Format):
    """A format that is read from the scores of a trained head."""

    def fitted(self, examples: Sequence[Any]) -> HeadFormat:
        """This format with the labels of its head, where they are known only from the training set; else itself.

        Args:
            examples: The whole training set. The result does not depend on their order.
        """
        return self

    def labelled(self, labels: tuple[str, ...]) -> HeadFormat:
        """This format with the labels of a head that was trained before, where it leaves them open; else itself."""
        return self

    @abstractmethod
    def encode(self, examples: Sequence[Any], tokenizer: Tokenizer, max_length: int) -> Rows:
        """Rows of token ids; an example may have several (windows, choices).

        Called in another thread too, while rows that were made before are read and scored.

        Args:
            examples: In order.
            tokenizer: Cuts texts into sub-words.
            max_length: Tokens per row at most, special tokens included.
        """

    @abstractmethod
    def targets(self, examples: Sequence[Any], rows: Rows) -> NDArray[np.int64]:
        """What the loss compares the scores with.

        Returns:
            Shape ``(rows,)`` for a pooled head; ``(len(rows.ids),)``, aligned with the flat ids and
            :data:`harness.formats.rows.IGNORED` where no score counts, for a token head; ``(rows, 2)``, the positions
            of the answer's first and last token inside the row, for a span head; ``(examples,)``, the number of the right
            choice, for a choice head.

        Raises:
            DataError: An example has no gold answer to learn from.
        """

    @abstractmethod
    def reader(self, examples: Sequence[Any], rows: Rows) -> Reader:
        """What turns scores of these rows into predictions."""
