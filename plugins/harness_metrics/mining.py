"""Metrics of bitext mining: pairs found among distractors. Knows ids and scores; knows no vectors and no task.

An item is one sentence of the other language: gold is the list of its translations' ids, the prediction the list of its
candidates ``{"target": id, "score": number, "accepted": bool}``.

Paper: Zweigenbaum, Sharoff & Rapp 2018 (third BUCC shared task). Official scorer: ``bucc_f1`` in google-research/xtreme
``evaluate.py``, over sets of pairs. XTREME's own mining script has three slips that are not repeated here: its dev
threshold is never applied to test, dev and test share one candidates file, and its search for the best threshold fails
when that is the last candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from harness import Json, Metric, Parts, hookimpl, search
from harness.arrays import np
from harness_metrics.counts import f1, precision, recall

__all__ = ["MINING", "accepted_pairs", "f1", "oracle_pairs"]


def accepted_pairs(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """Per item the numbers of right, accepted and gold pairs, each of shape ``(items,)``.

    >>> one = {"target": "en-1", "score": 1.2, "accepted": True}
    >>> parts = accepted_pairs([["en-1"], ["en-2"]], [[one], []])
    >>> {name: part.tolist() for name, part in parts.items()}
    {'hits': [1.0, 0.0], 'predicted': [1.0, 0.0], 'gold': [1.0, 1.0]}
    """
    return _counts(gold, predictions, lambda candidate: bool(candidate["accepted"]))


def oracle_pairs(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """As :func:`accepted_pairs`, but accepting by the threshold that is best on these very items."""
    scores = np.array([c["score"] for candidates in predictions for c in candidates], dtype=np.float64)
    right = [
        c["target"] in answer
        for answer, candidates in zip(gold, predictions, strict=True)
        for c in candidates
    ]
    threshold = search.best_threshold(
        scores, np.array(right, dtype=np.bool_), sum(len(answer) for answer in gold)
    )
    return _counts(gold, predictions, lambda candidate: bool(candidate["score"] >= threshold))


def _counts(gold: Sequence[Json], predictions: Sequence[Json], accepts: Callable[[Json], bool]) -> Parts:
    taken = [{c["target"] for c in candidates if accepts(c)} for candidates in predictions]
    answers = [set(answer) for answer in gold]
    hits = [len(answer & found) for answer, found in zip(answers, taken, strict=True)]
    return {
        "hits": np.array(hits, dtype=np.float64),
        "predicted": np.array([len(found) for found in taken], dtype=np.float64),
        "gold": np.array([len(answer) for answer in answers], dtype=np.float64),
    }


_SOURCE = (
    "Paper: Zweigenbaum et al. 2018 (BUCC). Official scorer: bucc_f1 in google-research/xtreme evaluate.py, "
    "over distinct sentences."
)
MINING = (
    Metric(
        name="mining_f1",
        signature="mining_f1|tuned|v1",
        parts=accepted_pairs,
        combine=f1,
        doc=f"F1 of the accepted pairs, in percent, the threshold chosen on the tuning split. {_SOURCE}",
    ),
    Metric(
        name="mining_precision",
        signature="mining_precision|tuned|v1",
        parts=accepted_pairs,
        combine=precision,
        doc=f"Share of the accepted pairs that are right, in percent. {_SOURCE}",
    ),
    Metric(
        name="mining_recall",
        signature="mining_recall|tuned|v1",
        parts=accepted_pairs,
        combine=recall,
        doc=f"Share of the gold pairs that are accepted, in percent. {_SOURCE}",
    ),
    Metric(
        name="mining_f1_oracle",
        signature="mining_f1|oracle|v1",
        parts=oracle_pairs,
        combine=f1,
        doc="F1 with the threshold that is best on the scored items themselves, in percent: what tuning can reach at "
        f"most, never a result. {_SOURCE}",
    ),
)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """F1, precision, recall and the oracle F1."""
    return MINING
