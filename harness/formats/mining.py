"""Which pairs between two pools are translations: candidates by margin score, and the threshold from which they count.

What is done and why stands at :class:`harness.formats.retrieval.Mining`, which says how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness import search
from harness.arrays import NDArray, np
from harness.formats.base import Json, Predictions
from harness.formats.pools import Pool, distinct
from harness.formats.retrieval import Mining, Side
from harness.search import Neighbours

_HALVED = "threshold tuned on half of this split's gold, scored on the other half"


def run(
    way: Mining, pools: Mapping[Side, Pool], tuning: Mapping[Side, Pool] | None, neighbours: Neighbours
) -> Predictions:
    """Predictions of one view, see :class:`harness.formats.retrieval.Mining`."""
    items, recall = _mined(way, pools, neighbours)
    caveats: tuple[str, ...] = (recall.caveat,) if recall is not None else ()
    if tuning is None:
        held = [item for item in items if _half(item.id) == 0]
        items = [item for item in items if _half(item.id) == 1]
        rule, caveats = "half:sha256", (_HALVED, *caveats)
    else:
        held, _ = _mined(way, tuning, neighbours)
        rule = "tuning split"
    threshold = search.best_threshold(*_curve(held))
    return Predictions(
        view=way.view,
        ids=[item.id for item in items],
        gold=[list(item.gold) for item in items],
        values=[item.value(threshold) for item in items],
        facts={
            "threshold": threshold,
            "tuned_on": rule,
            "tuning_gold_pairs": sum(len(item.gold) for item in held),
            **(recall.facts if recall is not None else {}),
        },
        caveats=caveats,
    )


def _mined(
    way: Mining, pools: Mapping[Side, Pool], neighbours: Neighbours
) -> tuple[list[_Mined], search.Recall | None]:
    other, english = distinct(pools["xx"]), distinct(pools["en"])
    both = search.both_ways(other.vectors, english.vectors, way.k, neighbours)
    sources, targets, scores = both.candidates(way.margin, way.retrieval)
    found: dict[int, list[tuple[str, float]]] = {}
    for source, target, score in zip(sources.tolist(), targets.tolist(), scores.tolist(), strict=True):
        found.setdefault(source, []).append((english.ids[target], score))
    mined = [
        _Mined(
            id=identity,
            gold=tuple(sorted({english.first[key] for key in other.gold[index] if key in english.first})),
            candidates=tuple(found.get(index, ())),
        )
        for index, identity in enumerate(other.ids)
    ]
    return mined, both.recall


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mined:
    """A distinct sentence of the other language with its gold answers and its candidates, ``(target, score)``."""

    id: str
    gold: tuple[str, ...]
    candidates: tuple[tuple[str, float], ...]

    def value(self, threshold: float) -> Json:
        return [
            {"target": target, "score": score, "accepted": score >= threshold}
            for target, score in self.candidates
        ]


def _half(identity: str) -> int:
    return hashlib.sha256(identity.encode("utf-8")).digest()[0] >> 7


def _curve(items: Sequence[_Mined]) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Scores of the candidates, whether each is right, and the number of gold pairs."""
    pairs = [(score, target in item.gold) for item in items for target, score in item.candidates]
    scores = np.array([score for score, _ in pairs], dtype=np.float64)
    right = np.array([hit for _, hit in pairs], dtype=np.bool_)
    return scores, right, sum(len(item.gold) for item in items)
