"""Plans batches from token counts. NumPy only; knows no text and no model.

Batches for packed passes (:func:`pack`) fill rows with sequences of any lengths. For a model that must be padded
(:func:`plan`), sequences are grouped by a padded length that depends on their own length alone, never on their neighbours,
and short ones are not padded at all. Either way, what a sequence's batch looks like to the model's kernels does not hang on
the company it is in, and its vector comes out the same in every run (see tests/test_batching.py and test_packed.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

_EXACT = 64
_STEP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Which sequences go through the model together.

    Attributes:
        rows: Numbers of the sequences, shape ``(sequences,)``.
        length: Tokens per row after padding; of a packed batch those of its longest sequence.
        padded: Whether rows of this length may be padded, and so need an attention mask.
        packed: Whether the sequences lie behind one another in one row, equally long ones side by side.
    """

    rows: NDArray[np.int64]
    length: int
    padded: bool
    packed: bool = False

    def halves(self) -> tuple[Batch, Batch]:
        """The first half of the sequences, and the others."""
        middle = len(self.rows) // 2
        first, second = (replace(self, rows=rows) for rows in (self.rows[:middle], self.rows[middle:]))
        return first, second


def padded_length(lengths: NDArray[np.int64], *, exact: int = _EXACT) -> NDArray[np.int64]:
    """The length that sequences of each length are padded to: itself up to ``exact``, then the next multiple of 8."""
    return np.where(lengths <= exact, lengths, -(-lengths // _STEP) * _STEP)


def plan(lengths: NDArray[np.int64], budget: int, *, exact: int = _EXACT) -> list[Batch]:
    """Batches of equal padded length with at most ``budget`` tokens each (at least one sequence), longest first.

    Longest first, so that running out of memory happens at once or not at all.

    Args:
        lengths: Tokens of each sequence, all at least 1, shape ``(sequences,)``.
        budget: Tokens per batch, padding included.
        exact: Lengths up to this one are not padded.
    """
    padded = padded_length(lengths, exact=exact)
    order = np.argsort(-padded, kind="stable")
    batches: list[Batch] = []
    borders = np.flatnonzero(np.diff(padded[order])) + 1
    for group in np.split(order, borders):
        if not len(group):
            continue
        length = int(padded[group[0]])
        size = max(1, budget // length)
        batches += [
            Batch(rows=group[start : start + size], length=length, padded=length > exact)
            for start in range(0, len(group), size)
        ]
    return batches


def pack(lengths: NDArray[np.int64], room: int, most: int) -> list[Batch]:
    """Batches of sequences that share a row of ``room`` tokens, the longest first, room that is left given to shorter ones.

    A sequence that is longer than the room has a row of its own.

    Args:
        lengths: Tokens of each sequence, all at least 1, shape ``(sequences,)``.
        room: Tokens of a row.
        most: Sequences of a row.
    """
    order = np.argsort(-lengths, kind="stable")
    known, begins, counts = np.unique(-lengths[order], return_index=True, return_counts=True)
    waiting = {
        int(-length): [int(begin), int(count)]
        for length, begin, count in zip(known, begins, counts, strict=True)
    }
    batches = []
    while waiting:
        taken = list(_row(waiting, room, most))
        rows = np.concatenate([order[begin : begin + count] for begin, count in taken])
        batches.append(Batch(rows=rows, length=int(lengths[rows[0]]), padded=False, packed=True))
    return batches


def _row(waiting: dict[int, list[int]], room: int, most: int) -> Iterator[tuple[int, int]]:
    """Take the sequences of one row out of those that wait: their place in the order, and how many."""
    longest = next(iter(waiting))
    left = max(room, longest)
    for length in list(waiting):
        begin, count = waiting[length]
        fits = min(count, most, left // length)
        if fits:
            yield begin, fits
            left, most = left - fits * length, most - fits
            waiting[length] = [begin + fits, count - fits]
            if fits == count:
                del waiting[length]
        if not left or not most:
            return
