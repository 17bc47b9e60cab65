"""Nearest neighbours among vectors, exactly, and margin scoring of sentence pairs.

Knows matrices only: no sentence, no language, no metric. The raw float32 search is handed in as a function (FAISS here,
a CUDA one in the engine); everything that makes its answer exact and its ties settled lives here.

Sources: Artetxe & Schwenk 2019 (arXiv 1811.01136) for margin scores and retrieval directions; LASER's
``mine_bitexts.py`` and XTREME's ``utils_retrieve.py`` for their names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness import digests

Margin: TypeAlias = Literal["absolute", "ratio", "distance"]
Retrieval: TypeAlias = Literal["fwd", "bwd", "intersect", "max"]
Vectors: TypeAlias = NDArray[np.float32]
Scores: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.int64]
RawSearch: TypeAlias = Callable[[Vectors, Vectors, int], tuple[NDArray[np.float32], Indices]]
Search: TypeAlias = Callable[[Vectors, Vectors, int], tuple[Scores, Indices]]

_QUERY_BLOCK = 16_384
_BASE_BLOCK = 65_536
_RESCORE_NUMBERS = 16_000_000
_SPARE = 8
_WIDEST = 1_024
_UNIT_ROUNDOFF = 2.0**-24


def faiss_knn(queries: Vectors, base: Vectors, k: int) -> tuple[NDArray[np.float32], Indices]:
    """The ``k`` rows of ``base`` with the largest float32 inner products, block by block, by FAISS.

    Memory does not grow with either matrix (both may be memory-mapped). Ties are in no particular order.

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
    for start in range(0, len(queries), _QUERY_BLOCK):
        asked = np.ascontiguousarray(queries[start : start + _QUERY_BLOCK], dtype=np.float32)
        best = np.full((len(asked), 0), 0, dtype=np.float32)
        rows = np.full((len(asked), 0), 0, dtype=np.int64)
        for low in range(0, len(base), _BASE_BLOCK):
            block = np.ascontiguousarray(base[low : low + _BASE_BLOCK], dtype=np.float32)
            found, where = faiss.knn(asked, block, min(k, len(block)), metric=faiss.METRIC_INNER_PRODUCT)
            best, rows = _merged(np.hstack([best, found]), np.hstack([rows, where + low]), k)
        scores[start : start + len(asked)] = best
        indices[start : start + len(asked)] = rows
    return scores, indices


def _merged(scores: NDArray[np.float32], rows: Indices, k: int) -> tuple[NDArray[np.float32], Indices]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def neighbours(queries: Vectors, base: Vectors, k: int, raw: RawSearch = faiss_knn) -> tuple[Scores, Indices]:
    """The exact ``k`` nearest rows by inner product, ties by the smaller row number.

    Equal vectors are searched once and expanded, so that duplicates cannot push each other out. The float32 search
    gives a few candidates more than needed, which are rescored in float64; a query is searched again, wider, until the
    rounding error of float32 (at most ``dimension · 2⁻²⁴ · |q| · |b|``) cannot have hidden a neighbour.

    Args:
        queries: Shape ``(queries, dimension)``, finite.
        base: Shape ``(base, dimension)``, finite, at least one row.
        k: Capped at the number of rows of ``base``.
        raw: The float32 search.

    Returns:
        Scores and row numbers, each of shape ``(queries, min(k, base))``, best first.
    """
    k = min(k, len(base))
    first, which = distinct_rows(base)
    asked, back = distinct_rows(queries)
    pool = base if len(first) == len(base) else base[first]
    mine = queries if len(asked) == len(queries) else queries[asked]
    scores, rows = _exact(mine, pool, min(k, len(first)), raw)
    if len(first) < len(base):
        scores, rows = _expanded(scores, rows, _members(which, len(first), k), k)
    return scores[back], rows[back]


def distinct_rows(vectors: Vectors) -> tuple[Indices, Indices]:
    """The first row of each distinct vector, ascending, and for every row the number of its distinct vector."""
    _, first, inverse = np.unique(digests.of_rows(vectors), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return first[order].astype(np.int64), rank[inverse]


def _exact(queries: Vectors, pool: Vectors, k: int, raw: RawSearch) -> tuple[Scores, Indices]:
    """Exact neighbours among distinct vectors."""
    scores = np.empty((len(queries), k), dtype=np.float64)
    rows = np.empty((len(queries), k), dtype=np.int64)
    longest = _largest_norm(pool)
    open_, width = np.arange(len(queries)), k + _SPARE
    while len(open_):
        width = min(width, len(pool))
        if width > _WIDEST and width < len(pool):
            scores[open_], rows[open_] = _exhaustive(queries[open_], pool, k)
            break
        asked = queries if len(open_) == len(queries) else queries[open_]
        coarse, found = raw(asked, pool, width)
        fine, found = _rescored(asked, pool, found)
        scores[open_], rows[open_] = fine[:, :k], found[:, :k]
        if width == len(pool):
            break
        lengths = np.linalg.norm(asked.astype(np.float64), axis=1)
        error = pool.shape[1] * (_UNIT_ROUNDOFF * longest * lengths + np.finfo(np.float32).tiny)
        open_ = open_[fine[:, k - 1] <= coarse[:, -1] + 2 * error]
        width *= 8
    return scores, rows


def _largest_norm(vectors: Vectors) -> float:
    blocks = range(0, len(vectors), _BASE_BLOCK)
    return max(
        float(np.linalg.norm(vectors[low : low + _BASE_BLOCK].astype(np.float64), axis=1).max())
        for low in blocks
    )


def _rescored(queries: Vectors, pool: Vectors, found: Indices) -> tuple[Scores, Indices]:
    """Candidates with float64 scores, ordered by score, then row."""
    scores = np.empty(found.shape, dtype=np.float64)
    size = max(1, _RESCORE_NUMBERS // (found.shape[1] * queries.shape[1]))
    for start in range(0, len(queries), size):
        block = slice(start, start + size)
        near = pool[found[block]].astype(np.float64)
        scores[block] = np.einsum("qd,qkd->qk", queries[block].astype(np.float64), near)
    return _ordered(scores, found)


def _exhaustive(queries: Vectors, pool: Vectors, k: int) -> tuple[Scores, Indices]:
    """Exact neighbours where so many vectors are nearly equal that candidates cannot be told apart in float32."""
    scores = np.empty((len(queries), k), dtype=np.float64)
    rows = np.empty((len(queries), k), dtype=np.int64)
    size = max(1, _RESCORE_NUMBERS // len(pool))
    for start in range(0, len(queries), size):
        asked = queries[start : start + size].astype(np.float64)
        lows = range(0, len(pool), _BASE_BLOCK)
        every = np.hstack([asked @ pool[low : low + _BASE_BLOCK].astype(np.float64).T for low in lows])
        for number, row in enumerate(every, start=start):
            edge = np.partition(row, len(row) - k)[len(row) - k]
            near = np.flatnonzero(row >= edge)
            order = np.lexsort((near, -row[near]))[:k]
            scores[number], rows[number] = row[near[order]], near[order]
    return scores, rows


def _ordered(scores: Scores, rows: Indices) -> tuple[Scores, Indices]:
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _members(which: Indices, distinct: int, k: int) -> Indices:
    """The first ``k`` rows of each distinct vector, shape ``(distinct, k)``, filled up with -1."""
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(distinct))
    place = np.arange(len(which)) - starts[which[order]]
    members = np.full((distinct, k), -1, dtype=np.int64)
    kept = place < k
    members[which[order][kept], place[kept]] = order[kept]
    return members


def _expanded(scores: Scores, rows: Indices, members: Indices, k: int) -> tuple[Scores, Indices]:
    """Neighbours among all rows from neighbours among distinct vectors."""
    every = members[rows].reshape(len(rows), -1)
    repeated = np.repeat(scores, members.shape[1], axis=1)
    repeated[every < 0] = -np.inf
    repeated, every = _ordered(repeated, every)
    return repeated[:, :k], every[:, :k]


@dataclass(frozen=True, slots=True, kw_only=True)
class BothWays:
    """Neighbours from sources to targets and back; the input of margin scoring.

    Attributes:
        forward: Cosines of each source's nearest targets, shape ``(sources, k)``; ``forward_rows`` which they are.
        backward: Cosines of each target's nearest sources, shape ``(targets, k)``; ``backward_rows`` likewise.
    """

    forward: Scores
    forward_rows: Indices
    backward: Scores
    backward_rows: Indices

    def best_forward(self, margin: Margin) -> tuple[Indices, Scores]:
        """For each source the neighbour with the best margin score, and that score. Each of shape ``(sources,)``."""
        return _best(
            self.forward, self.forward_rows, self.forward.mean(axis=1), self.backward.mean(axis=1), margin
        )

    def best_backward(self, margin: Margin) -> tuple[Indices, Scores]:
        """For each target the neighbour with the best margin score, and that score. Each of shape ``(targets,)``."""
        return _best(
            self.backward, self.backward_rows, self.backward.mean(axis=1), self.forward.mean(axis=1), margin
        )

    def candidates(self, margin: Margin, retrieval: Retrieval) -> tuple[Indices, Indices, Scores]:
        """Candidate pairs, best first: sources, targets, scores, each of shape ``(pairs,)``.

        ``fwd`` takes the best target of each source, ``bwd`` the best source of each target, ``intersect`` the pairs in
        both, ``max`` the pairs in either, greedily from the best score so that no sentence occurs twice.
        """
        target, ahead = self.best_forward(margin)
        source, behind = self.best_backward(margin)
        fwd = (np.arange(len(target)), target, ahead)
        bwd = (source, np.arange(len(source)), behind)
        if retrieval == "fwd":
            pairs = fwd
        elif retrieval == "bwd":
            pairs = bwd
        elif retrieval == "intersect":
            mutual = source[target] == np.arange(len(target))
            pairs = (fwd[0][mutual], fwd[1][mutual], fwd[2][mutual])
        else:
            pairs = (
                np.concatenate([fwd[0], bwd[0]]),
                np.concatenate([fwd[1], bwd[1]]),
                np.concatenate([ahead, behind]),
            )
        sources, targets, scores = pairs
        order = np.lexsort((targets, sources, -scores))
        if retrieval == "max":
            order = order[_one_to_one(sources[order], targets[order])]
        return sources[order], targets[order], scores[order]


def both_ways(sources: Vectors, targets: Vectors, k: int, search: Search = neighbours) -> BothWays:
    """The ``k`` nearest neighbours in both directions (see :class:`BothWays`)."""
    forward, forward_rows = search(sources, targets, k)
    backward, backward_rows = search(targets, sources, k)
    return BothWays(
        forward=forward, forward_rows=forward_rows, backward=backward, backward_rows=backward_rows
    )


def _best(
    cosines: Scores, rows: Indices, mine: Scores, theirs: Scores, margin: Margin
) -> tuple[Indices, Scores]:
    scores = margin_scores(cosines, (mine[:, None] + theirs[rows]) / 2, margin)
    order = np.lexsort((rows, -scores), axis=1)[:, :1]
    return np.take_along_axis(rows, order, axis=1)[:, 0], np.take_along_axis(scores, order, axis=1)[:, 0]


def margin_scores(cosines: Scores, background: Scores, margin: Margin) -> Scores:
    """Cosines set against the mean cosine of both sides' neighbourhoods.

    >>> cosines, background = np.array([0.9]), np.array([0.6])
    >>> [round(float(margin_scores(cosines, background, kind)[0]), 3) for kind in ("absolute", "ratio", "distance")]
    [0.9, 1.5, 0.3]
    """
    if margin == "ratio":
        return np.divide(cosines, background, out=np.zeros_like(cosines), where=background != 0)
    return cosines - background if margin == "distance" else cosines


def _one_to_one(sources: Indices, targets: Indices) -> Indices:
    """Positions that a greedy pass over pairs, best first, keeps when each source and target is used once.

    In each round every pair that comes first among the remaining ones for its source and for its target is taken, and
    what shares a side with it leaves: the same choice as one pair at a time.
    """
    left = np.arange(len(sources))
    kept = []
    while len(left):
        first_source = np.zeros(len(left), dtype=np.bool_)
        first_source[np.unique(sources[left], return_index=True)[1]] = True
        first_target = np.zeros(len(left), dtype=np.bool_)
        first_target[np.unique(targets[left], return_index=True)[1]] = True
        taken = left[first_source & first_target]
        kept.append(taken)
        used = np.isin(sources[left], sources[taken]) | np.isin(targets[left], targets[taken])
        left = left[~used]
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, dtype=np.int64)


def best_threshold(scores: Scores, right: NDArray[np.bool_], gold: int) -> float:
    """The score from which candidates must be accepted so that F1 is largest.

    Lies half-way between the last accepted candidate and the next one (at the last candidate where there is none
    after it); of equal F1 the highest threshold. Candidates of one score are accepted together. Where no candidate is
    right it lies just above the best one, or is 0 without candidates.

    Args:
        scores: Shape ``(candidates,)``.
        right: Whether each candidate is a gold pair.
        gold: Number of gold pairs.
    """
    if not len(scores):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    found = np.cumsum(right[order])
    f1 = 2 * found / (np.arange(1, len(ranked) + 1) + gold)
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0
    best = int(np.argmax(f1))
    if f1[best] <= 0:
        return float(np.nextafter(ranked[0], np.inf))
    after = ranked[best + 1] if best + 1 < len(ranked) else ranked[best]
    middle = (ranked[best] + after) / 2
    return float(middle if middle > after else ranked[best])
