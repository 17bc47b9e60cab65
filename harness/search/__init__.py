"""Nearest neighbours among vectors, exact or measured, and margin scoring of sentence pairs.

Knows numbers only: no sentence, no language, no metric, no torch. Plugins import from here.
"""

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
