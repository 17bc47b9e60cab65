"""Tests of significance over items and over seeds, against exact tests, tables and simulations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from experiments import Answers, Folder, N, effect_of, first, languages_right, phase_of
from harness_metrics.accuracy import ACCURACY
from harness_metrics.retrieval import XSIM_ERROR

from harness import Metric, Predictions
from harness.catalog import Catalog
from harness.records import write_predictions
from harness.report.experiment import (
    find,
    html,
    markdown,
)
from harness.report.experiment.overseeds import p_over_seeds, two_sided_t
from harness.report.experiment.tidy import tidy

# Tests of significance


def test_one_language_one_seed_is_mcnemars_exact_test(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [first(20)])
    folder.cell("mnli", [Answers(right=[place >= 2 and place < 31 for place in range(N)])])
    effect = effect_of(find(folder.write(), catalog), "mnli")
    # 2 items got worse, 11 better: twice the tail of a fair coin.
    tail = sum(math.comb(13, count) for count in range(11, 14)) / 2**13
    assert effect.tested is not None
    assert effect.tested.test == "mcnemar"
    assert effect.tested.p == pytest.approx(2 * tail)
    assert effect.tested.delta == pytest.approx(22.5) == effect.delta
    assert effect.tested.low < 22.5 < effect.tested.high


def test_a_loss_is_tested_as_a_gain_is(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [first(31)])
    folder.cell("better", [first(37)])
    folder.cell("worse", [first(25)])
    found = find(folder.write(), catalog)
    better, worse = effect_of(found, "better").tested, effect_of(found, "worse").tested
    assert better is not None
    assert worse is not None
    assert better.p == worse.p == pytest.approx(2 / 2**6)
    assert (better.low, better.high) == pytest.approx((-worse.high, -worse.low))


def test_equal_answers_give_p_1(folder: Folder, catalog: Catalog) -> None:
    for setting in ("baseline", "mnli"):
        folder.cell(setting, languages_right(en=30, de=20, sw=10))
    effect = effect_of(find(folder.write(), catalog), "mnli")
    assert effect.tested is not None
    assert (effect.tested.p, effect.adjusted_p, effect.significant) == (1.0, 1.0, False)


def test_holm_goes_over_all_cells_of_all_models(folder: Folder, catalog: Catalog) -> None:
    gains = {"a": 12, "b": 7, "c": 5}
    for model in ("one", "two"):
        folder.cell("baseline", [first(20)], model=model)
        for name, gain in gains.items():
            folder.cell(name, [first(20 + gain)], model=model)
    found = find(folder.write(), catalog)
    # Exact p of k changes all to the better: 2 / 2^k; six tests, equal ones in pairs.
    by_hand = {"a": 6 * 2 / 2**12, "b": 4 * 2 / 2**7, "c": 2 * 2 / 2**5}
    assert found.matrix.tests == 6
    for model in ("one", "two"):
        for name, p in by_hand.items():
            assert effect_of(found, name, model=model).adjusted_p == pytest.approx(p)
    assert [effect_of(found, name, model="one").beyond_items for name in gains] == [True, False, False]
    assert not any(effect.significant for effect in found.matrix.effects.values()), (
        "one seed says nothing of others"
    )
    assert found.matrix.seed_tests == 0


def _random(seed: int, n: int, share: float) -> list[bool]:
    return [bool(value) for value in np.random.default_rng(seed).random(n) < share]


def test_the_bootstrap_of_a_mean_over_languages_agrees_with_the_normal_approximation(
    folder: Folder, catalog: Catalog
) -> None:
    sides = {
        setting: {
            code: _random(seed + place, n, share)
            for place, (code, n) in enumerate((("en", 400), ("de", 150)))
        }
        for setting, seed, share in (("baseline", 1, 0.6), ("mnli", 11, 0.68))
    }
    for setting, rights in sides.items():
        folder.cell(setting, [Answers(right=right, language=code) for code, right in rights.items()])
    effect = effect_of(find(folder.write(), catalog), "mnli")
    changes = {
        code: np.subtract(sides["mnli"][code], sides["baseline"][code], dtype=float) for code in ("en", "de")
    }
    delta = sum(change.mean() for change in changes.values()) / 2
    error = math.sqrt(sum(change.var() / len(change) for change in changes.values())) / 2
    assert effect.tested is not None
    assert effect.tested.test == "bootstrap"
    assert effect.tested.delta == pytest.approx(100 * delta)
    assert effect.tested.p == pytest.approx(2 * (1 - NormalDist().cdf(abs(delta) / error)), rel=0.25)
    assert (effect.tested.high - effect.tested.low) / 2 == pytest.approx(196 * error, rel=0.1)


def test_translations_of_an_item_do_not_count_as_further_items(folder: Folder, catalog: Catalog) -> None:
    """The same answers in three languages, under the same ids, are no more evidence than in one."""
    before, after, ids = _random(1, 200, 0.5), _random(2, 200, 0.6), [str(place) for place in range(200)]
    for setting, right in (("baseline", before), ("mnli", after)):
        folder.cell(setting, [Answers(right=right, language=code, ids=ids) for code in ("en", "de", "sw")])
        folder.cell(setting, [Answers(right=right, language="de", ids=ids)], model="alone")
        apart = [Answers(right=right, language=code) for code in ("en", "de", "sw")]
        folder.cell(setting, apart, model="apart")
    found = find(folder.write(), catalog)
    together, alone, apart_p = (
        tested.p
        for model in ("enc", "alone", "apart")
        if (tested := effect_of(found, "mnli", model=model).tested) is not None
    )
    assert together == pytest.approx(alone, rel=0.3)
    assert apart_p < alone / 3


def test_the_same_answers_in_three_seeds_are_no_more_evidence_than_in_one(
    folder: Folder, catalog: Catalog
) -> None:
    for setting, seed in (("baseline", 1), ("mnli", 2)):
        cell = [
            Answers(right=_random(seed + place, 100, 0.4 + 0.1 * seed), language=code)
            for place, code in enumerate(("de", "sw"))
        ]
        folder.cell(setting, cell, model="one")
        for number in range(3):
            folder.cell(setting, cell, model="three", seed=number)
    found = find(folder.write(), catalog)
    one, three = effect_of(found, "mnli", model="one").tested, effect_of(found, "mnli", model="three").tested
    assert one == three


def test_a_sign_that_differs_between_seeds_is_not_significant(folder: Folder, catalog: Catalog) -> None:
    for seed, after in enumerate((40, 40, 9)):
        folder.cell("baseline", [first(10)], seed=seed)
        folder.cell("mnli", [first(after)], seed=seed)
    effect = effect_of(find(folder.write(), catalog), "mnli")
    assert effect.adjusted_p is not None
    assert effect.adjusted_p < 0.001
    assert not effect.significant
    assert effect.by_seed == pytest.approx({0: 100.0, 1: 100.0, 2: 22.5})
    assert effect.deviation == pytest.approx(np.std([100, 100, 22.5], ddof=1))
    assert effect.delta_deviation == pytest.approx(np.std([75, 75, -2.5], ddof=1))
    assert "sd 44.74" in html.render(find(folder.path, catalog))


def test_many_items_are_tested_by_the_delta_method_to_the_same_effect(
    folder: Folder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for setting, seed, share in (("baseline", 1, 0.5), ("mnli", 9, 0.58)):
        folder.cell(
            setting,
            [
                Answers(right=_random(seed + place, 300, share), language=code)
                for place, code in enumerate(("en", "de"))
            ],
        )
    path = folder.write()
    drawn = effect_of(find(path, catalog), "mnli").tested
    monkeypatch.setattr("harness.report.experiment.significance.MANY", 100)
    computed = effect_of(find(path, catalog), "mnli").tested
    assert drawn is not None
    assert computed is not None
    assert (drawn.test, computed.test) == ("bootstrap", "delta method")
    assert computed.delta == pytest.approx(drawn.delta)
    assert (computed.low, computed.high) == pytest.approx((drawn.low, drawn.high), abs=0.5)
    assert computed.p == pytest.approx(drawn.p, rel=0.3, abs=0.002)


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (first(5, n=20), "20 common items, 30 are needed"),
        (first(20, record={"signature": "accuracy|other|v9"}), "recorded is accuracy|other|v9"),
        (first(20, record={"task_version": 2}), "not the same number was measured"),
    ],
)
def test_what_cannot_be_tested_says_why_and_is_not_adjusted_for(
    folder: Folder, catalog: Catalog, after: Answers, told: str
) -> None:
    folder.cell("baseline", [first(10, n=len(after.right))])
    folder.cell("mnli", [after])
    found = find(folder.write(), catalog)
    effect = effect_of(found, "mnli")
    assert effect.delta is not None
    assert told in effect.reason
    assert (effect.tested, effect.adjusted_p, found.matrix.tests) == (None, None, 0)
    assert f"(n) xnli, mnli: {effect.reason}" in markdown.render(found).replace("\\", "")


def test_lost_predictions_leave_the_number_and_take_the_test(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [first(10)])
    run = folder.cell("mnli", [first(20)])
    next(run.rglob("*.parquet")).unlink()
    effect = effect_of(find(folder.write(), catalog), "mnli")
    assert effect.delta == pytest.approx(25.0)
    assert "no such predictions" in effect.reason


def _with_learned_items(folder: Folder, *, seeds: int = 3) -> Path:
    """German: the easy half, all right in the baseline, was learned by the setting and is left out there.

    Of the other 400 the baseline has 200 right and the setting 280, of English 30 and 32 of the same 40.
    """
    ids = [f"q{place}" for place in range(800)]
    run = Path()
    for seed in range(seeds):
        right = [place < 600 for place in range(800)]
        german = Answers(right=right, ids=ids)
        folder.cell("baseline", [first(30, language="en"), german, first(10, language="sw")], seed=seed)
        left = Answers(right=[place < 280 for place in range(400)], ids=ids[400:])
        run = folder.cell("mnli", [first(32, language="en"), left, first(10, language="sw")], seed=seed)
    return run


def test_a_difference_is_over_the_items_that_both_scored(folder: Folder, catalog: Catalog) -> None:
    """By the recorded scores German fell by 5 points, and the mean stayed; on the common items German rose by 20."""
    _with_learned_items(folder)
    found = find(folder.write(), catalog)
    effect, before = effect_of(found, "mnli"), effect_of(found, "baseline")
    assert (before.scores["de"], effect.scores["de"]) == pytest.approx((75.0, 70.0))
    assert effect.deltas == pytest.approx({"en": 5.0, "de": 20.0, "sw": 0.0})
    assert effect.delta_by_seed == pytest.approx(dict.fromkeys(range(3), 25 / 3))
    assert effect.tested is not None
    assert effect.tested.delta == pytest.approx(effect.delta) == pytest.approx(25 / 3)
    assert effect.significant
    (metric,) = [one for one in found.metrics if one.setting == "mnli"]
    assert metric.delta == pytest.approx(25 / 3)
    kinds = {gain.kind: gain.gain for gain in found.kinds if gain.dimension == "family"}
    assert kinds == pytest.approx({"Indo-European": 20.0, "Niger-Congo": 0.0})
    (choice,) = found.choices
    assert choice.effect.delta == pytest.approx(25 / 3)
    told = "not the same items were scored (de: 400–800 items); the difference is over those that both scored"
    text = markdown.render(found).replace("\\", "")
    assert text.count(f"- xnli, mnli: {told}") == 2, "in the matrix and by language"
    assert f"- xnli, enc, mnli: {told}" in text, "every metric"
    assert next(row for row in tidy(found)["matrix"] if row["setting"] == "mnli")["note"] == told


def test_the_items_of_a_difference_are_those_of_all_seeds(folder: Folder, catalog: Catalog) -> None:
    """A seed that lacks items takes them from all, for the test averages an item over seeds."""
    for seed, begin in enumerate((0, 0, 10)):
        ids = [str(place) for place in range(begin, 80)]
        folder.cell("baseline", [Answers(right=[int(name) < 30 for name in ids], ids=ids)], seed=seed)
        right = [int(name) < 30 + 14 * (seed + 1) for name in ids]
        folder.cell("mnli", [Answers(right=right, ids=ids)], seed=seed)
    effect = effect_of(find(folder.write(), catalog), "mnli")
    assert effect.delta_by_seed == pytest.approx({seed: 100 * 14 * (seed + 1) / 70 for seed in range(3)})
    assert effect.tested is not None
    assert effect.tested.delta == pytest.approx(effect.delta) == pytest.approx(40.0)


@pytest.mark.parametrize("lost", ["predictions", "gold", "all common items"])
def test_without_common_items_there_is_no_difference_and_no_star(
    folder: Folder, catalog: Catalog, lost: str
) -> None:
    run = _with_learned_items(folder)
    path = next(run.rglob("de.parquet"))
    if lost == "predictions":
        path.unlink()
    else:
        gold = [int(lost == "gold")] * 400
        ids = [f"{'q' if lost == 'gold' else 'z'}{place}" for place in range(400, 800)]
        parts = {"accuracy": ACCURACY.parts(gold, gold)}
        write_predictions(path, Predictions(view="", ids=ids, gold=gold, values=gold), parts)
    found = find(folder.write(), catalog)
    effect = effect_of(found, "mnli")
    assert (effect.delta, effect.deltas, effect.tested, effect.significant) == (None, {}, None, False)
    why = {"predictions": "no such predictions", "gold": "de: the gold answers differ"}
    told = why.get(lost, "de: no item is common")
    assert "over those that both scored no difference can be had" in effect.reason
    assert told in effect.reason
    assert [one.delta for one in found.metrics] == [None, None]
    text = markdown.render(found).replace("\\", "")
    assert "| – (n)<br>58.33 (58.33–58.33) |" in text
    assert f"- (n) xnli, mnli: {effect.reason}" in text
    assert f"- xnli, enc, mnli: {effect.reason}" in text
    assert "no baseline for seed" not in text


def test_of_an_error_rate_a_fall_is_a_gain(folder: Folder, catalog: Catalog) -> None:
    name = XSIM_ERROR.name
    folder.cell("baseline", [first(10, task="tatoeba", language="de", metric=_error())])
    folder.cell("mnli", [first(30, task="tatoeba", language="de", metric=_error())])
    metrics = {**catalog.metrics, name: _error()}
    found = find(folder.write(), replace(catalog, metrics=metrics))
    effect = effect_of(found, "mnli", "tatoeba")
    assert (effect.delta, effect.gain) == pytest.approx((-50.0, 50.0))
    assert effect.beyond_items
    assert effect.tested is not None
    assert effect.tested.delta == pytest.approx(-50.0)
    assert effect.tested.low < -50.0 < effect.tested.high < 0
    assert next(row for row in tidy(found)["languages"] if row["setting"] == "mnli")["gain"] == pytest.approx(
        50.0
    )
    assert "tatoeba: lower is better" in markdown.render(found)
    assert 'class=" better"' in html.render(found)


def _error() -> Metric:
    def wrong(gold: Sequence[Any], values: Sequence[Any]) -> dict[str, Any]:
        return {"wrong": np.array([one != two for one, two in zip(gold, values, strict=True)], dtype=float)}

    return replace(XSIM_ERROR, parts=wrong, combine=lambda means: means["wrong"])


def test_the_smallest_p_of_the_delta_method_is_that_of_a_bootstrap(
    folder: Folder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.report.experiment.significance.MANY", 100)
    for setting, shares in (("baseline", (0.1, 0.2)), ("mnli", (0.9, 0.8))):
        answers = [
            Answers(right=_random(place, 300, share), language=code)
            for place, (code, share) in enumerate(zip(("en", "de"), shares, strict=True))
        ]
        folder.cell(setting, answers)
    tested = effect_of(find(folder.write(), catalog), "mnli").tested
    assert tested is not None
    assert tested.test == "delta method"
    assert tested.p == pytest.approx(2 / 10_001)


# Seeds


@pytest.mark.parametrize(
    ("t", "degrees", "p"), [(0, 3, 1.0), (63.657, 1, 0.01), (9.925, 2, 0.01), (3.25, 9, 0.01)]
)
def test_students_t_is_that_of_the_tables(t: float, degrees: int, p: float) -> None:
    assert two_sided_t(t, degrees) == pytest.approx(p, rel=1e-3)
    assert two_sided_t(-t, degrees) == two_sided_t(t, degrees)


def test_three_seeds_are_a_t_test_once_item_noise_is_gone() -> None:
    # Mean 3, sd 1, standard error 1 / sqrt 3; with item error 2: sqrt(4 + 1/3).
    assert p_over_seeds(3.0, 0.0, [2.0, 3.0, 4.0]) == pytest.approx(two_sided_t(3 * math.sqrt(3), 2))
    assert p_over_seeds(3.0, 2.0, [2.0, 3.0, 4.0]) == pytest.approx(two_sided_t(3 / math.sqrt(13 / 3), 2))
    assert p_over_seeds(3.0, 0.0, [3.0, 3.0]) is None
    assert (p_over_seeds(0.0, 0.0, [0.0] * 3), p_over_seeds(1.0, 0.0, [1.0] * 3)) == (1.0, 0.0)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("over_items", "over_seeds"), [(1.0, 0.0), (1.0, 1.0), (0.5, 2.0), (0.0, 1.0)])
def test_no_true_difference_is_found_in_at_most_5_percent(
    seeds: int, over_items: float, over_seeds: float
) -> None:
    """Over items alone it would be far more as soon as seeds differ; the bound is 5 % and three standard errors of it."""
    generator = np.random.default_rng(seeds)
    false_over_both = false_over_items = 0
    for _ in range(3000):
        by_seed = generator.normal(0, over_items) + generator.normal(0, over_seeds, seeds)
        found = float(by_seed.mean())
        p = p_over_seeds(found, over_items, by_seed.tolist())
        assert p is not None
        false_over_both += p <= 0.05
        false_over_items += abs(found) > NormalDist().inv_cdf(0.975) * over_items
    assert false_over_both / 3000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 3000)
    if over_seeds:
        assert false_over_items / 3000 > 0.06


def test_three_steady_seeds_earn_a_star_and_three_scattered_ones_do_not(
    folder: Folder, catalog: Catalog
) -> None:
    for seed in range(3):
        folder.cell("baseline", [first(200, n=4000)], seed=seed)
        folder.cell("steady", [first(2600 + 40 * seed, n=4000)], seed=seed)
        folder.cell("scattered", [first((400, 1200, 3200)[seed], n=4000)], seed=seed)
    found = find(folder.write(), catalog)
    steady, scattered = effect_of(found, "steady"), effect_of(found, "scattered")
    assert found.matrix.seed_tests == 2
    assert (steady.beyond_items, steady.significant) == (True, True)
    assert (scattered.beyond_items, scattered.steady, scattered.significant) == (True, True, False)
    assert steady.tested is not None
    error = math.hypot(steady.tested.stderr, 1 / math.sqrt(3))
    assert steady.seeds_p == pytest.approx(two_sided_t(61 / error, 2))
    assert steady.adjusted_seeds_p == pytest.approx(2 * two_sided_t(61 / error, 2))
    text = markdown.render(found).replace("\\", "")
    assert "**+61.00***<br>" in text
    assert "+35.00°<br>" in text
    assert "2 cells with 3 seeds or more" in text


def test_a_baseline_without_any_training_has_no_seed(folder: Folder, catalog: Catalog) -> None:
    for seed in range(2):
        folder.cell("baseline", [*languages_right("tatoeba", de=10), first(5)], seed=seed)
        folder.cell(
            "mnli", languages_right("tatoeba", de=20 + seed), seed=seed, lineage=[phase_of("mnli", [])]
        )
    found = find(folder.write(), catalog)
    assert [effect_of(found, name, "tatoeba").untrained for name in ("baseline", "mnli")] == [True, False]
    text = markdown.render(found)
    assert "25.00<br>no seed |" in text
    assert text.count("no seed |") == 1, "the other target was trained"
