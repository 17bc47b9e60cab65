"""The best pair of a start and an end in many windows at once. Knows scores and places; knows no text and no task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.formats.rows import Ints

Scalar = TypeVar("Scalar", bound=np.generic)

# Pairs looked at in one go when every pair counts: some tens of megabytes.
_PAIRS_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Which tokens may begin and end an answer, each array of shape ``(windows, length)``.

    Attributes:
        start: Whether an answer may begin here.
        end: Whether it may end here.
        before: A count that grows along the passage, as it is before the token.
        behind: The same behind the token. A pair counts only where ``behind`` of its end exceeds ``before`` of its
            start, so that an answer has something to show.
        longest: Tokens of an answer at most.
    """

    start: NDArray[np.bool_]
    end: NDArray[np.bool_]
    before: Ints
    behind: Ints
    longest: int

    def of(self, rows: Ints) -> Allowed:
        """The same of some windows."""
        return Allowed(
            start=self.start[rows],
            end=self.end[rows],
            before=self.before[rows],
            behind=self.behind[rows],
            longest=self.longest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """The best pair of each window, each array of shape ``(windows,)``.

    Attributes:
        score: Sum of both scores, float64; minus infinity where no pair is allowed.
        start: Column of the first token.
        end: Column of the last.
    """

    score: NDArray[np.float64]
    start: Ints
    end: Ints


def highest(scores: NDArray[np.float32], count: int) -> Ints:
    """Columns of the ``count`` highest scores of each row, in ascending order; of equal scores the first columns.

    >>> highest(np.array([[1, 3, 3, 2, 3]], dtype=np.float32), 2).tolist()
    [[1, 2]]
    """
    # One integer per score that sorts as (higher score, earlier column): a partition of such keys leaves no tie open.
    # Adding zero makes -0.0 and 0.0 the same bits.
    bits = np.ascontiguousarray(scores + np.float32(0)).view(np.int32)
    rising = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits).astype(np.int64)
    keys = (-rising << 32) | np.arange(scores.shape[1])
    if count < scores.shape[1]:
        keys = np.partition(keys, count - 1, axis=1)[:, :count]
    return np.sort(keys & 0xFFFFFFFF, axis=1)


def ranked_pairs(start: NDArray[np.float32], end: NDArray[np.float32], allowed: Allowed, best: int) -> Pairs:
    """The best allowed pair among the ``best`` highest starts and the ``best`` highest ends of each window.

    Both are chosen among all columns, allowed or not, as in BERT's SQuAD script. Of pairs with equal sums the first by
    start, then the shortest.

    Args:
        start: float32, shape ``(windows, length)``, minus infinity in padding.
        end: The same for ends.
    """
    starts, ends = highest(start, best), highest(end, best)
    sums = _at(start, starts).astype(np.float64)[:, :, None] + _at(end, ends)[:, None, :]
    gap = ends[:, None, :] - starts[:, :, None]
    good = (gap >= 0) & (gap < allowed.longest)
    good &= _at(allowed.start, starts)[:, :, None] & _at(allowed.end, ends)[:, None, :]
    good &= _at(allowed.behind, ends)[:, None, :] > _at(allowed.before, starts)[:, :, None]
    score, first, second = _first_maximum(sums, good)
    rows = np.arange(len(start))
    return Pairs(score=score, start=starts[rows, first], end=ends[rows, second])


def all_pairs(start: NDArray[np.float32], end: NDArray[np.float32], allowed: Allowed) -> Pairs:
    """The best allowed pair of all; ties and arguments as in :func:`ranked_pairs`."""
    windows, length = start.shape
    score = np.full(windows, -np.inf)
    found = np.zeros((2, windows), dtype=np.int64)
    at_once = max(1, _PAIRS_AT_ONCE // (length * allowed.longest))
    for begin in range(0, windows, at_once):
        rows = np.arange(begin, min(begin + at_once, windows))
        part = allowed.of(rows)
        sums = start[rows].astype(np.float64)[:, :, None] + _band(end[rows], allowed.longest, -np.inf)
        good = part.start[:, :, None] & _band(part.end, allowed.longest, False)
        good &= _band(part.behind, allowed.longest, -1) > part.before[:, :, None]
        score[rows], found[0, rows], found[1, rows] = _first_maximum(sums, good)
    return Pairs(score=score, start=found[0], end=np.minimum(found[0] + found[1], length - 1))


def _at(values: NDArray[Scalar], columns: Ints) -> NDArray[Scalar]:
    return np.take_along_axis(values, columns, axis=1)


def _band(values: NDArray[Scalar], width: int, padding: Any) -> NDArray[Scalar]:
    """For each column the values of it and the ``width - 1`` behind it, shape ``(rows, columns, width)``; a view."""
    padded = np.pad(values, ((0, 0), (0, width - 1)), constant_values=padding)
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)


def _first_maximum(
    sums: NDArray[np.float64], good: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], Ints, Ints]:
    """The largest good sum of each matrix and its first place, by row, then by column."""
    sums[~good] = -np.inf
    flat = sums.reshape(len(sums), -1)
    place = flat.argmax(axis=1)
    score = flat[np.arange(len(flat)), place]
    return score, place // sums.shape[2], place % sums.shape[2]
