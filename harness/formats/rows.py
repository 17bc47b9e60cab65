"""Token ids as flat NumPy arrays: sub-words of texts, and the rows that go through a model. Knows no model and no task.

Ragged data is held flat: all ids one after the other, with the places where each text or row begins. So rows are put
together, batched and read back without a Python loop over tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from harness.arrays import NDArray, np
from harness.errors import UsageError

# The target of a token whose score does not count (torch's cross entropy has the same default).
IGNORED = -100

Ints: TypeAlias = "NDArray[np.int64]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """Sub-words of texts, one text after the other, without special tokens.

    Attributes:
        ids: int32, shape ``(pieces,)``.
        begin: Character offset of each piece's first character in its own text, int32, shape ``(pieces,)``.
        end: Character offset behind its last character, same shape.
        starts: Where each text begins in the arrays above, with the end of the last, int64, shape ``(texts + 1,)``.
    """

    ids: NDArray[np.int32]
    begin: NDArray[np.int32]
    end: NDArray[np.int32]
    starts: Ints

    @property
    def counts(self) -> Ints:
        """Pieces per text, shape ``(texts,)``."""
        return np.diff(self.starts)

    def occurrences(self, identity: int | None) -> Ints:
        """How often an id occurs in each text, shape ``(texts,)``; never, where it is None."""
        if identity is None:
            return np.zeros(len(self.starts) - 1, dtype=np.int64)
        before = np.concatenate([[0], np.cumsum(self.ids == identity)])
        return np.diff(before[self.starts])


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The special tokens that a tokenizer puts around one text and around two.

    Attributes:
        single: Ids before and after a lone text.
        pair: Ids before the first of two texts, between them, and after the second.
        segments: Whether the model is told which of two texts a token belongs to (``token_type_ids``). The second text
            and the special tokens behind it have segment 1.
    """

    single: tuple[tuple[int, ...], tuple[int, ...]]
    pair: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    segments: bool = False

    @property
    def single_size(self) -> int:
        """Special tokens around one text."""
        return sum(map(len, self.single))

    @property
    def pair_size(self) -> int:
        """Special tokens around two texts."""
        return sum(map(len, self.pair))


class Tokenizer(Protocol):
    """What a format needs of a tokenizer."""

    @property
    def template(self) -> Template:
        """Its special tokens."""
        ...

    @property
    def unknown(self) -> int | None:
        """Id of the unknown token, None where there is none."""
        ...

    @property
    def mask(self) -> int | None:
        """Id of the token that hides another one in masked language modelling, None where there is none."""
        ...

    @property
    def size(self) -> int:
        """Number of entries of the vocabulary, added and special ones included."""
        ...

    def pieces(self, texts: Sequence[str], *, words: bool = False) -> Pieces:
        """Sub-words of texts; each distinct text is cut once.

        Args:
            texts: Any texts, repetitions allowed.
            words: Whether each text is one word of a sentence, cut as it would be after a space.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Sequences of token ids, ready to be batched. Formats subclass it with what they need to read scores back.

    Attributes:
        ids: int32, shape ``(tokens,)``, special tokens included.
        segments: uint8, same shape; all 0 where the template has no segments.
        starts: Where each row begins, with the end of the last, int64, shape ``(rows + 1,)``.
        owner: For each row the number of its example, int64, shape ``(rows,)``, ascending.
        health: Counts for the record: ``examples``, ``rows``, ``pieces`` (sub-words before truncation, special tokens
            left out), ``unknown`` (of them), ``words`` (white-space words; for tagging the given words), ``truncated``
            (examples of which the model does not see everything) and ``lost`` (labels or answers that no row holds).
    """

    ids: NDArray[np.int32]
    segments: NDArray[np.uint8]
    starts: Ints
    owner: Ints
    health: Mapping[str, int] = field(default_factory=dict)

    @property
    def lengths(self) -> Ints:
        """Tokens per row, shape ``(rows,)``."""
        return np.diff(self.starts)


def ranges(begin: Ints, count: Ints) -> Ints:
    """``begin[i], begin[i] + 1, …`` for ``count[i]`` numbers each, one after the other, shape ``(sum of count,)``.

    >>> ranges(np.array([10, 3]), np.array([2, 3])).tolist()
    [10, 11, 3, 4, 5]
    """
    ends = np.cumsum(count)
    total = int(ends[-1]) if len(ends) else 0
    places: Ints = np.arange(total, dtype=np.int64) + np.repeat(begin - (ends - count), count)
    return places


def require_room(max_length: int, special: int) -> None:
    """Check that a row has a place beside its special tokens.

    Raises:
        UsageError: It has none.
    """
    if max_length <= special:
        raise UsageError(
            f"a maximum length of {max_length} tokens leaves no room for text beside {special} special tokens; "
            f"give at least {special + 1}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one stretch of every row is made of: ``count[i]`` ids of row i, from ``begin[i]`` on in a flat array.

    Attributes:
        ids: int32, any length.
        begin: int64, shape ``(rows,)``.
        count: int64, shape ``(rows,)``.
        segment: Of these tokens.
    """

    ids: NDArray[np.int32]
    begin: Ints
    count: Ints
    segment: int = 0


def fixed(ids: Sequence[int], where: NDArray[np.bool_], segment: int = 0) -> Part:
    """The same ids in each row for which ``where`` holds, shape ``(rows,)``, and none in the others."""
    return Part(
        ids=np.array(ids, dtype=np.int32),
        begin=np.zeros(len(where), dtype=np.int64),
        count=where.astype(np.int64) * len(ids),
        segment=segment,
    )


def assembled(
    parts: Sequence[Part], unknown: int | None
) -> tuple[NDArray[np.int32], NDArray[np.uint8], Ints]:
    """Rows from their parts, one behind the other: ids, segments and starts as in :class:`Rows`.

    A model cannot be given nothing. So a row without any token, which is what a tokenizer without special tokens makes
    of an empty text, gets the unknown token, or id 0 where there is none.
    """
    lengths = np.sum([part.count for part in parts], axis=0, dtype=np.int64)
    bare = lengths == 0
    parts = [*parts, fixed([0 if unknown is None else unknown], bare)]
    starts = np.concatenate([[0], np.cumsum(lengths + bare)])
    ids = np.empty(starts[-1], dtype=np.int32)
    segments = np.zeros(starts[-1], dtype=np.uint8)
    place = starts[:-1].copy()
    for part in parts:
        places = ranges(place, part.count)
        ids[places] = part.ids[ranges(part.begin, part.count)]
        if part.segment:
            segments[places] = part.segment
        place += part.count
    return ids, segments, starts


def sizes_to_starts(sizes: Sequence[int]) -> Ints:
    """Where each of some stretches of these sizes begins, with the end of the last, shape ``(sizes + 1,)``.

    >>> sizes_to_starts([2, 0, 3]).tolist()
    [0, 2, 2, 5]
    """
    return np.concatenate([[0], np.cumsum(np.array(sizes, dtype=np.int64))])
