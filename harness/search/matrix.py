"""Rows of numbers that need not lie in memory: arrays, memory maps, shards on disk, some rows of any of them.

Knows no search. Whatever is searched is a :class:`Matrix`, read a block or a handful of rows at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness import digests

Vectors: TypeAlias = NDArray[np.float32]
Indices: TypeAlias = NDArray[np.int64]

BLOCK_ROWS = 65_536


class Matrix(Protocol):
    """What can be searched: a NumPy array is one, and so is anything else that gives rows as one.

    Rows are asked for as a slice without a step, or by number in any order; either way they come as float32 arrays.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rows, dimension)``."""
        ...

    def __len__(self) -> int: ...

    # Any, for NumPy's own overloads do not fit a slice or an array of numbers.
    def __getitem__(self, rows: Any, /) -> Vectors: ...


def on_disk(stream: IO[bytes], shape: tuple[int, int]) -> Vectors:
    """A float32 matrix of zeros in an open file, all of its space taken at once.

    Raises:
        OSError: There is no room. A map into a file that has holes would end the process by a signal when the disk is full.
    """
    size = 4 * shape[0] * shape[1]
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(stream.fileno(), 0, size)
        return np.memmap(stream, dtype=np.float32, mode="r+", shape=shape)
    return np.memmap(stream, dtype=np.float32, mode="w+", shape=shape)


@dataclass(frozen=True, slots=True)
class Shards:
    """Matrices of one dimension, one below the other, e.g. memory-mapped files.

    >>> rows = Shards([np.zeros((2, 3), np.float32), np.ones((1, 3), np.float32)])
    >>> rows.shape, rows[1:3][:, 0].tolist()
    ((3, 3), [0.0, 1.0])
    """

    parts: Sequence[Matrix]

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rows, dimension)``."""
        return len(self), self.parts[0].shape[1]

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __getitem__(self, rows: slice | Indices, /) -> Vectors:
        """Rows by slice or number, as an array of shape ``(rows, dimension)``."""
        starts = np.cumsum([0, *(len(part) for part in self.parts)])
        if isinstance(rows, slice):
            low, high, _ = rows.indices(len(self))
            near = [
                part[max(low - start, 0) : max(high - start, 0)]
                for start, part in zip(starts.tolist(), self.parts, strict=False)
                if start < high and low < start + len(part)
            ]
            return np.concatenate(near) if near else np.empty((0, self.shape[1]), dtype=np.float32)
        found = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        owner = np.searchsorted(starts, rows, side="right") - 1
        for number in np.unique(owner).tolist():
            here = owner == number
            found[here] = self.parts[number][rows[here] - starts[number]]
        return found


@dataclass(frozen=True, slots=True)
class Chosen:
    """Some rows of a matrix, by number; nothing is copied until it is asked for.

    >>> Chosen(np.eye(3, dtype=np.float32), np.array([2, 0]))[0:1].tolist()
    [[0.0, 0.0, 1.0]]
    """

    matrix: Matrix
    numbers: Indices

    @property
    def shape(self) -> tuple[int, ...]:
        """``(rows, dimension)``."""
        return len(self.numbers), self.matrix.shape[1]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice | Indices, /) -> Vectors:
        """Rows by slice or number, as an array of shape ``(rows, dimension)``."""
        return self.matrix[self.numbers[rows]]


def blocks(matrix: Matrix, size: int) -> Iterator[tuple[int, Vectors]]:
    """The rows some at a time, each with the number of its first."""
    for low in range(0, len(matrix), size):
        yield low, matrix[low : low + size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """The distinct rows of a matrix.

    Attributes:
        rows: The first of each, in order; the matrix itself where no two rows are equal.
        first: Their numbers, ascending, shape ``(distinct,)``.
        which: For every row the number of its distinct row, shape ``(rows,)``.
    """

    rows: Matrix
    first: Indices
    which: Indices

    def expanded(
        self, scores: NDArray[np.float64], rows: Indices, k: int
    ) -> tuple[NDArray[np.float64], Indices]:
        """The ``k`` nearest among all rows from the nearest among distinct rows; ties by row number.

        Args:
            scores: Best first, shape ``(queries, min(k, distinct))``; ``rows`` the distinct rows' numbers.
            k: At most the number of rows.
        """
        if len(self.first) == len(self.which):
            return scores, rows
        members = self._members(k)
        every = members[rows].reshape(len(rows), -1)
        repeated = np.repeat(scores, k, axis=1)
        repeated[every < 0] = -np.inf
        repeated, every = ordered(repeated, every)
        return repeated[:, :k], every[:, :k]

    def _members(self, k: int) -> Indices:
        """The first ``k`` rows that equal each distinct row, shape ``(distinct, k)``, filled up with -1."""
        order = np.argsort(self.which, kind="stable")
        starts = np.searchsorted(self.which[order], np.arange(len(self.first)))
        place = np.arange(len(order)) - starts[self.which[order]]
        members = np.full((len(self.first), k), -1, dtype=np.int64)
        kept = place < k
        members[self.which[order][kept], place[kept]] = order[kept]
        return members


def distinct(matrix: Matrix) -> Distinct:
    """The distinct rows of a matrix, found by 128-bit digests; equal means equal bytes.

    Raises:
        ValueError: A number is NaN or infinite.
    """
    keys = np.empty(len(matrix), dtype="S16")
    for low, block in blocks(matrix, BLOCK_ROWS):
        if not np.isfinite(block).all():
            row = low + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise ValueError(
                f"row {row} of the vectors is NaN or infinite; only finite vectors can be searched"
            )
        keys[low : low + len(block)] = digests.of_rows(block)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    firsts = first[order].astype(np.int64)
    rows = matrix if len(firsts) == len(matrix) else Chosen(matrix, firsts)
    return Distinct(rows=rows, first=firsts, which=rank[inverse])


def ordered(scores: NDArray[np.float64], rows: Indices) -> tuple[NDArray[np.float64], Indices]:
    """Each line by falling score, then by row number."""
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
