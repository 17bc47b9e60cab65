"""Accuracy and macro-averaged F1. Knows answers as values that are equal or not; knows no task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness import Json, Metric, Parts, hookimpl
from harness.arrays import np
from harness_metrics.counts import macro_f1


def correct(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """Whether each prediction equals its gold answer, shape ``(items,)``.

    >>> correct(["a", "b"], ["a", "c"])["correct"].tolist()
    [1.0, 0.0]
    """
    hits = [answer == prediction for answer, prediction in zip(gold, predictions, strict=True)]
    return {"correct": np.array(hits, dtype=np.float64)}


def classes(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """For each class ``hits.CLASS``, ``predicted.CLASS`` and ``gold.CLASS``, 0 or 1 per item, shape ``(items,)``.

    Classes are all that occur in gold or predictions, told apart by their text.

    >>> parts = classes(["a", "b"], ["a", "a"])
    >>> {name: part.tolist() for name, part in parts.items() if name.endswith("a")}
    {'hits.a': [1.0, 0.0], 'predicted.a': [1.0, 1.0], 'gold.a': [1.0, 0.0]}
    """
    true, said = [str(answer) for answer in gold], [str(answer) for answer in predictions]
    places = {name: place for place, name in enumerate(sorted({*true, *said}))}
    one_hot = np.eye(len(places))
    right, found = (one_hot[[places[answer] for answer in answers]] for answers in (true, said))
    parts: dict[str, np.ndarray] = {}
    for name, place in places.items():
        parts[f"hits.{name}"] = right[:, place] * found[:, place]
        parts[f"predicted.{name}"] = found[:, place]
        parts[f"gold.{name}"] = right[:, place]
    return parts


ACCURACY = Metric(
    name="accuracy",
    signature="accuracy|exact|v1",
    parts=correct,
    combine=lambda means: means["correct"],
    itemwise=True,
    doc="Share of items whose prediction equals the gold answer, in percent. "
    "Paper: Hu et al. 2020 (XTREME, arXiv 2003.11080). Official scorer: accuracy in google-research/xtreme evaluate.py.",
)

MACRO_F1 = Metric(
    name="macro_f1",
    signature="macro_f1|sklearn|v1",
    parts=classes,
    combine=macro_f1,
    itemwise=True,
    doc="Plain mean over classes of each class's F1, in percent; classes are those in gold or predictions. "
    "Paper: van Rijsbergen 1979 (Information Retrieval, chapter 7) for F1. "
    "Official scorer: f1_score(average='macro', zero_division=0) in scikit-learn.",
)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """Accuracy and macro-F1."""
    return ACCURACY, MACRO_F1
