"""Nearest neighbours among vectors, exactly.

Knows matrices only: no sentence, no language, no metric, no torch. What computes in low precision is handed in as a function
(FAISS here, torch in the engine); everything that makes its answer exact and its ties settled lives here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.search.found import Found, Scores
from harness.search.matrix import BLOCK_ROWS, Chosen, Distinct, Indices, Matrix, blocks, distinct, ordered

RawSearch: TypeAlias = Callable[[Matrix, Matrix, int], tuple[NDArray[np.float32], Indices]]
Sweep: TypeAlias = Callable[[Matrix, Matrix, int, int], "tuple[Candidates, Candidates]"]

_QUERY_BLOCK = 16_384
_BASE_BLOCK = BLOCK_ROWS
_RESCORE_NUMBERS = 2_000_000
_EXHAUSTIVE_NUMBERS = 16_000_000
_SPARE = 8
_WIDEST = 1_024
# Scoring a candidate takes as long as this many scores of a product of whole matrices.
_DEAR = 100
_UNIT_ROUNDOFF = 2.0**-24


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What a sweep leaves of each line, a line being a query or, backwards, a row of the base.

    Attributes:
        rows: Rows of the other side, shape ``(lines, width)``; none (-1) only behind all others.
        proven: Whether no other row can be among the nearest, shape ``(lines,)``.
    """

    rows: Indices
    proven: NDArray[np.bool_]


def faiss_knn(queries: Matrix, base: Matrix, k: int) -> tuple[NDArray[np.float32], Indices]:
    """The ``k`` rows of ``base`` with the largest float32 inner products, block by block, by FAISS.

    Memory does not grow with either matrix. Ties are in no particular order.

    Args:
        queries: Shape ``(queries, dimension)``.
        base: Shape ``(base, dimension)``.
        k: At most the number of rows of ``base``.

    Returns:
        Scores and row numbers, each of shape ``(queries, k)``, best first.
    """
    import faiss

    scores = np.empty((len(queries), k), dtype=np.float32)
    indices = np.empty((len(queries), k), dtype=np.int64)
    for start, some in blocks(queries, _QUERY_BLOCK):
        asked = np.ascontiguousarray(some, dtype=np.float32)
        best = np.full((len(asked), 0), 0, dtype=np.float32)
        rows = np.full((len(asked), 0), 0, dtype=np.int64)
        for low, part in blocks(base, _BASE_BLOCK):
            block = np.ascontiguousarray(part, dtype=np.float32)
            found, where = faiss.knn(asked, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
            best, rows = merged(np.hstack([best, found]), np.hstack([rows, where + low]), k)
        scores[start : start + len(asked)] = best
        indices[start : start + len(asked)] = rows
    return scores, indices


def merged(scores: NDArray[np.float32], rows: Indices, k: int) -> tuple[NDArray[np.float32], Indices]:
    """The best ``k`` of each line."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactSearch:
    """The exact nearest rows by inner product, ties by the smaller row number; a :class:`Neighbours`.

    Equal vectors are searched once and expanded, so that duplicates cannot push each other out. A sweep in low precision
    says which rows may be the nearest, for both directions at once, and for which queries that is proven; where it
    is not, or there is no sweep, a float32 search gives a few candidates more than needed, wider and wider until its rounding
    error (at most ``dimension · 2⁻²⁴ · |q| · |b|``) cannot have hidden a neighbour. Either way scores are float64.

    Vectors must be finite (ValueError) and the base have a row.

    Attributes:
        sweep: ``(queries, base, k, back)`` to candidates of each query and of each row of the base.
        raw: ``(queries, base, k)`` to float32 scores and rows.
    """

    sweep: Sweep | None = None
    raw: RawSearch = faiss_knn

    def __call__(self, queries: Matrix, base: Matrix, k: int) -> Found:
        """The ``k`` nearest rows of ``base``, all of them where it has fewer."""
        ours, theirs = distinct(queries), distinct(base)
        ahead, _ = self._nearest(ours.rows, theirs.rows, min(k, len(theirs.first)), 0)
        return _everywhere(ahead, ours, theirs, min(k, len(base)))

    def both(self, sources: Matrix, targets: Matrix, k: int) -> tuple[Found, Found]:
        """The ``k`` nearest targets of each source, and the ``k`` nearest sources of each target."""
        ours, theirs = distinct(sources), distinct(targets)
        ahead, behind = self._nearest(
            ours.rows, theirs.rows, min(k, len(theirs.first)), min(k, len(ours.first))
        )
        return (
            _everywhere(ahead, ours, theirs, min(k, len(targets))),
            _everywhere(behind, theirs, ours, min(k, len(sources))),
        )

    def _nearest(
        self, queries: Matrix, base: Matrix, k: int, back: int
    ) -> tuple[tuple[Scores, Indices], tuple[Scores, Indices]]:
        """Neighbours among distinct vectors, in both directions; ``back`` 0 leaves one out."""
        if self.sweep is None or not len(queries) or not len(base):
            return _widened(queries, base, k, self.raw), _widened(base, queries, back, self.raw)
        ahead, behind = self.sweep(queries, base, k, back)
        return self._settled(queries, base, k, ahead), self._settled(base, queries, back, behind)

    def _settled(
        self, queries: Matrix, base: Matrix, k: int, candidates: Candidates
    ) -> tuple[Scores, Indices]:
        """Neighbours from what a sweep left; what it could not prove is searched again."""
        scores = np.empty((len(queries), k), dtype=np.float64)
        rows = np.empty((len(queries), k), dtype=np.int64)
        if not k:
            return scores, rows
        done, open_ = np.flatnonzero(candidates.proven), np.flatnonzero(~candidates.proven)
        if len(done):
            scores[done], rows[done] = rescored(Chosen(queries, done), base, candidates.rows[done], k)
        if len(open_):
            scores[open_], rows[open_] = _widened(Chosen(queries, open_), base, k, self.raw)
        return scores, rows


def _everywhere(near: tuple[Scores, Indices], ours: Distinct, theirs: Distinct, k: int) -> Found:
    """Neighbours of all queries among all rows, from those of distinct ones."""
    scores, rows = theirs.expanded(*near, k)
    return Found(scores=scores[ours.which], rows=rows[ours.which])


def _widened(queries: Matrix, pool: Matrix, k: int, raw: RawSearch) -> tuple[Scores, Indices]:
    """Exact neighbours among distinct vectors by a float32 search that is widened until it proves them."""
    scores = np.empty((len(queries), k), dtype=np.float64)
    rows = np.empty((len(queries), k), dtype=np.int64)
    if not k:
        return scores, rows
    longest = _norms(pool).max()
    open_, width = np.arange(len(queries)), k + _SPARE
    while len(open_):
        width = min(width, len(pool))
        if k + _SPARE < width < len(pool) and width > min(_WIDEST, len(pool) // _DEAR):
            scores[open_], rows[open_] = _exhaustive(Chosen(queries, open_), pool, k)
            break
        asked = queries if len(open_) == len(queries) else Chosen(queries, open_)
        if width == len(pool):
            scores[open_], rows[open_] = rescored(asked, pool, _all(len(asked), width), k)
            break
        coarse, found = raw(asked, pool, width)
        scores[open_], rows[open_] = rescored(asked, pool, found, k)
        largest = longest * _norms(asked)
        error = pool.shape[1] * (_UNIT_ROUNDOFF * largest + np.finfo(np.float32).tiny)
        # Sums of products too large for float32 are no numbers, or infinite, and their rows anywhere in the order.
        error[largest > np.finfo(np.float32).max / 2] = np.inf
        open_ = open_[~(scores[open_, k - 1] > coarse[:, -1] + 2 * error)]
        width *= 8
    return scores, rows


def _all(queries: int, count: int) -> Indices:
    return np.broadcast_to(np.arange(count), (queries, count))


def _norms(vectors: Matrix) -> Scores:
    every = [np.linalg.norm(block.astype(np.float64), axis=1) for _, block in blocks(vectors, _QUERY_BLOCK)]
    return np.concatenate(every) if every else np.empty(0)


def rescored(queries: Matrix, pool: Matrix, found: Indices, k: int) -> tuple[Scores, Indices]:
    """The best ``k`` of each query's candidates by float64 score, then row; both of shape ``(queries, k)``."""
    scores = np.empty((len(queries), k), dtype=np.float64)
    rows = np.empty((len(queries), k), dtype=np.int64)
    for start, block in blocks(queries, max(1, _RESCORE_NUMBERS // queries.shape[1])):
        asked, near = block.astype(np.float64), found[start : start + len(block)]
        fine = np.full(near.shape, -np.inf)
        for place in range(near.shape[1]):
            has = np.flatnonzero(near[:, place] >= 0)
            some = asked if len(has) == len(asked) else asked[has]
            fine[has, place] = np.einsum("qd,qd->q", some, pool[near[has, place]].astype(np.float64))
        best, where = ordered(fine, near)
        scores[start : start + len(block)], rows[start : start + len(block)] = best[:, :k], where[:, :k]
    return scores, rows


def _exhaustive(queries: Matrix, pool: Matrix, k: int) -> tuple[Scores, Indices]:
    """Exact neighbours where so many vectors are nearly equal that candidates cannot be told apart in float32.

    Products of whole matrices in float64 leave the rows that their rounding may have put behind; these few get the scores that
    they get elsewhere.
    """
    scores = np.empty((len(queries), k), dtype=np.float64)
    rows = np.empty((len(queries), k), dtype=np.int64)
    longest = _norms(pool).max()
    for start, block in blocks(queries, max(1, _EXHAUSTIVE_NUMBERS // len(pool))):
        asked = block.astype(np.float64)
        every = np.hstack([asked @ part.astype(np.float64).T for _, part in blocks(pool, _BASE_BLOCK)])
        error = pool.shape[1] * (2.0**-53 * longest * _norms(block) + np.finfo(np.float64).tiny)
        least = np.partition(every, -k, axis=1)[:, -k] - 2 * error
        line, row = np.nonzero(every >= least[:, None])
        fine = _products(asked, line, pool, row)
        order = np.lexsort((row, -fine, line))
        best = order[np.searchsorted(line, np.arange(len(block)))[:, None] + np.arange(k)]
        scores[start : start + len(block)], rows[start : start + len(block)] = fine[best], row[best]
    return scores, rows


def _products(asked: Scores, line: Indices, pool: Matrix, row: Indices) -> Scores:
    """The float64 score of each pair of a query and a row, shape ``(pairs,)``."""
    step = max(1, _RESCORE_NUMBERS // asked.shape[1])
    some = (slice(low, low + step) for low in range(0, len(line), step))
    found = [np.einsum("qd,qd->q", asked[line[at]], pool[row[at]].astype(np.float64)) for at in some]
    return np.concatenate(found)
