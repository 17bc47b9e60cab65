"""Plans batches from token counts. NumPy only; knows no text and no model.

Sequences are grouped by a padded length that depends on their own length alone, never on their neighbours, and short
ones are not padded at all. So what a sequence's batch looks like to the model's kernels does not hang on the company it
is in, and its vector comes out the same in every run (on CPUs bit for bit; see tests/test_batching.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EXACT = 64
_STEP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Which sequences go through the model together.

    Attributes:
        rows: Numbers of the sequences, shape ``(sequences,)``.
        length: Tokens per row after padding.
        padded: Whether rows of this length may be padded, and so need an attention mask.
    """

    rows: NDArray[np.int64]
    length: int
    padded: bool


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
