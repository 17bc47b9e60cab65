"""Metrics of sentence retrieval in aligned bitexts. Knows ids of sentences; knows no vectors and no task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from harness import Json, Metric, Parts, hookimpl
from harness.arrays import np


def f1_of_gold_label(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """For each item the F1 of its gold answer as a class, shape ``(items,)``.

    Their mean is F1 averaged over classes by support, as scikit-learn's ``f1_score(average="weighted")`` computes it.

    >>> f1_of_gold_label(["a", "b"], ["a", "a"])["f1"].round(3).tolist()
    [0.667, 0.0]
    """
    support = Counter(gold)
    predicted = Counter(predictions)
    hits = Counter(
        answer for answer, prediction in zip(gold, predictions, strict=True) if answer == prediction
    )
    f1 = {answer: 2 * hits[answer] / (support[answer] + predicted[answer]) for answer in support}
    return {"f1": np.array([f1[answer] for answer in gold], dtype=np.float64)}


def wrong(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """Whether each prediction differs from its gold answer, shape ``(items,)``."""
    misses = [answer != prediction for answer, prediction in zip(gold, predictions, strict=True)]
    return {"wrong": np.array(misses, dtype=np.float64)}


WEIGHTED_F1 = Metric(
    name="weighted_f1",
    signature="weighted_f1|sklearn|v1",
    parts=f1_of_gold_label,
    combine=lambda means: means["f1"],
    doc="F1 of each sentence as a class, averaged by support, in percent: MTEB's main score for bitext mining. "
    "Paper: Muennighoff et al. 2023 (MTEB, arXiv 2210.07316). Official scorer: mteb's bitext mining evaluator.",
)

XSIM_ERROR = Metric(
    name="xsim_error",
    signature="xsim_error|margin|v1",
    parts=wrong,
    combine=lambda means: means["wrong"],
    doc="Error rate of cross-lingual similarity search by margin, in percent; lower is better. "
    "Paper: Artetxe & Schwenk 2019 (arXiv 1812.10464). Official scorer: xsim in facebookresearch/LASER.",
    higher_is_better=False,
)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """Weighted F1 and xsim error."""
    return (WEIGHTED_F1, XSIM_ERROR)
