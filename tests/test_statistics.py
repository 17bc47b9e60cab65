"""Standard errors by the delta method against textbook formulas and the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from harness_metrics.accuracy import ACCURACY
from harness_metrics.mining import MINING
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness import Json, Metric, Parts, SpecError
from harness.statistics import score, standard_error

F1 = MINING[0]


def _metric(parts: Mapping[str, NDArray[np.float64]]) -> Metric:
    """A metric that gives these parts whatever was predicted."""

    def given_parts(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
        return parts

    return Metric(
        name="made_up",
        signature="made_up|v1",
        parts=given_parts,
        combine=lambda means: sum(means.values()),
        doc="Paper: none. Official scorer: none.",
    )


def _pairs(n: int, seed: int) -> dict[str, NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    gold = (generator.random(n) < 0.5).astype(np.float64)
    predicted = (generator.random(n) < 0.4 + 0.3 * gold).astype(np.float64)
    hits = gold * predicted * (generator.random(n) < 0.8)
    return {"hits": hits, "predicted": predicted, "gold": gold}


@settings(deadline=None, max_examples=80)
@given(st.lists(st.booleans(), min_size=2, max_size=60))
def test_the_error_of_accuracy_is_the_standard_deviation_over_the_root_of_n(hits: list[bool]) -> None:
    found = score(ACCURACY, [True] * len(hits), hits)
    assert found.value == pytest.approx(100 * np.mean(hits))
    assert found.stderr == pytest.approx(100 * np.std(hits, ddof=1) / math.sqrt(len(hits)), rel=1e-6)


@pytest.mark.parametrize("metric", MINING[:3], ids=lambda metric: metric.name)
def test_the_error_of_mining_scores_agrees_with_the_bootstrap(metric: Metric) -> None:
    parts = _pairs(400, seed=11)
    generator = np.random.default_rng(12)
    drawn = generator.integers(0, 400, size=(3000, 400))
    means = {name: part[drawn].mean(axis=1) for name, part in parts.items()}
    values = [
        metric.combine({name: float(column[sample]) for name, column in means.items()})
        for sample in range(3000)
    ]
    assert standard_error(metric, parts) == pytest.approx(float(np.std(values, ddof=1)), rel=0.1)


@pytest.mark.parametrize("metric", MINING[:3], ids=lambda metric: metric.name)
def test_the_order_of_items_does_not_matter(metric: Metric) -> None:
    parts = _pairs(97, seed=3)
    order = np.random.default_rng(4).permutation(97)
    shuffled = {name: part[order] for name, part in parts.items()}
    assert standard_error(metric, shuffled) == pytest.approx(standard_error(metric, parts), rel=1e-9)


def test_the_order_of_answers_does_not_matter() -> None:
    gold, answers = list("aabbcc"), list("abbbca")
    found, turned = score(ACCURACY, gold, answers), score(ACCURACY, gold[::-1], answers[::-1])
    assert (turned.value, turned.n) == (found.value, found.n)
    assert turned.stderr == pytest.approx(found.stderr)


def test_one_item_has_no_standard_error() -> None:
    found = score(ACCURACY, ["a"], ["b"])
    assert (found.value, found.stderr, found.n) == (0.0, 0.0, 1)


def test_equal_items_have_no_standard_error() -> None:
    assert score(ACCURACY, ["a"] * 9, ["a"] * 9).stderr == 0.0


def test_an_f1_of_nothing_found_has_no_standard_error() -> None:
    nothing = {name: np.zeros(5) for name in ("hits", "predicted", "gold")}
    assert standard_error(F1, nothing) == 0.0


def test_another_number_of_predictions_is_refused() -> None:
    with pytest.raises(SpecError, match=r"metric 'accuracy': 2 gold answers but 1 predictions"):
        score(ACCURACY, ["a", "b"], ["a"])


@pytest.mark.parametrize(
    "parts",
    [
        {"x": np.ones(2), "y": np.ones(3)},
        {"x": np.array([1.0, math.nan])},
        {"x": np.array([1.0, math.inf])},
        {"x": np.ones((2, 3))},
        {"x": np.float64(1.0)},
        {},
    ],
    ids=["lengths", "nan", "infinite", "matrix", "number", "none"],
)
def test_parts_that_are_not_finite_arrays_of_one_length_are_refused(
    parts: dict[str, NDArray[np.float64]],
) -> None:
    with pytest.raises(SpecError, match="metric 'made_up'"):
        score(_metric(parts), ["a", "b"], ["a", "b"])


def test_no_item_is_refused() -> None:
    with pytest.raises(SpecError, match="metric 'accuracy': there is no item to score"):
        score(ACCURACY, [], [])


def test_parts_are_kept_for_later_tests() -> None:
    found = score(_metric({"x": np.array([0.25, 0.75])}), ["a", "b"], ["a", "b"])
    assert found.parts["x"].tolist() == [0.25, 0.75]
    assert found.value == 50.0
