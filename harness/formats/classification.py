"""Classification of one text or of a pair of texts. Knows texts and labels; knows no file, no model and no metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.arrays import NDArray, np
from harness.errors import DataError, SpecError
from harness.formats.base import Example, Head, HeadFormat, Json, Predictions, Reader
from harness.formats.rows import (
    Ints,
    Part,
    Pieces,
    Rows,
    Template,
    Tokenizer,
    assembled,
    fixed,
    require_room,
    sizes_to_starts,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPair(Example):
    """A text, or two, with a label.

    Attributes:
        text: The first text (a premise, a sentence).
        text_pair: The second (a hypothesis), None where there is only one.
        label: One of the format's labels.
    """

    text: str
    text_pair: str | None
    label: str


def text_pair(row: Mapping[str, Json]) -> TextPair:
    """A row with ``id``, ``text``, ``label`` and, for pairs, ``text_pair``."""
    return TextPair(id=row["id"], text=row["text"], text_pair=row.get("text_pair"), label=row["label"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(HeadFormat):
    """One label per text or pair of texts, read from one row each.

    Attributes:
        labels: In the order of the head's outputs.
    """

    name: ClassVar[str] = "classification"
    version: ClassVar[int] = 1

    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.labels or len(set(self.labels)) < len(self.labels):
            raise SpecError("format 'classification': labels are missing or named twice")

    @property
    def head(self) -> Head:
        """One row of scores per text or pair."""
        return Head(kind="pooled", labels=self.labels)

    @property
    def views(self) -> tuple[str, ...]:
        """One."""
        return ("",)

    @property
    def settings(self) -> Mapping[str, Json]:
        """The labels."""
        return {"labels": list(self.labels)}

    def texts(self, example: TextPair) -> tuple[str, ...]:
        """The text, or both."""
        return (example.text,) if example.text_pair is None else (example.text, example.text_pair)

    def encode(self, examples: Sequence[TextPair], tokenizer: Tokenizer, max_length: int) -> Rows:
        """One row per example; a pair that is too long is cut as Hugging Face's ``longest_first`` cuts it.

        Raises:
            UsageError: ``max_length`` leaves no room between the special tokens.
        """
        texts = [self.texts(example) for example in examples]
        paired = np.array([len(pair) == 2 for pair in texts], dtype=np.bool_)
        special = np.where(paired, tokenizer.template.pair_size, tokenizer.template.single_size)
        require_room(max_length, int(special.max(initial=0)))
        pieces = tokenizer.pieces([text for pair in texts for text in pair])
        first = sizes_to_starts([len(pair) for pair in texts])[:-1]
        # Of a lone text the second has no piece; any place will do for where it begins.
        second = np.minimum(first + paired, max(0, len(pieces.counts) - 1))
        counts = pieces.counts[first], np.where(paired, pieces.counts[second], 0)
        kept = longest_first(*counts, max_length - special)
        both = [
            Part(ids=pieces.ids, begin=pieces.starts[place], count=count)
            for place, count in zip((first, second), kept, strict=True)
        ]
        ids, segments, starts = assembled(layout(tokenizer.template, paired, *both), tokenizer.unknown)
        return Rows(
            ids=ids,
            segments=segments,
            starts=starts,
            owner=np.arange(len(examples), dtype=np.int64),
            health={
                **_health(texts, pieces, tokenizer.unknown),
                "truncated": int(np.count_nonzero(sum(kept) < sum(counts))),
            },
        )

    def targets(self, examples: Sequence[TextPair], rows: Rows) -> NDArray[np.int64]:
        """Number of each example's label, shape ``(rows,)``.

        Raises:
            DataError: An example has a label that is not the format's.
        """
        numbers = {label: number for number, label in enumerate(self.labels)}
        for example in examples:
            if example.label not in numbers:
                raise DataError(
                    f"example {example.id} has the label {example.label!r}; there are {', '.join(self.labels)}"
                )
        return np.array([numbers[example.label] for example in examples], dtype=np.int64)[rows.owner]

    def reader(self, examples: Sequence[TextPair], rows: Rows) -> Reader:
        """The label with the highest score; of equal ones the first."""
        return _Labels(self.labels, examples)


def longest_first(first: Ints, second: Ints, room: Ints) -> tuple[Ints, Ints]:
    """How much is kept of two texts that share ``room`` tokens, when the longer one is cut until both fit.

    The result is that of Hugging Face's tokenizers: the shorter text keeps all that it has up to half of the room, the
    longer the rest; of two equally long ones the second counts as the longer.

    >>> [kept.tolist() for kept in longest_first(np.array([9, 2, 7]), np.array([8, 9, 1]), np.array([7, 7, 9]))]
    [[4, 2, 7], [3, 5, 1]]
    """
    fits = first + second <= room
    shorter = np.minimum(np.minimum(first, second), room // 2)
    one, other = (
        np.where(first > second, room - shorter, shorter),
        np.where(first > second, shorter, room - shorter),
    )
    return np.where(fits, first, one), np.where(fits, second, other)


def _health(texts: Sequence[tuple[str, ...]], pieces: Pieces, unknown: int | None) -> dict[str, int]:
    return {
        "examples": len(texts),
        "rows": len(texts),
        "pieces": len(pieces.ids),
        "unknown": int(pieces.occurrences(unknown).sum()),
        "words": sum(len(text.split()) for pair in texts for text in pair),
        "lost": 0,
    }


def layout(template: Template, paired: NDArray[np.bool_], first: Part, second: Part) -> list[Part]:
    """The parts of lone texts and of pairs, in one order that serves both."""
    segment = int(template.segments)
    return [
        fixed(template.single[0], ~paired),
        fixed(template.pair[0], paired),
        first,
        fixed(template.single[1], ~paired),
        fixed(template.pair[1], paired),
        Part(ids=second.ids, begin=second.begin, count=second.count, segment=segment),
        fixed(template.pair[2], paired, segment),
    ]


class _Labels(Reader):
    """Keeps the number of the best label of each row."""

    def __init__(self, labels: tuple[str, ...], examples: Sequence[TextPair]) -> None:
        self._labels = labels
        self._examples = examples
        self._best = np.zeros(len(examples), dtype=np.int64)

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        self._best[chosen] = scores.argmax(axis=1)

    def predictions(self) -> list[Predictions]:
        return [
            Predictions(
                view="",
                ids=[example.id for example in self._examples],
                gold=[example.label for example in self._examples],
                values=[self._labels[best] for best in self._best.tolist()],
            )
        ]
