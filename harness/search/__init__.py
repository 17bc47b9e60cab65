"""Nearest neighbours among vectors, exact or measured, and margin scoring of sentence pairs.

Knows numbers only: no sentence, no language, no metric, no torch. Plugins import from here. Each name is loaded when it
is first used: who only lists tasks searches nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.search.approximate import EXACT_ROWS, SizedSearch, inverted_search
    from harness.search.exact import Candidates, ExactSearch, RawSearch, Sweep, faiss_knn
    from harness.search.found import Found, Neighbours, Recall, Scores
    from harness.search.margins import (
        BothWays,
        Margin,
        Retrieval,
        best_threshold,
        both_ways,
        margin_scores,
    )
    from harness.search.matrix import Chosen, Indices, Matrix, Shards, Vectors, distinct

__all__ = [
    "EXACT_ROWS",
    "BothWays",
    "Candidates",
    "Chosen",
    "ExactSearch",
    "Found",
    "Indices",
    "Margin",
    "Matrix",
    "Neighbours",
    "RawSearch",
    "Recall",
    "Retrieval",
    "Scores",
    "Shards",
    "SizedSearch",
    "Sweep",
    "Vectors",
    "best_threshold",
    "both_ways",
    "distinct",
    "faiss_knn",
    "inverted_search",
    "margin_scores",
]

_HOMES = {
    name: f"harness.search.{home}"
    for home, names in (
        ("approximate", "EXACT_ROWS SizedSearch inverted_search"),
        ("exact", "Candidates ExactSearch RawSearch Sweep faiss_knn"),
        ("found", "Found Neighbours Recall Scores"),
        ("margins", "BothWays Margin Retrieval best_threshold both_ways margin_scores"),
        ("matrix", "Chosen Indices Matrix Shards Vectors distinct"),
    )
    for name in names.split()
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'harness.search' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)
