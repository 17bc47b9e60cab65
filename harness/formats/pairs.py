"""The best pair of a start and an end in many windows at once. Knows scores and places; knows no text and no task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from harness.arrays import NDArray, np
from harness.formats.rows import Ints

Scalar = TypeVar("Scalar", bound="np.generic")

# Pairs looked at in one go when every pair counts: some tens of megabytes.
_PAIRS_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Which of some columns may begin and end an answer, each array of shape ``(windows, columns)``.

    Attributes:
        start: Whether an answer may begin in a column.
        end: Whether it may end in a column; those of ends need not be those of starts.
        before: A count that grows along the passage, as it is before the token of each start, int32.
        behind: The same behind the token of each end. A pair counts only where ``behind`` of its end exceeds ``before``
            of its start, so that an answer has something to show.
        longest: Tokens of an answer at most.
    """

    start: NDArray[np.bool_]
    end: NDArray[np.bool_]
    before: NDArray[np.int32]
    behind: NDArray[np.int32]
    longest: int


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
    rows, width = scores.shape
    if count >= width:
        return np.tile(np.arange(width), (rows, 1))
    least = np.partition(scores, width - count, axis=1)[:, width - count, None]
    chosen = scores >= least
    tied = np.flatnonzero(np.count_nonzero(chosen, axis=1) > count)
    if len(tied):
        above, equal = scores[tied] > least[tied], scores[tied] == least[tied]
        room = count - np.count_nonzero(above, axis=1)[:, None]
        chosen[tied] = above | (equal & (np.cumsum(equal, axis=1) <= room))
    columns: Ints = np.flatnonzero(chosen).reshape(rows, count) % width
    return columns


def ranked_pairs(
    start: NDArray[np.float32], end: NDArray[np.float32], starts: Ints, ends: Ints, allowed: Allowed
) -> Pairs:
    """The best allowed pair of some starts and some ends of each window.

    Of pairs with equal sums the first by start, then the shortest.

    Args:
        start: float32, shape ``(windows, length)``, minus infinity in padding.
        end: The same for ends.
        starts: Columns of ``start``, ascending, shape ``(windows, starts)``; ``ends`` alike.
        allowed: Of these columns.
    """
    one = np.where(allowed.start, _at(start, starts), np.float32(-np.inf)).astype(np.float64)
    other = np.where(allowed.end, _at(end, ends), np.float32(-np.inf)).astype(np.float64)
    sums = one[:, :, None] + other[:, None, :]
    # A negative number of tokens is a very large one without its sign.
    first, last = starts.astype(np.int32), ends.astype(np.int32)
    bad = (last[:, None, :] - first[:, :, None]).view(np.uint32) >= allowed.longest
    bad |= allowed.behind[:, None, :] <= allowed.before[:, :, None]
    np.copyto(sums, -np.inf, where=bad)
    score, begin, finish = _first_maximum(sums)
    rows = np.arange(len(start))
    return Pairs(score=score, start=starts[rows, begin], end=ends[rows, finish])


def all_pairs(start: NDArray[np.float32], end: NDArray[np.float32], allowed: Allowed) -> Pairs:
    """The best allowed pair of all, ``allowed`` being of all columns; ties and arguments as in :func:`ranked_pairs`."""
    windows, length = start.shape
    score = np.full(windows, -np.inf)
    found = np.zeros((2, windows), dtype=np.int64)
    at_once = max(1, _PAIRS_AT_ONCE // (length * allowed.longest))
    for begin in range(0, windows, at_once):
        rows = slice(begin, begin + at_once)
        sums = start[rows].astype(np.float64)[:, :, None] + _band(end[rows], allowed.longest, -np.inf)
        good = allowed.start[rows, :, None] & _band(allowed.end[rows], allowed.longest, False)
        good &= _band(allowed.behind[rows], allowed.longest, -1) > allowed.before[rows, :, None]
        sums[~good] = -np.inf
        score[rows], found[0, rows], found[1, rows] = _first_maximum(sums)
    return Pairs(score=score, start=found[0], end=np.minimum(found[0] + found[1], length - 1))


def _at(values: NDArray[Scalar], columns: Ints) -> NDArray[Scalar]:
    return values[np.arange(len(values))[:, None], columns]


def _band(values: NDArray[Scalar], width: int, padding: Any) -> NDArray[Scalar]:
    """For each column the values of it and the ``width - 1`` behind it, shape ``(rows, columns, width)``; a view."""
    padded = np.pad(values, ((0, 0), (0, width - 1)), constant_values=padding)
    return np.lib.stride_tricks.sliding_window_view(padded, width, axis=1)


def _first_maximum(sums: NDArray[np.float64]) -> tuple[NDArray[np.float64], Ints, Ints]:
    """The largest number of each matrix and its first place, by row, then by column."""
    flat = sums.reshape(len(sums), -1)
    place = flat.argmax(axis=1)
    return flat[np.arange(len(flat)), place], place // sums.shape[2], place % sums.shape[2]
