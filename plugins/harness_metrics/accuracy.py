"""Accuracy. Knows answers as values that are equal or not; knows no task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from harness import Json, Metric, Parts, hookimpl


def correct(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """Whether each prediction equals its gold answer, shape ``(items,)``.

    >>> correct(["a", "b"], ["a", "c"])["correct"].tolist()
    [1.0, 0.0]
    """
    hits = [answer == prediction for answer, prediction in zip(gold, predictions, strict=True)]
    return {"correct": np.array(hits, dtype=np.float64)}


ACCURACY = Metric(
    name="accuracy",
    signature="accuracy|exact|v1",
    parts=correct,
    combine=lambda means: means["correct"],
    doc="Share of items whose prediction equals the gold answer, in percent. "
    "Paper: Hu et al. 2020 (XTREME, arXiv 2003.11080). Official scorer: accuracy in google-research/xtreme evaluate.py.",
)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """Accuracy."""
    return (ACCURACY,)
