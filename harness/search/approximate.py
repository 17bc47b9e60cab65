"""Nearest neighbours among more rows than exact search is worth: an inverted file on disk, its recall measured each time.

Knows matrices only. Rows lie in a scratch file, list by list, where a list is what lies nearest to one centroid. All queries of
a block that look into a list do so at once, so that its rows are read once and compared as one product. In memory are the
centroids, one list, one block of queries, and 16 bytes for each row.

Source: Jégou, Douze and Schmid 2011 (IEEE TPAMI 33(1), 117-128) for the inverted file, here with whole vectors; centroids by
FAISS, whose own lists on disk are searched query by query.
"""

from __future__ import annotations

import itertools
import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from harness.errors import UnwrittenError
from harness.search.exact import ExactSearch, faiss_knn, merged, rescored
from harness.search.found import Found, Neighbours, Recall
from harness.search.matrix import Chosen, Indices, Matrix, Vectors, blocks, on_disk

EXACT_ROWS = 5_000_000
_BLOCK = 16_384
_TRAIN_PER_LIST = 64
_TRAIN_PASSES = 10
_MEASURED = 500
_ENOUGH = 0.99
_SPARE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedSearch:
    """Exact search up to a number of rows, an inverted file above it; a :class:`Neighbours`.

    Of an inverted file some lists are searched for each query: as many as it takes for 99 % of the nearest on one sample of
    queries. What was then found on another sample, which chose nothing, is the recall that is reported.

    Attributes:
        exact: The exact search.
        exact_rows: The largest base that is searched exactly.
        scratch: Folder for the inverted file, None for the system's; it needs room for the base.
    """

    exact: ExactSearch = field(default_factory=ExactSearch)
    exact_rows: int = EXACT_ROWS
    scratch: Path | None = None

    def __call__(self, queries: Matrix, base: Matrix, k: int) -> Found:
        """The ``k`` nearest rows of ``base``; ``recall`` says of which way."""
        if len(base) <= self.exact_rows:
            return self.exact(queries, base, k)
        return inverted_search(queries, base, k, exact=self.exact, scratch=self.scratch)

    def both(self, sources: Matrix, targets: Matrix, k: int) -> tuple[Found, Found]:
        """Both directions, each in its own way."""
        if max(len(sources), len(targets)) <= self.exact_rows:
            return self.exact.both(sources, targets, k)
        return self(sources, targets, k), self(targets, sources, k)


def inverted_search(
    queries: Matrix, base: Matrix, k: int, *, exact: Neighbours, scratch: Path | None = None
) -> Found:
    """The ``k`` nearest rows that an inverted file finds, with float64 scores and measured recall.

    There are ``√rows`` lists. A query for which fewer than ``k`` rows were looked at is searched exactly.

    Args:
        queries: Shape ``(queries, dimension)``, finite.
        base: Shape ``(base, dimension)``, finite, at least ``k`` rows.
        k: Neighbours.
        exact: What the recall is measured against.
        scratch: Folder of the scratch file.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="inverted-") as folder:
        lists = _inverted(base, Path(folder) / "rows")
        order = np.random.default_rng(0).permutation(len(queries))[: 2 * _MEASURED]
        chosen = Chosen(queries, np.sort(order[::2]))
        measured = Chosen(queries, np.sort(order[1::2])) if len(order) > 1 else chosen
        probes = _enough_probes(lists, chosen, exact(chosen, base, k))
        truth = exact(measured, base, k)
        share = _share(lists.searched(measured, k, probes), truth)
        found = lists.searched(queries, k, probes)
    short = np.flatnonzero((found.rows < 0).any(axis=1))
    if len(short):
        again = exact(Chosen(queries, short), base, k)
        found.scores[short], found.rows[short] = again.scores, again.rows
    recall = Recall(share=share, k=k, queries=len(measured))
    return Found(scores=found.scores, rows=found.rows, recall=recall)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inverted:
    """Rows by list.

    Attributes:
        base: The rows in their own order; ``rows`` the same list by list, on disk.
        centroids: Shape ``(lists, dimension)``.
        numbers: The row of ``base`` that each of ``rows`` is; list ``n`` is from ``starts[n]`` to ``starts[n + 1]``.
    """

    base: Matrix
    rows: Vectors
    centroids: Vectors
    numbers: Indices
    starts: Indices

    def searched(self, queries: Matrix, k: int, probes: int) -> Found:
        """The best ``k`` rows of the nearest lists; -1, with a score of minus infinity, where these have fewer."""
        scores = np.empty((len(queries), k), dtype=np.float64)
        rows = np.empty((len(queries), k), dtype=np.int64)
        for low, block in blocks(queries, _BLOCK):
            here = slice(low, low + len(block))
            scores[here], rows[here] = rescored(block, self.base, self._near(block, k + _SPARE, probes), k)
        return Found(scores=scores, rows=rows)

    def _near(self, queries: Vectors, width: int, probes: int) -> Indices:
        """Candidates by float32 score, shape ``(queries, width)``."""
        _, lists = faiss_knn(queries, self.centroids, probes)
        asking = np.argsort(lists, axis=None, kind="stable")
        borders = np.searchsorted(lists.ravel()[asking], np.arange(len(self.centroids) + 1))
        best = np.full((len(queries), width), -np.inf, dtype=np.float32)
        near = np.full((len(queries), width), -1, dtype=np.int64)
        for number, (low, high) in enumerate(itertools.pairwise(borders.tolist())):
            start, end = self.starts[number : number + 2].tolist()
            if low == high or start == end:
                continue
            asked = asking[low:high] // probes
            found, place = faiss_knn(queries[asked], self.rows[start:end], min(width, end - start))
            best[asked], near[asked] = merged(
                np.hstack([best[asked], found]), np.hstack([near[asked], self.numbers[start + place]]), width
            )
        return near


def _inverted(base: Matrix, path: Path) -> _Inverted:
    """Centroids learned from a sample, and all rows sorted by the nearest of them into a file."""
    import faiss

    dimension, count = base.shape[1], math.isqrt(len(base))
    taught = np.sort(np.random.default_rng(0).permutation(len(base))[: _TRAIN_PER_LIST * count])
    learner = faiss.Kmeans(
        dimension, count, niter=_TRAIN_PASSES, spherical=True, seed=0, max_points_per_centroid=_TRAIN_PER_LIST
    )
    learner.train(np.ascontiguousarray(base[taught]))
    centroids = np.asarray(learner.centroids, dtype=np.float32).reshape(count, dimension)
    lists = faiss_knn(base, centroids, 1)[1][:, 0]
    numbers = np.argsort(lists, kind="stable")
    place = np.empty(len(numbers), dtype=np.int64)
    place[numbers] = np.arange(len(numbers))
    try:
        with path.open("w+b") as stream:
            rows = on_disk(stream, (len(base), dimension))
    except OSError as error:
        raise UnwrittenError(
            f"{path}: no room for {len(base) * dimension * 4 / 1e9:.1f} GB of vectors ({error.strerror}); set TMPDIR to a "
            "folder that has it"
        ) from error
    for low, block in blocks(base, _BLOCK):
        rows[place[low : low + len(block)]] = block
    starts = np.searchsorted(lists[numbers], np.arange(count + 1))
    return _Inverted(base=base, rows=rows, centroids=centroids, numbers=numbers, starts=starts)


def _enough_probes(lists: _Inverted, queries: Matrix, truth: Found) -> int:
    """Lists that a query looks into until the recall is enough, at most all."""
    probes, every = 8, len(lists.centroids)
    while probes < every:
        if _share(lists.searched(queries, truth.rows.shape[1], probes), truth) >= _ENOUGH:
            return probes
        probes *= 2
    return every


def _share(found: Found, truth: Found) -> float:
    """Of the true neighbours' scores, how many were reached: equally near rows are as good."""
    return float(np.mean(found.scores >= truth.scores[:, -1:]))
