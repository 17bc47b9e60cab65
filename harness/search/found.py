"""What a search gives, and what searching is to those who ask for it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.search.matrix import Indices, Matrix

Scores: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """How good an approximate search was, measured against exact search.

    >>> Recall(share=0.9934, k=4, queries=500).caveat
    'neighbours are approximate: recall@4 is 0.9934 on 500 queries'

    Attributes:
        share: Of the ``k`` nearest rows that were found, 0 to 1; a row as near as the ``k``-th counts as it.
        k: Neighbours of each query.
        queries: Number of queries on which it was measured.
    """

    share: float
    k: int
    queries: int

    @property
    def facts(self) -> Mapping[str, Any]:
        """As facts of a record."""
        return {"approximate": True, f"recall@{self.k}": self.share, "recall_queries": self.queries}

    @property
    def caveat(self) -> str:
        """As a caveat of a record: it is not the number that exact search gives."""
        return f"neighbours are approximate: recall@{self.k} is {self.share:.4f} on {self.queries} queries"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The nearest rows of each query, best first, ties by the smaller row number.

    Attributes:
        scores: Inner products in float64, shape ``(queries, min(k, base))``; ``rows`` which they are.
        recall: How many of the nearest were found, None where all were.
    """

    scores: Scores
    rows: Indices
    recall: Recall | None = None


class Neighbours(Protocol):
    """A search for the nearest rows by inner product."""

    def __call__(self, queries: Matrix, base: Matrix, k: int) -> Found:
        """The ``k`` nearest rows of ``base`` of each query."""
        ...

    def both(self, sources: Matrix, targets: Matrix, k: int) -> tuple[Found, Found]:
        """The ``k`` nearest targets of each source, and the ``k`` nearest sources of each target."""
        ...
