"""Tagging: one label per word. Knows words and labels; knows no file, no model and no metric."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import ClassVar

from harness.arrays import NDArray, np
from harness.errors import DataError, SpecError
from harness.formats.base import Example, Head, HeadFormat, Json, Predictions, Reader
from harness.formats.rows import (
    IGNORED,
    Ints,
    Part,
    Pieces,
    Rows,
    Tokenizer,
    assembled,
    fixed,
    ranges,
    require_room,
    sizes_to_starts,
)
from harness.formats.windows import filled

# Predicted for a word that no model can see, where the labels have one of them: no entity, or no part of speech.
_NOTHING = ("O", "X")
# Labels that a message names before it gives only their number.
_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedSentence(Example):
    """A sentence as words with a tag each.

    Attributes:
        words: At least one; none of them is empty.
        tags: As many as words.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...]


def tagged_sentence(row: Mapping[str, Json]) -> TaggedSentence:
    """A row with ``id``, ``words`` and ``tags``, two lists of one length.

    Raises:
        ValueError: They differ in length or are empty.
    """
    words, tags = tuple(row["words"]), tuple(row["tags"])
    if len(words) != len(tags) or not words:
        raise ValueError(f"sentence {row['id']} has {len(words)} words and {len(tags)} tags")
    return TaggedSentence(id=row["id"], words=words, tags=tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRows(Rows):
    """Windows of sentences, and where each word's score stands.

    Words are numbered through all sentences.

    Attributes:
        words: Words that have a place, in order, shape ``(seen,)``.
        firsts: Position of each one's first sub-word in its row, shape ``(seen,)``.
        word_starts: Where each row begins in these two, with the end of the last, shape ``(rows + 1,)``.
    """

    words: Ints
    firsts: Ints
    word_starts: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagging(HeadFormat):
    """One label per word, read from the scores of the word's first sub-word.

    A word without any sub-word is read from the unknown token, which is XTREME's rule. Where the tokenizer has none, the
    model cannot see the word: it is counted as lost and predicted as ``O``, else ``X``, else the first label.

    Where the inventory is open, what labels there are is known only from a training set: see :meth:`fitted`. A word
    whose gold tag is no label can then be scored, as an error whatever is predicted, and is counted in the health of
    the rows as ``unseen``; it cannot be learned.

    Attributes:
        labels: In the order of the head's outputs; none in an open inventory that was not fitted yet.
        open: Whether the labels come from the training set.
    """

    name: ClassVar[str] = "tagging"
    version: ClassVar[int] = 1

    labels: tuple[str, ...] = ()
    open: bool = False

    def __post_init__(self) -> None:
        if not (self.labels or self.open) or len(set(self.labels)) < len(self.labels):
            raise SpecError("format 'tagging': labels are missing or named twice")

    @property
    def head(self) -> Head:
        """One row of scores per token."""
        return Head(kind="token", labels=self.labels)

    @property
    def views(self) -> tuple[str, ...]:
        """One."""
        return ("",)

    @property
    def settings(self) -> Mapping[str, Json]:
        """The labels, and whether there may be others."""
        return {"labels": list(self.labels)} | ({"open": True} if self.open else {})

    def fitted(self, examples: Sequence[TaggedSentence]) -> Tagging:
        """With an open inventory: the same with the tags of these examples, sorted, as labels; else this format.

        Raises:
            DataError: The inventory is open and there are no examples.
        """
        if not self.open:
            return self
        tags = tuple(sorted(set(chain.from_iterable(example.tags for example in examples))))
        if not tags:
            raise DataError("the training set has no example, so there are no tags to learn")
        return replace(self, labels=tags)

    def labelled(self, labels: tuple[str, ...]) -> Tagging:
        """With an open inventory: the same with these labels; else this format."""
        return replace(self, labels=labels) if self.open else self

    def texts(self, example: TaggedSentence) -> tuple[str, ...]:
        """The words."""
        return example.words

    def passages(self, example: TaggedSentence) -> tuple[str, ...]:
        """The sentence, its words parted by spaces."""
        return (" ".join(example.words),)

    def encode(self, examples: Sequence[TaggedSentence], tokenizer: Tokenizer, max_length: int) -> TagRows:
        """Each sentence as one row, or as several of whole words where it is longer than ``max_length``.

        Of a word that alone is longer than a row the first sub-words are kept, and its label is still read. (XTREME puts
        the unknown token in its place.)

        Raises:
            UsageError: ``max_length`` leaves no room between the special tokens.
        """
        before, behind = tokenizer.template.single
        require_room(max_length, tokenizer.template.single_size)
        room = max_length - tokenizer.template.single_size
        sentences = sizes_to_starts([len(example.words) for example in examples])
        pieces = tokenizer.pieces([word for example in examples for word in example.words], words=True)
        pieces = _with_unknown(pieces, tokenizer.unknown)
        kept = np.minimum(pieces.counts, room)
        owner, begin = filled(kept, sentences, room)
        tokens = np.concatenate([[0], np.cumsum(kept)])
        ids, segments, starts = assembled(
            [
                fixed(before, np.ones(len(begin), dtype=np.bool_)),
                Part(
                    ids=pieces.ids[ranges(pieces.starts[:-1], kept)],
                    begin=tokens[begin],
                    count=np.diff(tokens[np.append(begin, len(kept))]),
                ),
                fixed(behind, np.ones(len(begin), dtype=np.bool_)),
            ],
            tokenizer.unknown,
        )
        window = np.repeat(np.arange(len(begin)), np.diff(np.append(begin, len(kept))))
        words = np.flatnonzero(kept)
        return TagRows(
            ids=ids,
            segments=segments,
            starts=starts,
            owner=owner,
            words=words,
            firsts=len(before) + tokens[words] - tokens[begin[window[words]]],
            word_starts=np.searchsorted(words, np.append(begin, len(kept))),
            health={
                **_health(pieces, kept, sentences),
                "rows": len(owner),
                "unknown": int(pieces.occurrences(tokenizer.unknown).sum()),
                **self._unseen(examples),
            },
        )

    def _unseen(self, examples: Sequence[TaggedSentence]) -> dict[str, int]:
        if not self.open:
            return {}
        labels = set(self.labels)
        return {"unseen": sum(tag not in labels for example in examples for tag in example.tags)}

    def targets(self, examples: Sequence[TaggedSentence], rows: Rows) -> NDArray[np.int64]:
        """The number of each word's tag at its first sub-word, shape ``(len(rows.ids),)``.

        Raises:
            DataError: A word has a tag that is not among the labels.
        """
        assert isinstance(rows, TagRows)
        numbers = {label: number for number, label in enumerate(self.labels)}
        tags = [numbers.get(tag, -1) for example in examples for tag in example.tags]
        if -1 in tags:
            raise DataError(_unknown_tag(examples, self.labels))
        targets = np.full(len(rows.ids), IGNORED, dtype=np.int64)
        begin = np.repeat(rows.starts[:-1], np.diff(rows.word_starts))
        targets[begin + rows.firsts] = np.array(tags, dtype=np.int64)[rows.words]
        return targets

    def reader(self, examples: Sequence[TaggedSentence], rows: Rows) -> Reader:
        """The label with the highest score of each word; of equal ones the first.

        Raises:
            SpecError: The inventory is open and was not fitted to a training set.
        """
        assert isinstance(rows, TagRows)
        if not self.labels:
            raise SpecError("format 'tagging': the labels of its head are read from a training set first")
        return _Tags(self.labels, examples, rows)


def _with_unknown(pieces: Pieces, unknown: int | None) -> Pieces:
    """The unknown token for each text that has no piece."""
    counts = pieces.counts
    if unknown is None or (counts > 0).all():
        return pieces
    starts = np.concatenate([[0], np.cumsum(np.maximum(counts, 1))])
    places = ranges(starts[:-1], counts)
    ids = np.full(starts[-1], unknown, dtype=np.int32)
    begin, end = (np.zeros(starts[-1], dtype=np.int32) for _ in range(2))
    ids[places], begin[places], end[places] = pieces.ids, pieces.begin, pieces.end
    return Pieces(ids=ids, begin=begin, end=end, starts=starts)


def _health(pieces: Pieces, kept: Ints, sentences: Ints) -> dict[str, int]:
    cut = np.flatnonzero(pieces.counts > kept)
    return {
        "examples": len(sentences) - 1,
        "pieces": len(pieces.ids),
        "words": len(kept),
        "truncated": len(np.unique(np.searchsorted(sentences, cut, side="right"))),
        "lost": int(np.count_nonzero(kept == 0)),
    }


def _unknown_tag(examples: Sequence[TaggedSentence], labels: tuple[str, ...]) -> str:
    example, number = next(
        (example, number)
        for example in examples
        for number, tag in enumerate(example.tags)
        if tag not in labels
    )
    return (
        f"example {example.id}: word {number + 1}, {example.words[number]!r}, has the tag "
        f"{example.tags[number]!r}; there are {_named(labels)}"
    )


def _named(labels: tuple[str, ...]) -> str:
    more = f", … ({len(labels)})" if len(labels) > _NAMED else ""
    return ", ".join(labels[:_NAMED]) + more


class _Tags(Reader):
    """Keeps the number of the best label of each word."""

    def __init__(self, labels: tuple[str, ...], examples: Sequence[TaggedSentence], rows: TagRows) -> None:
        self._labels = np.array(labels, dtype=np.object_)
        self._examples = examples
        self._rows = rows
        nothing = next((labels.index(label) for label in _NOTHING if label in labels), 0)
        self._best = np.full(sum(len(example.words) for example in examples), nothing, dtype=np.int64)

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        begin = self._rows.word_starts[chosen]
        count = self._rows.word_starts[chosen + 1] - begin
        seen = ranges(begin, count)
        taken = scores[np.repeat(np.arange(len(chosen)), count), self._rows.firsts[seen]]
        self._best[self._rows.words[seen]] = taken.argmax(axis=1)

    def predictions(self) -> list[Predictions]:
        flat = self._labels[self._best].tolist()
        starts = sizes_to_starts([len(example.words) for example in self._examples]).tolist()
        return [
            Predictions(
                view="",
                ids=[example.id for example in self._examples],
                gold=[list(example.tags) for example in self._examples],
                values=[flat[begin:end] for begin, end in pairwise(starts)],
            )
        ]
