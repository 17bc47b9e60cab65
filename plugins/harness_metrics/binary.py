"""F1 of one class of two. Knows answers as texts, of which ``1`` is the positive one; knows no task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness import Json, Metric, Parts, hookimpl
from harness.arrays import np
from harness_metrics.counts import f1

POSITIVE = "1"


def positives(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """``hits``, ``predicted`` and ``gold`` of the positive class, 0 or 1 per item, each of shape ``(items,)``.

    >>> parts = positives(["1", "0", "1"], ["1", "1", "0"])
    >>> {name: part.tolist() for name, part in parts.items()}
    {'hits': [1.0, 0.0, 0.0], 'predicted': [1.0, 1.0, 0.0], 'gold': [1.0, 0.0, 1.0]}
    """
    true, said = (
        np.array([str(answer) == POSITIVE for answer in answers], dtype=np.float64)
        for answers in (gold, predictions)
    )
    return {"hits": true * said, "predicted": said, "gold": true}


F1_BINARY = Metric(
    name="f1_binary",
    signature="f1_binary|positive-1|v1",
    parts=positives,
    combine=f1,
    doc="F1 of the class '1' (for pairs of questions: duplicates), in percent; 0 where it is neither gold nor predicted. "
    "Paper: Wang et al. 2019 (GLUE, arXiv 1804.07461) for its use on QQP. "
    "Official scorer: f1_score(pos_label=1, zero_division=0) in scikit-learn.",
    itemwise=True,
)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """F1 of the positive class."""
    return (F1_BINARY,)
