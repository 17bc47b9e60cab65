"""Metrics of extracted answers where a question may have none: SQuAD v2.0's. Knows texts; knows no passage and no task.

An item is one question: gold is ``{"answers": [text, …]}``, none where there is no answer in the passage; the prediction
is ``{"text": text, "no_answer": odds}``, the text empty where there is none and the odds the higher the less likely an
answer is (0 where they are not given, as in the official script), or None where nothing was predicted, which is wrong
always. Words are cut as for SQuAD v1.1. The rules differ in this:

- A gold answer of which nothing is left without articles and punctuation does not count, unless there is no other.
- F1 with nothing on one side is 1 where there is nothing on both, else 0. So a question without an answer is right
  exactly where none is given.

The *best* metrics are the official script's: the odds above which answers are taken back are chosen on the scored items
themselves. That is an upper bound, and their standard errors leave the choice out. Items are taken in order of their odds
and, with equal odds, in the order of the data, as that script does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TypeAlias

from harness import Json, Metric, Parts, hookimpl
from harness.arrays import np
from harness_metrics import bags
from harness_metrics.answers import squad_words
from harness_metrics.bags import Floats
from harness_metrics.counts import ratio
from harness_metrics.words import Ints, Texts, cut

Compare: TypeAlias = Callable[[Texts, Ints, Ints], Floats]


def compared(gold: Sequence[Json], predictions: Sequence[Json], compare: Compare) -> Floats:
    """For each question the best comparison with a gold answer that counts, shape ``(items,)``.

    >>> gold = [{"answers": ["the", "a red cat"]}, {"answers": []}, {"answers": []}]
    >>> compared(gold, [{"text": "cat"}, {"text": ""}, {"text": "dog"}], bags.f1).round(2).tolist()
    [0.67, 1.0, 0.0]
    """
    answers = [answer["answers"] or [""] for answer in gold]
    counts = np.fromiter(map(len, answers), np.int64, len(answers))
    said = ["" if one is None else one["text"] for one in predictions]
    known = cut((*said, *chain.from_iterable(answers)), "en", squad_words)
    mine = np.repeat(np.arange(len(said)), counts)
    theirs = np.arange(len(said), len(said) + len(mine))
    values = compare(known, mine, theirs)
    nothing = np.diff(known.starts) == 0
    values[nothing[mine] & nothing[theirs]] = 1
    others = np.bincount(mine[~nothing[theirs]], minlength=len(said)) > 0
    values[nothing[theirs] & others[mine]] = 0
    best: Floats = np.maximum.reduceat(values, np.cumsum(counts) - counts)
    best[[one is None for one in predictions]] = 0
    return best


def _answered(gold: Sequence[Json]) -> Floats:
    """1 where a question has an answer, else 0."""
    return np.array([bool(answer["answers"]) for answer in gold], dtype=np.float64)


def _all(gold: Sequence[Json], predictions: Sequence[Json], *, compare: Compare) -> Parts:
    return {"score": compared(gold, predictions, compare)}


def _with_answer(gold: Sequence[Json], predictions: Sequence[Json], *, compare: Compare) -> Parts:
    answered = _answered(gold)
    return {"score": compared(gold, predictions, compare) * answered, "counted": answered}


def _without_answer(gold: Sequence[Json], predictions: Sequence[Json], *, compare: Compare) -> Parts:
    unanswered = 1 - _answered(gold)
    return {"score": compared(gold, predictions, compare) * unanswered, "counted": unanswered}


def at_best_threshold(gold: Sequence[Json], predictions: Sequence[Json], *, compare: Compare) -> Parts:
    """What each question scores at the odds at which the sum is largest, shape ``(items,)``.

    A question whose answer is taken back scores 1 if it has none in the passage, else 0; one whose answer stands scores
    as compared, but 0 if it has no answer in the passage and one is given.

    >>> gold = [{"answers": ["cat"]}, {"answers": []}, {"answers": ["dog"]}]
    >>> said = [{"text": "cat", "no_answer": -2}, {"text": "cow", "no_answer": -1}, {"text": "dog", "no_answer": 3}]
    >>> at_best_threshold(gold, said, compare=bags.f1)["score"].tolist()
    [1.0, 1.0, 0.0]
    """
    answered = _answered(gold) > 0
    predicted = np.array([one is not None for one in predictions], dtype=np.bool_)
    silent = np.array([one is None or not one["text"] for one in predictions], dtype=np.bool_)
    odds = np.array([0.0 if one is None else one.get("no_answer", 0.0) for one in predictions])
    back = (~answered & predicted).astype(np.float64)
    stands = np.where(answered, compared(gold, predictions, compare), silent & predicted)
    order = np.argsort(odds, kind="stable")
    gains = np.cumsum((stands - back)[order])
    count = int(gains.argmax()) + 1 if gains.max(initial=0) > 0 else 0
    scores = back
    scores[order[:count]] = stands[order[:count]]
    return {"score": scores}


def _score(means: Mapping[str, float]) -> float:
    return means["score"]


def _score_of_counted(means: Mapping[str, float]) -> float:
    return ratio(means["score"], means["counted"])


def _metric(
    name: str,
    compare: Compare,
    told: str,
    parts: Callable[..., Parts] = _all,
    combine: Callable[[Mapping[str, float]], float] = _score,
) -> Metric:
    """One metric; ``told`` is what it measures and, behind a bar, the official script's name of it."""
    what, _, key = told.partition("|")
    return Metric(
        name=f"squad_v2_{name}",
        signature=f"squad_v2_{name}|v2.0|v1",
        parts=partial(parts, compare=compare),
        combine=combine,
        doc=f"{what}, in percent. Paper: Rajpurkar, Jia & Liang 2018 (SQuAD 2.0, arXiv 1806.03822). "
        f"Official scorer: '{key}' of evaluate-v2.0.py of SQuAD.",
    )


_F1 = "Mean F1 of the words of answer and gold answer"
_EXACT = "Share of questions whose answer has the words of a gold answer"
_ANSWERED = "over the questions that have an answer; 0 where there are none"
_BEST = "with the no-answer threshold that is best on these very items"
ANSWERS_V2 = (
    _metric("f1", bags.f1, f"{_F1} over all questions, none for none being right|f1"),
    _metric("exact_match", bags.equal, f"{_EXACT}, none for none being right|exact"),
    _metric("has_answer_f1", bags.f1, f"{_F1} {_ANSWERED}|HasAns_f1", _with_answer, _score_of_counted),
    _metric(
        "has_answer_exact_match",
        bags.equal,
        f"{_EXACT}, {_ANSWERED}|HasAns_exact",
        _with_answer,
        _score_of_counted,
    ),
    _metric(
        "no_answer_f1",
        bags.f1,
        "Share of the questions without an answer for which none is given, which is their F1 and their exact match; "
        "0 where there are none|NoAns_f1",
        _without_answer,
        _score_of_counted,
    ),
    _metric("best_f1", bags.f1, f"{_F1}, {_BEST}|best_f1", at_best_threshold),
    _metric("best_exact_match", bags.equal, f"{_EXACT}, {_BEST}|best_exact", at_best_threshold),
)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """F1 and exact match of SQuAD v2.0: over all, with an answer, without, and at the best threshold."""
    return ANSWERS_V2
