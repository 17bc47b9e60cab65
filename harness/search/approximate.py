"""Nearest neighbours among more rows than exact search is worth: an inverted file on disk, its recall measured each time.

Knows matrices only. Memory is that of the centroids and of blocks of queries; the rows lie in a scratch file, by centroid.

Source: Jégou, Douze and Schmid 2011 (IEEE TPAMI 33(1), 117-128) for the inverted file, here with whole vectors; FAISS.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.search.exact import ExactSearch, rescored
from harness.search.found import Found, Neighbours, Recall
from harness.search.matrix import Chosen, Matrix, blocks

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
        index = _index(base, Path(folder) / "lists")
        order = np.random.default_rng(0).permutation(len(queries))[: 2 * _MEASURED]
        chosen = Chosen(queries, np.sort(order[::2]))
        measured = Chosen(queries, np.sort(order[1::2])) if len(order) > 1 else chosen
        _widen(index, chosen, exact(chosen, base, k), base)
        truth = exact(measured, base, k)
        recall = Recall(share=_share(_searched(index, measured, base, k), truth), k=k, queries=len(measured))
        found = _searched(index, queries, base, k)
    short = np.flatnonzero((found.rows < 0).any(axis=1))
    if len(short):
        again = exact(Chosen(queries, short), base, k)
        found.scores[short], found.rows[short] = again.scores, again.rows
    return Found(scores=found.scores, rows=found.rows, recall=recall)


def _index(base: Matrix, path: Path) -> Any:
    """An inverted file of all rows, its lists on disk."""
    import faiss

    dimension, lists = base.shape[1], math.isqrt(len(base))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid = _TRAIN_PASSES, _TRAIN_PER_LIST
    taught = np.sort(np.random.default_rng(0).permutation(len(base))[: _TRAIN_PER_LIST * lists])
    index.train(np.ascontiguousarray(base[taught]))
    stored: Any = faiss.OnDiskInvertedLists(lists, index.code_size, str(path))
    index.replace_invlists(stored, True)
    stored.this.disown()
    for _, block in blocks(base, _BLOCK):
        index.add(np.ascontiguousarray(block))
    return index


def _widen(index: Any, queries: Matrix, truth: Found, base: Matrix) -> None:
    """Let a query look into as many lists as recall demands."""
    index.nprobe = min(8, index.nlist)
    while index.nprobe < index.nlist:
        if _share(_searched(index, queries, base, truth.rows.shape[1]), truth) >= _ENOUGH:
            return
        index.nprobe = min(2 * index.nprobe, index.nlist)


def _searched(index: Any, queries: Matrix, base: Matrix, k: int) -> Found:
    scores = np.empty((len(queries), k), dtype=np.float64)
    rows = np.empty((len(queries), k), dtype=np.int64)
    for low, block in blocks(queries, _BLOCK):
        _, near = index.search(np.ascontiguousarray(block), min(k + _SPARE, len(base)))
        here = slice(low, low + len(block))
        scores[here], rows[here] = rescored(block, base, near, k)
    return Found(scores=scores, rows=rows)


def _share(found: Found, truth: Found) -> float:
    """Of the true neighbours' scores, how many were reached: equally near rows are as good."""
    return float(np.mean(found.scores >= truth.scores[:, -1:]))
