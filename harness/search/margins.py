"""Margin scores of sentence pairs from their neighbourhoods, the choice of pairs, and the threshold from which they count.

Knows neighbours only, as numbers: no vector and no sentence.

Sources: Artetxe & Schwenk 2019 (arXiv 1811.01136) for margin scores and retrieval directions; LASER's
``mine_bitexts.py`` and XTREME's ``utils_retrieve.py`` for their names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.search.exact import ExactSearch
from harness.search.found import Neighbours, Recall, Scores
from harness.search.matrix import Indices, Matrix

Margin: TypeAlias = Literal["absolute", "ratio", "distance"]
Retrieval: TypeAlias = Literal["fwd", "bwd", "intersect", "max"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BothWays:
    """Neighbours from sources to targets and back; the input of margin scoring.

    Attributes:
        forward: Cosines of each source's nearest targets, shape ``(sources, k)``; ``forward_rows`` which they are.
        backward: Cosines of each target's nearest sources, shape ``(targets, k)``; ``backward_rows`` likewise.
        recall: How many of the nearest were found, the worse of the two directions; None where all were.
    """

    forward: Scores
    forward_rows: Indices
    backward: Scores
    backward_rows: Indices
    recall: Recall | None = None

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


def both_ways(sources: Matrix, targets: Matrix, k: int, search: Neighbours | None = None) -> BothWays:
    """The ``k`` nearest neighbours in both directions (see :class:`BothWays`), exactly unless a search is given."""
    forward, backward = (ExactSearch() if search is None else search).both(sources, targets, k)
    measured = [found.recall for found in (forward, backward) if found.recall is not None]
    return BothWays(
        forward=forward.scores,
        forward_rows=forward.rows,
        backward=backward.scores,
        backward_rows=backward.rows,
        recall=min(measured, key=lambda recall: recall.share) if measured else None,
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
    left, kept = np.arange(len(sources)), []
    while len(left):
        here = (sources[left], targets[left])
        taken = _first(here[0]) & _first(here[1])
        kept.append(left[taken])
        gone = np.zeros(len(left), dtype=np.bool_)
        for side in here:
            used = np.zeros(side.max() + 1, dtype=np.bool_)
            used[side[taken]] = True
            gone |= used[side]
        left = left[~gone]
    return np.sort(np.concatenate(kept)) if kept else np.empty(0, dtype=np.int64)


def _first(numbers: Indices) -> NDArray[np.bool_]:
    """Where each number occurs for the first time. Of equal places NumPy assigns the last, hence backwards."""
    places = np.arange(len(numbers))
    first = np.empty(numbers.max() + 1, dtype=np.int64)
    first[numbers[::-1]] = places[::-1]
    found: NDArray[np.bool_] = first[numbers] == places
    return found


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
