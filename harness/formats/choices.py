"""Questions with several answers to choose from. Knows contexts, questions and choices; knows no file and no metric.

Each choice is read with its context in a row of its own and gets one score; the highest wins. Rows do not see each
other, so an example may have any number of choices, and another number than its neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from harness.arrays import NDArray, np
from harness.errors import DataError, SpecError, UsageError
from harness.formats.base import Example, Head, HeadFormat, Json, Predictions, Reader
from harness.formats.classification import layout
from harness.formats.rows import Ints, Part, Pieces, Rows, Tokenizer, assembled, require_room, sizes_to_starts

Place = Literal["context", "choice"]
_PLACES: tuple[Place, ...] = get_args(Place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Example):
    """A question and the answers to choose from.

    Attributes:
        context: What the question is about (a story, a premise); may be empty.
        question: The question itself, or the beginning of a sentence that a choice ends; may be empty.
        choices: Two or more.
        gold: Number of the right one, counting from 0; None where it is not known.

    Raises:
        DataError: There are fewer than two choices, or ``gold`` is not the number of one.
    """

    context: str
    question: str
    choices: tuple[str, ...]
    gold: int | None

    def __post_init__(self) -> None:
        count = len(self.choices)
        if count < 2:
            raise DataError(f"example {self.id} has {count} choices; at least 2 are needed")
        if self.gold is not None and not 0 <= self.gold < count:
            raise DataError(
                f"example {self.id}: {self.gold} is not the number of a choice; allowed are 0 to {count - 1}"
            )


def choice(row: Mapping[str, Json]) -> Choice:
    """A row with ``id``, ``choices`` and ``gold``; ``context`` and ``question`` are empty where they are not given.

    Raises:
        DataError: As :class:`Choice`.
    """
    return Choice(
        id=row["id"],
        context=row.get("context", ""),
        question=row.get("question", ""),
        choices=tuple(row["choices"]),
        gold=row["gold"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices(HeadFormat):
    """One of an example's choices, read from one row per choice.

    A row is a pair of texts: the context, then the choice. The question stands at the end of the first or at the
    beginning of the second, set off by a space. Without a context the question is the first text in both cases, and
    without either the choice stands alone.

    What does not fit is left out from the front of the first text, so that the choice stays whole with the words next
    to it: the question, the end of the story. Only a second text that is too long by itself is cut, from its front too.
    (Hugging Face's ``longest_first``, which XTREME's and jiant's code use, would cut ends and the choices too.)

    Attributes:
        question_with: Where the question stands: ``context`` or ``choice``.
    """

    name: ClassVar[str] = "choices"
    version: ClassVar[int] = 1

    question_with: Place = "context"

    def __post_init__(self) -> None:
        if self.question_with not in _PLACES:
            raise SpecError(
                f"format 'choices': question_with is {self.question_with!r}; allowed are {', '.join(_PLACES)}"
            )

    @property
    def head(self) -> Head:
        """One score per choice."""
        return Head(kind="choice")

    @property
    def views(self) -> tuple[str, ...]:
        """One."""
        return ("",)

    @property
    def settings(self) -> Mapping[str, Json]:
        """Where the question stands."""
        return {"question_with": self.question_with}

    def replaced(self, changes: Mapping[str, str]) -> Choices:
        """``question_with`` can be changed (see :meth:`Format.replaced`)."""
        changed = self
        for name, text in changes.items():
            if name != "question_with":
                raise UsageError(f"no setting '{name}' here; there is question_with")
            allowed = [place for place in _PLACES if place == text]
            if not allowed:
                raise UsageError(f"question_with={text}: must be {' or '.join(_PLACES)}")
            changed = replace(changed, question_with=allowed[0])
        return changed

    def texts(self, example: Choice) -> tuple[str, ...]:
        """The first text, where there is one, and each of the second texts."""
        first, seconds = self._laid_out(example)
        return (first, *seconds) if first else seconds

    def _laid_out(self, example: Choice) -> tuple[str, tuple[str, ...]]:
        """The text that all rows of an example begin with, empty for none, and the second text of each row."""
        if self.question_with == "context" or not example.context:
            return _joined(example.context, example.question), example.choices
        return example.context, tuple(_joined(example.question, text) for text in example.choices)

    def encode(self, examples: Sequence[Choice], tokenizer: Tokenizer, max_length: int) -> Rows:
        """A row per choice, in their order.

        Raises:
            UsageError: ``max_length`` leaves no room between the special tokens.
        """
        laid = [self._laid_out(example) for example in examples]
        texts = [first for first, _ in laid] + [text for _, seconds in laid for text in seconds]
        counts = np.array([len(example.choices) for example in examples], dtype=np.int64)
        owner = np.repeat(np.arange(len(examples), dtype=np.int64), counts)
        paired = np.array([bool(first) for first, _ in laid], dtype=np.bool_)[owner]
        special = np.where(paired, tokenizer.template.pair_size, tokenizer.template.single_size)
        require_room(max_length, int(special.max(initial=0)))
        pieces = tokenizer.pieces(texts)
        room = max_length - special
        chosen = np.arange(len(examples), len(texts), dtype=np.int64)
        # A choice that stands alone is the first text of its row.
        begun = np.where(paired, owner, chosen)
        second = _ending(pieces, chosen, np.where(paired, room, 0))
        first = _ending(pieces, begun, room - second.count)
        ids, segments, starts = assembled(
            layout(tokenizer.template, paired, first, second), tokenizer.unknown
        )
        whole = pieces.counts[begun] + np.where(paired, pieces.counts[chosen], 0)
        return Rows(
            ids=ids,
            segments=segments,
            starts=starts,
            owner=owner,
            health={
                "examples": len(examples),
                "rows": len(owner),
                "pieces": len(pieces.ids),
                "unknown": int(pieces.occurrences(tokenizer.unknown).sum()),
                "words": sum(len(text.split()) for text in texts),
                "truncated": len(np.unique(owner[first.count + second.count < whole])),
                "lost": 0,
            },
        )

    def targets(self, examples: Sequence[Choice], rows: Rows) -> NDArray[np.int64]:
        """Number of each example's right choice, shape ``(examples,)``.

        Raises:
            DataError: Of an example the right choice is not known.
        """
        for example in examples:
            if example.gold is None:
                raise DataError(
                    f"example {example.id} has no gold choice to learn from; train on a split that is labelled"
                )
        return np.array([example.gold for example in examples], dtype=np.int64)

    def reader(self, examples: Sequence[Choice], rows: Rows) -> Reader:
        """The number of the choice with the highest score; of equal ones the first."""
        return _Best(examples, rows)


def _joined(*texts: str) -> str:
    return " ".join(text for text in texts if text)


def _ending(pieces: Pieces, texts: Ints, room: Ints) -> Part:
    """For each row the end of its text, as much as there is room for; ``texts`` and ``room`` have shape ``(rows,)``."""
    count = np.minimum(pieces.counts[texts], room)
    return Part(ids=pieces.ids, begin=pieces.starts[texts + 1] - count, count=count)


class _Best(Reader):
    """Keeps one score per row."""

    def __init__(self, examples: Sequence[Choice], rows: Rows) -> None:
        self._examples = examples
        self._owner = rows.owner
        self._scores = np.zeros(len(rows.owner), dtype=np.float32)

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        self._scores[chosen] = scores[:, 0]

    def predictions(self) -> list[Predictions]:
        starts = sizes_to_starts([len(example.choices) for example in self._examples])[:-1]
        # By example, best score first; the sort is stable, so of equal scores the first choice stays first.
        ordered = np.lexsort((-self._scores, self._owner))
        return [
            Predictions(
                view="",
                ids=[example.id for example in self._examples],
                gold=[example.gold for example in self._examples],
                values=(ordered[starts] - starts).tolist(),
            )
        ]
