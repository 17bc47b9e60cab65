"""The built-in metrics against scikit-learn and against XTREME's way of counting pairs."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from harness_metrics.accuracy import ACCURACY
from harness_metrics.mining import MINING
from harness_metrics.retrieval import WEIGHTED_F1, XSIM_ERROR
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from harness import Json, Metric
from harness.registry import load_catalog
from harness.statistics import score

CATALOG = load_catalog()
TUNED_F1, PRECISION, RECALL, ORACLE_F1 = MINING
LABELS = (ACCURACY, WEIGHTED_F1, XSIM_ERROR)

Labels = tuple[list[str], list[str]]
Mined = tuple[list[list[str]], list[list[dict[str, Json]]]]

_LABEL = st.sampled_from("abcdef")
_ANSWERS: st.SearchStrategy[Labels] = st.lists(st.tuples(_LABEL, _LABEL), min_size=1, max_size=30).map(
    lambda pairs: ([gold for gold, _ in pairs], [answer for _, answer in pairs])
)


@st.composite
def _mined(draw: st.DrawFn) -> Mined:
    """Up to two gold answers and three candidates per sentence, accepted from one threshold on."""
    threshold = draw(st.integers(0, 9)) / 8
    gold, candidates = [], []
    for _ in range(draw(st.integers(1, 12))):
        gold.append(sorted(draw(st.sets(_LABEL, max_size=2))))
        targets = sorted(draw(st.sets(_LABEL, max_size=3)))
        scores = [draw(st.integers(0, 8)) / 8 for _ in targets]
        candidates.append(
            [
                {"target": target, "score": value, "accepted": value >= threshold}
                for target, value in zip(targets, scores, strict=True)
            ]
        )
    return gold, candidates


def _value(metric: Metric, gold: Sequence[Json], predictions: Sequence[Json]) -> float:
    return score(metric, gold, predictions).value


@settings(deadline=None, max_examples=80)
@given(_ANSWERS)
def test_accuracy_is_that_of_scikit_learn(answers: Labels) -> None:
    assert _value(ACCURACY, *answers) == pytest.approx(100 * accuracy_score(*answers))


@settings(deadline=None, max_examples=80)
@given(_ANSWERS)
def test_weighted_f1_is_that_of_scikit_learn(answers: Labels) -> None:
    expected = f1_score(*answers, average="weighted", labels=sorted(set(answers[0])), zero_division=0)  # pyright: ignore[reportArgumentType]
    assert _value(WEIGHTED_F1, *answers) == pytest.approx(100 * expected)


@settings(deadline=None, max_examples=40)
@given(_ANSWERS)
def test_xsim_error_is_what_accuracy_lacks(answers: Labels) -> None:
    assert _value(XSIM_ERROR, *answers) == pytest.approx(100 - _value(ACCURACY, *answers))


def _bucc_f1(gold: set[tuple[int, str]], predicted: set[tuple[int, str]]) -> tuple[float, float, float]:
    """XTREME's ``bucc_f1``: F1, precision and recall of a set of pairs, in percent."""
    correct = len(gold & predicted)
    if not correct:
        return 0.0, 0.0, 0.0
    precision, recall = correct / len(predicted), correct / len(gold)
    return 200 * precision * recall / (precision + recall), 100 * precision, 100 * recall


@settings(deadline=None, max_examples=150)
@given(_mined())
def test_mining_scores_are_those_of_sets_of_pairs(case: Mined) -> None:
    gold, candidates = case
    pairs = {(row, target) for row, answer in enumerate(gold) for target in answer}
    predicted = {(row, c["target"]) for row, value in enumerate(candidates) for c in value if c["accepted"]}
    found = [_value(metric, gold, candidates) for metric in (TUNED_F1, PRECISION, RECALL)]
    assert found == pytest.approx(_bucc_f1(pairs, predicted))


@settings(deadline=None, max_examples=150)
@given(_mined())
def test_the_oracle_threshold_is_at_least_as_good_as_any_other(case: Mined) -> None:
    assert _value(ORACLE_F1, *case) >= _value(TUNED_F1, *case) - 1e-9


@settings(deadline=None, max_examples=100)
@given(_mined())
def test_the_oracle_is_the_best_of_all_thresholds(case: Mined) -> None:
    gold, candidates = case
    pairs = {(row, target) for row, answer in enumerate(gold) for target in answer}
    values = [
        _bucc_f1(
            pairs,
            {(row, c["target"]) for row, value in enumerate(candidates) for c in value if c["score"] >= edge},
        )[0]
        for edge in np.arange(10) / 8
    ]
    assert _value(ORACLE_F1, gold, candidates) == pytest.approx(max(values))


@pytest.mark.parametrize("metric", LABELS, ids=lambda metric: metric.name)
def test_perfect_answers_give_the_best_value(metric: Metric) -> None:
    gold = ["a", "b", "a", "c"]
    assert _value(metric, gold, gold) == (100.0 if metric.higher_is_better else 0.0)


@pytest.mark.parametrize("metric", MINING, ids=lambda metric: metric.name)
def test_perfect_pairs_give_100(metric: Metric) -> None:
    gold = [["a"], [], ["b", "c"]]
    candidates = [
        [{"target": target, "score": 1.5, "accepted": True} for target in answer] for answer in gold
    ]
    assert _value(metric, gold, candidates) == 100.0


@pytest.mark.parametrize("metric", MINING, ids=lambda metric: metric.name)
@pytest.mark.parametrize("accepted", [True, False])
def test_pairs_that_are_all_wrong_give_0(metric: Metric, accepted: bool) -> None:
    assert _value(metric, [["a"], []], [[{"target": "b", "score": 1.0, "accepted": accepted}], []]) == 0.0


@pytest.mark.parametrize("metric", MINING, ids=lambda metric: metric.name)
def test_nothing_found_gives_0(metric: Metric) -> None:
    assert _value(metric, [["a"], ["b"]], [[], []]) == 0.0


def test_answers_that_are_all_wrong_give_the_worst_value() -> None:
    gold, answers = ["a", "b"], ["b", "a"]
    assert [_value(metric, gold, answers) for metric in LABELS] == [0.0, 0.0, 100.0]


@settings(deadline=None, max_examples=60)
@given(_ANSWERS)
def test_values_of_answers_are_percent_and_have_a_part_per_item(answers: Labels) -> None:
    for metric in LABELS:
        found = score(metric, *answers)
        assert 0 <= found.value <= 100 + 1e-9
        assert found.stderr >= 0
        assert found.n == len(answers[0])
        assert {part.shape for part in found.parts.values()} == {(found.n,)}


@settings(deadline=None, max_examples=60)
@given(_mined())
def test_values_of_pairs_are_percent_and_have_a_part_per_item(case: Mined) -> None:
    for metric in MINING:
        found = score(metric, *case)
        assert 0 <= found.value <= 100 + 1e-9
        assert found.stderr >= 0
        assert found.n == len(case[0])
        assert {part.shape for part in found.parts.values()} == {(found.n,)}


def test_the_catalog_has_the_built_in_metrics() -> None:
    assert {metric.name for metric in (*LABELS, *MINING)} <= set(CATALOG.metrics)
    assert {metric.name for metric in CATALOG.metrics.values() if not metric.higher_is_better} >= {
        "xsim_error"
    }


@pytest.mark.parametrize("name", sorted(CATALOG.metrics))
def test_a_metric_of_the_catalog_names_its_paper_its_scorer_and_its_version(name: str) -> None:
    metric = CATALOG.metrics[name]
    assert "Paper: " in metric.doc
    assert "Official scorer: " in metric.doc
    assert re.fullmatch(r"\S+\|v\d+", metric.signature)


def test_no_two_metrics_of_the_catalog_share_a_signature() -> None:
    signatures = [metric.signature for metric in CATALOG.metrics.values()]
    assert len(set(signatures)) == len(signatures)


@pytest.mark.parametrize(
    "use", [(task.name, use.metric) for task in CATALOG.tasks.values() for use in task.metrics]
)
def test_every_metric_that_a_task_names_is_in_the_catalog(use: tuple[str, str]) -> None:
    assert use[1] in CATALOG.metrics
