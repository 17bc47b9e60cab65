"""The report of an experiment, on folders made by hand: deltas, tests, forgetting, sizes, orders, choices, outputs."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from statistics import NormalDist, variance
from typing import Any

import numpy as np
import pytest
from harness_metrics.accuracy import ACCURACY
from harness_metrics.retrieval import XSIM_ERROR
from hypothesis import given
from hypothesis import strategies as st

from harness import Metric, OutputError, Predictions, Record, Suite, SuiteTask, digests, typology_facts
from harness.records import predictions_path, write_predictions, write_records
from harness.registry import Catalog, load_catalog
from harness.report.experiment import (
    Findings,
    as_json,
    find,
    html,
    markdown,
    terminal,
    write_experiment_report,
)
from harness.report.experiment.document import signed
from harness.report.experiment.kinds import SOURCES
from harness.report.experiment.layout import MANIFEST, read_experiment
from harness.report.experiment.matrix import Effect
from harness.report.experiment.overseeds import p_over_seeds, two_sided_t
from harness.report.experiment.plots import Series, plot
from harness.report.experiment.sections import sections
from harness.report.experiment.sizes import ALL, HIGH, LOW, as_number, fit_of
from harness.report.experiment.tidy import COLUMNS, as_csv, tidy
from harness.statistics import score

GOLDEN = Path(__file__).parent / "golden" / "experiment.md"
N = 40
SUITE = Suite(
    name="small",
    title="A small suite",
    tasks=(
        SuiteTask(task="xnli", languages=("en", "de", "sw"), group="classification"),
        SuiteTask(task="tatoeba", languages=("de", "ja"), group="retrieval"),
    ),
    citation="@misc{small}",
)
Make = Callable[..., Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One language of one target: which items are right."""

    right: Sequence[bool]
    task: str = "xnli"
    language: str = "de"
    split: str = "test"
    metric: Metric = ACCURACY
    ids: Sequence[str] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


def first(count: int, n: int = N, **others: Any) -> Answers:
    """The first ``count`` of ``n`` items right."""
    return Answers(right=[place < count for place in range(n)], **others)


@dataclass(slots=True, kw_only=True)
class Folder:
    """Writes an experiment folder cell by cell."""

    path: Path
    make: Make
    settings: list[dict[str, Any]] = field(default_factory=list)
    cells: list[dict[str, Any]] = field(default_factory=list)
    recipe: dict[str, Any] = field(
        default_factory=lambda: {"name": "small", "title": "Small", "question": "Why?"}
    )

    def setting(self, name: str, **axes: str) -> None:
        """A setting; ``baseline`` is the one without stages."""
        stages = [] if name == "baseline" else [{"tasks": [name]}]
        self.settings.append({"name": name, "axes": axes, "stages": stages})

    def cell(
        self,
        setting: str,
        answers: Iterable[Answers],
        *,
        seed: int = 0,
        model: str = "enc",
        lineage: Sequence[Mapping[str, Any]] = (),
        **facts: Any,
    ) -> Path:
        """One cell with its run folder; an unknown setting is added."""
        if setting not in [known["name"] for known in self.settings]:
            self.setting(setting)
        identity = f"cell-{len(self.cells)}"
        folder = self.path / "runs" / identity
        records = [self._scored(folder, one, seed) for one in answers]
        write_records(folder / "records.jsonl", records)
        needed = ("run", "identity", "model", "versions", "hardware", "data", "started")
        manifest = {
            **dict.fromkeys(needed, ""),
            "schema": 1,
            "status": "done",
            "units": facts.pop("units", []),
        }
        (folder / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
        (folder / "lineage.json").write_text(json.dumps(lineage), encoding="utf-8")
        usual = {
            "id": identity,
            "model": model,
            "setting": setting,
            "seed": seed,
            "folder": f"runs/{identity}",
        }
        self.cells.append({**usual, "status": "done", "error": "", "seconds": 2.0, **facts})
        return folder

    def _scored(self, folder: Path, one: Answers, seed: int) -> Record:
        gold: list[Any] = [0] * len(one.right)
        values: list[Any] = [0 if right else 1 for right in one.right]
        found = score(one.metric, gold, values)
        usual: dict[str, Any] = {
            "task": one.task,
            "language": one.language,
            "split": one.split,
            "metric": one.metric.name,
            "signature": one.metric.signature,
            "value": found.value,
            "stderr": found.stderr,
            "n": found.n,
            "higher_is_better": one.metric.higher_is_better,
            "seed": None if one.task == "tatoeba" else seed,
            "variant": f"xtreme.{one.split}",
            "data": f"{one.task} {one.split}",
        }
        ids = one.ids or [f"{one.language}-{place}" for place in range(len(gold))]
        record = self.make(**{**usual, "items": digests.of_value(list(ids)), **one.record})
        path = predictions_path(folder, record.task, record.variant, record.seed, record.language)
        predictions = Predictions(view="", ids=ids, gold=gold, values=values)
        write_predictions(path, predictions, {one.metric.name: one.metric.parts(gold, values)})
        return record

    def write(self, **changes: Any) -> Path:
        """``experiment.json`` of all that was added."""
        manifest = {
            "schema": 1,
            "kind": "experiment",
            "recipe": self.recipe,
            "settings": self.settings,
            "models": [{"name": name} for name in dict.fromkeys(cell["model"] for cell in self.cells)],
            "cells": self.cells,
            "started": "2020-01-01T00:00:00Z",
            "finished": "2020-01-01T01:00:00Z",
            "seconds": 3600.0,
            "versions": {"harness": "0"},
            "hardware": {"cores": 2},
        }
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / MANIFEST).write_text(json.dumps({**manifest, **changes}), encoding="utf-8")
        return self.path


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """The harness's own metrics and a small suite."""
    return replace(load_catalog(others=False), suites={"small": SUITE})


@pytest.fixture
def folder(tmp_path: Path, make_record: Make) -> Folder:
    """An experiment without cells."""
    made = Folder(path=tmp_path / "experiment", make=make_record)
    made.setting("baseline")
    return made


def languages_right(task: str = "xnli", **right: int) -> list[Answers]:
    """Several languages of one target, so many items right in each."""
    return [first(count, task=task, language=language) for language, count in right.items()]


def effect_of(found: Findings, setting: str, target: str = "xnli", model: str = "enc") -> Effect:
    """One cell of the matrix that must be there."""
    effect = found.matrix.at(model, setting, target)
    assert effect is not None
    return effect


# Matrix


def test_scores_and_deltas_are_means_over_languages_and_seeds(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right(en=30, de=20, sw=10), seed=0)
    folder.cell("baseline", languages_right(en=32, de=20, sw=14), seed=1)
    folder.cell("mnli", languages_right(en=32, de=26, sw=14), seed=0)
    folder.cell("mnli", languages_right(en=32, de=20, sw=8), seed=1)
    effect = effect_of(find(folder.write(), catalog), "mnli")
    # 100 / 40 per item: seed 0 (80 + 65 + 35) / 3 = 60 against 50, seed 1 (80 + 50 + 20) / 3 = 50 against 55.
    assert effect.by_seed == pytest.approx({0: 60.0, 1: 50.0})
    assert effect.delta_by_seed == pytest.approx({0: 10.0, 1: -5.0})
    assert effect.delta == pytest.approx(2.5)
    assert (effect.deviation, effect.delta_deviation) == (None, None), "two seeds do not estimate a deviation"
    assert effect.deltas == pytest.approx({"en": 2.5, "de": 7.5, "sw": -2.5})
    assert not effect.steady
    assert not effect.significant


def test_only_the_languages_and_seeds_of_both_are_subtracted(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right(en=30, de=20), seed=0)
    folder.cell("mnli", languages_right(en=32, de=26, sw=14), seed=0)
    folder.cell("mnli", languages_right(en=40, de=40, sw=40), seed=1)
    found = find(folder.write(), catalog)
    effect = effect_of(found, "mnli")
    assert effect.by_seed == pytest.approx({0: 60.0, 1: 100.0})
    assert effect.delta_by_seed == pytest.approx({0: (80 + 65) / 2 - (75 + 50) / 2})
    text = markdown.render(found)
    assert "2 of 3 languages (xnli)" in text
    assert "no baseline for seed 1" in text


def test_an_untrained_baseline_stands_for_every_seed(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right("tatoeba", de=10, ja=20), seed=0)
    folder.cell("mnli", languages_right("tatoeba", de=20, ja=20), seed=0)
    folder.cell("mnli", languages_right("tatoeba", de=30, ja=20), seed=1)
    effect = effect_of(find(folder.write(), catalog), "mnli", "tatoeba")
    assert effect.delta_by_seed == pytest.approx({0: 12.5, 1: 25.0})


def test_models_are_held_against_their_own_baseline(folder: Folder, catalog: Catalog) -> None:
    for model, before, after in (("one", 10, 20), ("two", 30, 28)):
        folder.cell("baseline", languages_right(de=before), model=model)
        folder.cell("mnli", languages_right(de=after), model=model)
    found = find(folder.write(), catalog)
    assert [effect_of(found, "mnli", model=model).delta for model in ("one", "two")] == pytest.approx(
        [25.0, -5.0]
    )


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
        folder.cell("mnli", languages_right("tatoeba", de=20 + seed), seed=seed, lineage=[_phase("mnli", [])])
    found = find(folder.write(), catalog)
    assert [effect_of(found, name, "tatoeba").untrained for name in ("baseline", "mnli")] == [True, False]
    text = markdown.render(found)
    assert "25.00<br>no seed |" in text
    assert text.count("no seed |") == 1, "the other target was trained"


# What a reader must be told


@pytest.mark.parametrize(("seeds", "told"), [(1, True), (2, True), (3, False)])
def test_few_seeds_do_not_estimate_seed_variance(
    folder: Folder, catalog: Catalog, seeds: int, told: bool
) -> None:
    for seed in range(seeds):
        folder.cell("baseline", [first(10)], seed=seed)
        folder.cell("mnli", [first(20 + seed)], seed=seed)
    found = find(folder.write(), catalog)
    for text in (markdown.render(found), html.render(found)):
        assert ("seed variance is not estimated" in text) is told


def test_what_is_missing_is_told_and_the_rest_is_shown(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [first(10)])
    unit = {"task": "xnli", "language": "sw", "seed": 0, "status": "failed", "error": "xnli/sw: no memory"}
    folder.cell("mnli", [first(20)], status="partial", units=[unit])
    folder.setting("qqp")
    other = {"model": "enc", "setting": "qqp", "seed": 0}
    folder.cells += [
        {**other, "id": "a", "folder": "runs/a", "status": "failed", "error": "loss is not finite"},
        {**other, "id": "b", "folder": "runs/b", "status": "missing", "seed": 1},
        {**other, "id": "c", "folder": "runs/c", "status": "done", "seed": 2},
    ]
    found = find(folder.write(), catalog)
    text = markdown.render(found).replace("\\", "")
    assert "5 cells: 1 done, 1 partial, 1 failed, 2 missing." in text
    assert "- enc, qqp, seed 0: failed: loss is not finite" in text
    assert "- enc, qqp, seed 1: missing\n" in text
    assert re.search(r"- enc, qqp, seed 2: missing: .*no run.json", text)
    assert "- enc, mnli, seed 0, xnli/sw: failed: xnli/sw: no memory" in text
    assert effect_of(found, "mnli").delta == pytest.approx(25.0)
    # Ten items better and none worse is beyond item noise; one seed never makes it bold with a star.
    assert "| xnli<br>accuracy | 25.00 | +25.00°<br>50.00 | – |" in text
    assert "with fewer than 3, nothing here does" in text


def test_an_experiment_without_baseline_or_without_anything_is_a_report(
    folder: Folder, catalog: Catalog
) -> None:
    assert find(folder.write(), catalog).matrix.effects == {}
    assert "0 cells: none" in markdown.render(find(folder.path, catalog))
    folder.settings = []
    folder.cell("mnli", [first(20)])
    found = find(folder.write(), catalog)
    assert effect_of(found, "mnli").delta is None
    for text in (markdown.render(found), html.render(found)):
        assert "no setting without intermediate training" in text


def test_damage_is_told(folder: Folder, catalog: Catalog) -> None:
    run = folder.cell("baseline", [first(10)])
    (run / "lineage.json").write_text("{", encoding="utf-8")
    found = find(folder.write(), catalog)
    assert "lineage.json: not readable" in found.experiment.cells[0].error
    assert effect_of(found, "baseline").score == pytest.approx(25.0)
    (run / "records.jsonl").write_text("{}\n", encoding="utf-8")
    assert find(folder.path, catalog).experiment.cells[0].status == "missing"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"kind": "run"}, "not the manifest of an experiment"),
        ({"schema": 2}, "schema version 2, this harness reads 1"),
        ({"settings": [{}]}, "damaged \\(KeyError: 'name'\\)"),
        ({"settings": []}, "cells name settings that it lacks: baseline"),
    ],
)
def test_a_manifest_that_is_none_is_refused(folder: Folder, changes: Mapping[str, Any], told: str) -> None:
    folder.cell("baseline", [first(10)])
    with pytest.raises(OutputError, match=told):
        read_experiment(folder.write(**changes))


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"experiment\.json: not readable"):
        read_experiment(tmp_path)


# Kinds of languages


def test_gains_by_kind_are_means_over_languages_then_targets(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [*languages_right(en=0, de=0, sw=0), *languages_right("tatoeba", de=0, ja=0)])
    folder.cell("mnli", [*languages_right(en=40, de=10, sw=4), *languages_right("tatoeba", de=20, ja=30)])
    found = find(folder.write(), catalog)
    gains = {(gain.dimension, gain.kind): gain for gain in found.kinds}
    # de 25 and 50 points, sw 10, ja 75; English left out.
    by_hand = {
        ("family", "Indo-European"): (25 + 50) / 2,
        ("family", "Niger-Congo"): 10,
        ("script", "Latin"): ((25 + 10) / 2 + 50) / 2,
        ("script", "Japanese"): 75,
        ("resources", "low (classes 0–2)"): 10,
        ("resources", "high (classes 3–5)"): (25 + (50 + 75) / 2) / 2,
        ("word order", "SVO"): 10,
        ("word order", "SOV"): 75,
        ("word order", "none"): (25 + 50) / 2,
        ("distance from English", "1 of 4"): (25 + 50) / 2,
        ("distance from English", "2 of 4"): 10,
        ("distance from English", "4 of 4"): 75,
    }
    assert {place: gains[place].gain for place in by_hand} == pytest.approx(by_hand)
    assert gains["script", "Latin"].languages == ("de", "sw")
    assert {kind for dimension, kind in gains if dimension == "family"} == {
        "Indo-European",
        "Niger-Congo",
        "Japonic",
    }


def test_word_orders_and_distances_are_there_for_every_language_of_the_table() -> None:
    from harness import typology

    orders = {code: typology_facts.word_order(code) for code in typology.known()}
    distances = {code: typology_facts.distance_from_english(code) for code in typology.known()}
    assert None not in orders.values()
    assert {code for code, distance in distances.items() if distance == 0} == {"en"}
    assert {code for code, distance in distances.items() if distance == 1} >= {"nl", "de", "af", "fr", "pl"}
    assert {distances[code] for code in ("ja", "ko", "ta", "my")} == {4}
    assert [distances[code] for code in ("ru", "hi", "el", "zh", "tr")] == [2, 3, 3, 3, 3]
    assert typology_facts.distance_from_english("yue") is None


# Forgetting


def _phase(task: str, dev: Sequence[tuple[str, float]], **facts: Any) -> dict[str, Any]:
    entries = [
        {
            "task": name,
            "metric": "masked_lm_loss" if name == "mlm" else "accuracy",
            "value": value,
            "n": 10,
            "higher_is_better": name != "mlm",
        }
        for name, value in dev
    ]
    courses = [
        {
            "task": task,
            "from": task,
            "language": "en",
            "examples": 100,
            "weight": 1.0,
            "share": 1.0,
            "steps": 5,
        }
    ]
    usual = {
        "schema": 2,
        "kind": "intermediate",
        "parent": {"name": "enc", "weights": "w"},
        "courses": courses,
    }
    return {**usual, "key": f"{task}-{len(dev)}", "seed": 0, "steps": 5, "dev": entries, **facts}


def test_forgetting_is_the_best_phase_minus_the_last(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [first(10)])
    for seed, lost in enumerate((6.0, 2.0)):
        lineage = [
            _phase("mlm", [("mlm", 2.0)]),
            _phase("mnli", [("mlm", 2.5), ("mnli", 80.0)]),
            _phase("qqp", [("mlm", 3.5), ("mnli", 80.0 - lost), ("qqp", 90.0)]),
        ]
        folder.cell("seq", [first(10)], seed=seed, lineage=lineage)
    found = find(folder.write(), catalog)
    table = {entry.task: (entry.values, entry.drop) for entry in found.forgotten}
    assert table == {
        "mlm": ((2.0, 2.5, 3.5), 1.5),
        "mnli": ((None, 80.0, 76.0), 4.0),
        "qqp": ((None, None, 90.0), None),
    }
    text = markdown.render(found).replace("\\", "")
    assert "| task | metric | after 1. mlm | after 2. mnli | after 3. qqp | forgotten | seeds |" in text
    assert "| mlm | masked_lm_loss (lower is better) | 2.00 | 2.50 | 3.50 | **1.50** | 2 |" in text


def test_dev_sets_of_other_languages_splits_or_limits_are_not_compared(
    folder: Folder, catalog: Catalog
) -> None:
    def phase(value: float, **held_out: Any) -> dict[str, Any]:
        made = _phase("mlm", [("mlm", value)])
        usual = {"split": "dev", "languages": ["de"], "limit": 500}
        return {**made, "dev": [{**made["dev"][0], **usual, **held_out}]}

    second: dict[str, dict[str, Any]] = {
        "languages": {"languages": ["th"]},
        "split": {"split": "test"},
        "limit": {"limit": None},
        "same": {},
    }
    for setting, held_out in second.items():
        folder.cell(setting, [first(10)], lineage=[phase(2.0), phase(3.5, **held_out)])
    found = find(folder.write(), catalog)
    compared = {
        setting: [(entry.values, entry.drop) for entry in found.forgotten if entry.setting == setting]
        for setting in second
    }
    apart = [((2.0, None), None), ((None, 3.5), None)]
    assert compared == {"languages": apart, "split": apart, "limit": apart, "same": [((2.0, 3.5), 1.5)]}
    text = markdown.render(found).replace("\\", "")
    assert "| mlm (dev, de, 500 at most) | masked_lm_loss (lower is better) | 2.00 | – | – | 1 |" in text
    assert "| mlm (dev, th, 500 at most) | masked_lm_loss (lower is better) | – | 3.50 | – | 1 |" in text
    assert "| mlm (dev, de) |" in text
    assert "| mlm | masked_lm_loss (lower is better) | 2.00 | 3.50 | **1.50** | 1 |" in text
    assert text.count("mlm: measured on several dev sets, which are not compared with each other") == 3
    rows = [row for row in tidy(found)["forgetting"] if row["setting"] == "languages"]
    assert [row["held_out"] for row in rows] == 2 * ["dev, de, 500 at most"] + 2 * ["dev, th, 500 at most"]


def test_a_task_that_got_better_is_not_forgotten(folder: Folder, catalog: Catalog) -> None:
    lineage = [_phase("a", [("a", 50.0)]), _phase("b", [("a", 60.0), ("b", 1.0)])]
    folder.cell("seq", [first(10)], lineage=lineage)
    assert {entry.task: entry.drop for entry in find(folder.write(), catalog).forgotten} == {
        "a": 0.0,
        "b": None,
    }


def test_lineages_without_dev_scores_or_courses_are_taken_as_they_are(
    folder: Folder, catalog: Catalog
) -> None:
    folder.cell("seq", [first(10)], lineage=[{}, {"courses": [{}], "curve": [{"step": 1}], "ours": ["x"]}])
    found = find(folder.write(), catalog)
    assert found.forgotten == []
    assert "not written down" in markdown.render(found)
    assert "unknown base" in html.render(found)


# Sizes


def test_size_curves_are_fitted_by_least_squares_on_the_logarithm(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right(en=10, de=10, sw=4))
    sizes = {"1%": (100, 12, 8), "10%": (1000, 20, 10), "100%": (10000, 22, 18)}
    for label, (examples, de, sw) in sizes.items():
        folder.setting(f"mnli {label}", size=label, task="mnli")
        course = {"task": "mnli", "examples": examples}
        text = {"task": "mlm", "examples": 7}
        lineage = [_phase("mnli", [], courses=[course, text], key=label)]
        folder.cell(f"mnli {label}", languages_right(en=30, de=de, sw=sw), lineage=lineage)
    found = find(folder.write(), catalog)
    curves = {curve.of: curve for curve in found.curves}
    assert list(curves) == [ALL, HIGH, LOW, "de", "en", "sw"]
    assert {curve.name for curve in found.curves} == {"mnli"}
    german = curves["de"]
    assert (german.labels, german.sizes, german.unit) == (
        ("1%", "10%", "100%"),
        (100, 1000, 10000),
        "examples",
    )
    assert german.scores == pytest.approx((30.0, 50.0, 55.0))
    b, a = np.polyfit(np.log(german.sizes), german.scores, 1)
    assert german.fit is not None
    assert (german.fit.a, german.fit.b) == pytest.approx((a, b))
    assert german.fit.per_tenfold == pytest.approx(12.5)
    assert german.fit.r_squared == pytest.approx(np.corrcoef(np.log(german.sizes), german.scores)[0, 1] ** 2)
    assert curves[LOW].scores == pytest.approx(curves["sw"].scores)
    assert curves[HIGH].scores == pytest.approx(german.scores)
    assert curves[ALL].scores == pytest.approx((125 / 3, 150 / 3, 175 / 3))
    assert curves[ALL].baseline == pytest.approx(20.0)
    assert curves["en"].fit is not None
    assert curves["en"].fit.r_squared is None, "a flat line has no variance to explain"
    page = html.render(found)
    assert "enc: mnli: xnli, means" in page
    assert page.count("<title>fit, ") == 3
    assert "100% (10,000)" in page


def test_without_counts_the_sizes_as_written_are_the_axis(folder: Folder, catalog: Catalog) -> None:
    for label in ("0.1", "50%", "half"):
        folder.setting(label, size=label)
        folder.cell(label, [first(10)])
    (curve, *_) = find(folder.write(), catalog).curves
    assert (curve.labels, curve.sizes, curve.unit) == (("0.1", "50%"), (0.1, 0.5), "size as written")
    assert curve.fit is not None
    assert (curve.fit.sizes, curve.fit.r_squared) == (2, None)
    assert as_number("0") is None


def _two_sizes(folder: Folder, rights: Mapping[str, Mapping[int, int]]) -> None:
    """Setting to seed to right answers in German; 10 % and 100 % of a training set."""
    for label, examples in (("10%", 100), ("100%", 1000)):
        folder.setting(f"mnli {label}", size=label)
        for seed, right in rights[label].items():
            lineage = [_phase("mnli", [], courses=[{"task": "mnli", "examples": examples}])]
            folder.cell(f"mnli {label}", [first(right)], seed=seed, lineage=lineage)
    for seed, right in rights.get("baseline", {}).items():
        folder.cell("baseline", [first(right)], seed=seed)


def test_sizes_are_compared_over_the_seeds_of_all(folder: Folder, catalog: Catalog) -> None:
    """Each seed gains 5 points from ten times the data; seed 1 is 20 points better and lacks the larger size."""
    rights = {"baseline": {0: 16, 1: 24, 2: 1}, "10%": {0: 18, 1: 26}, "100%": {0: 20}}
    _two_sizes(folder, rights)
    found = find(folder.write(), catalog)
    german = next(curve for curve in found.curves if curve.of == "de")
    assert german.scores == pytest.approx((45.0, 50.0))
    assert german.baseline == pytest.approx(40.0)
    assert german.fit is not None
    assert german.fit.per_tenfold == pytest.approx(5.0)
    told = "over seed 0, which all sizes and the baseline have; left out: seeds 1, 2"
    assert f"- {told}" in markdown.render(found)


def test_a_baseline_without_the_seeds_of_the_sizes_is_left_out(folder: Folder, catalog: Catalog) -> None:
    _two_sizes(folder, {"baseline": {5: 16}, "10%": {0: 18, 1: 26}, "100%": {0: 20, 1: 30}})
    found = find(folder.write(), catalog)
    german = next(curve for curve in found.curves if curve.of == "de")
    assert german.scores == pytest.approx((55.0, 62.5))
    assert german.baseline is None
    assert "over seeds 0, 1, which all sizes have; the baseline has none of them; left out: seed 5" in (
        markdown.render(found)
    )


def test_sizes_without_a_common_seed_are_no_curve_and_it_is_told(folder: Folder, catalog: Catalog) -> None:
    _two_sizes(folder, {"baseline": {0: 16}, "10%": {0: 18}, "100%": {1: 20}})
    found = find(folder.write(), catalog)
    assert [curve.scores for curve in found.curves] == [()]
    assert tidy(found)["sizes"] == []
    assert "- no curve: the sizes have no seed and language in common" in markdown.render(found)


def test_sizes_are_compared_over_the_items_of_all(folder: Folder, catalog: Catalog) -> None:
    ids = [str(place) for place in range(80)]
    folder.cell("baseline", [first(40, n=80, ids=ids)])
    for label, answers in (
        ("0.1", first(50, n=80, ids=ids)),
        ("1.0", first(20, n=40, ids=ids[40:])),
    ):
        folder.setting(label, size=label)
        folder.cell(label, [answers])
    found = find(folder.write(), catalog)
    for curve in found.curves:
        assert curve.scores == pytest.approx((25.0, 50.0))
        assert curve.baseline == pytest.approx(0.0)
    told = "- not the same items were scored (de: 40–80 items); compared over the common ones"
    assert told in markdown.render(found)


@given(
    st.floats(-50, 50),
    st.floats(-20, 20),
    st.lists(st.floats(1, 1e6), min_size=3, max_size=8, unique_by=lambda size: round(math.log(size), 2)),
)
def test_a_line_is_found_again(a: float, b: float, sizes: list[float]) -> None:
    fit = fit_of(sizes, [a + b * math.log(size) for size in sizes])
    assert fit is not None
    assert (fit.a, fit.b) == pytest.approx((a, b), abs=1e-6)


# Orders


def test_order_effects_are_held_against_seeds(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [first(8)])
    scores = {"a > b": (10, 12, 14), "b > a": (20, 22, 30), "a > c": (1, 1, 1)}
    for order, rights in scores.items():
        folder.setting(order, order=order)
        for seed, right in enumerate(rights):
            folder.cell(order, [first(right)], seed=seed)
    (effect,) = find(folder.write(), catalog).orders
    assert effect.group == "a + b"
    assert effect.means == pytest.approx({"a > b": 30.0, "b > a": 60.0})
    assert (effect.best, effect.worst) == ("b > a", "a > b")
    assert effect.span == pytest.approx(30.0)
    within = (variance((25.0, 30.0, 35.0)) + variance((50.0, 55.0, 75.0))) / 2
    assert effect.over_orders == pytest.approx(variance((30.0, 60.0)))
    assert effect.over_seeds == pytest.approx(within)
    assert effect.beyond_seeds == pytest.approx(variance((30.0, 60.0)) - within / 3)
    assert effect.baseline == pytest.approx(20.0)


def test_one_seed_leaves_the_variance_of_seeds_unknown(folder: Folder, catalog: Catalog) -> None:
    for order, right in (("a > b", 10), ("b > a", 20)):
        folder.setting(order, order=order)
        folder.cell(order, [first(right)])
    found = find(folder.write(), catalog)
    (effect,) = found.orders
    assert (effect.over_seeds, effect.beyond_seeds, effect.tied) == (None, None, False)
    assert "1 seed: seed variance is not estimated, so no order effect" in markdown.render(found)


def test_orders_are_compared_over_the_languages_and_seeds_of_all(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right(en=20, sw=0))
    for order, cells in {
        "a > b": [{"en": 30, "sw": 4}, {"en": 40, "sw": 40}],
        "b > a": [{"en": 28}],
    }.items():
        folder.setting(order, order=order)
        for seed, rights in enumerate(cells):
            answers = [first(right, language=code) for code, right in rights.items()]
            folder.cell(order, answers, seed=seed)
    folder.setting("gone", order="a, b")
    (effect,) = find(folder.write(), catalog).orders
    assert effect.by_order == {"a > b": {0: pytest.approx(75.0)}, "b > a": {0: pytest.approx(70.0)}}
    assert (effect.languages, effect.left_out, effect.seeds) == (("en",), ("a, b",), 1)
    assert effect.baseline == pytest.approx(50.0)


def test_orders_are_compared_over_the_items_of_all(folder: Folder, catalog: Catalog) -> None:
    """One order left the easy half out, for it was learned; on the other half it is the better one."""
    ids = [str(place) for place in range(80)]
    lost = Path()
    for order, answers in {
        "baseline": first(40, n=80, ids=ids),
        "a > b": first(50, n=80, ids=ids),
        "b > a": first(20, n=40, ids=ids[40:]),
    }.items():
        if order != "baseline":
            folder.setting(order, order=order)
        lost = folder.cell(order, [answers])
    found = find(folder.write(), catalog)
    (effect,) = found.orders
    assert effect.means == pytest.approx({"a > b": 25.0, "b > a": 50.0})
    assert effect.best == "b > a"
    assert effect.baseline == pytest.approx(0.0)
    told = "enc, xnli, a + b: not the same items were scored (de: 40–80 items)"
    assert f"- {told}; compared over the common ones" in markdown.render(found).replace("\\", "")
    next(lost.rglob("*.parquet")).unlink()
    found = find(folder.path, catalog)
    assert found.orders[0].means == pytest.approx({"a > b": 62.5, "b > a": 50.0}), "as recorded, and marked"
    text = markdown.render(found).replace("\\", "")
    assert f"- {told}, so scores may differ by their items alone; over the common ones they cannot" in text


def test_two_sequences_that_a_recipe_writes_out_are_one_group(folder: Folder, catalog: Catalog) -> None:
    import yaml

    from harness.recipesettings import read_settings
    from harness.recipestages import StageKeys
    from harness.yamlnodes import Value

    text = "[{name: baseline}, {sequential: [squad_v1, mnli]}, {sequential: [mnli, squad_v1]}]"
    read = read_settings(Value(node=yaml.compose(text), file="recipe", line=1), StageKeys())
    for place, setting in enumerate(read):
        folder.settings = [one for one in folder.settings if one["name"] != setting.name]
        stages = [{"tasks": list(stage.tasks)} for stage in setting.stages]
        folder.settings.append({"name": setting.name, "axes": dict(setting.axes), "stages": stages})
        folder.cell(setting.name, [first(10 + place)])
    (effect,) = find(folder.write(), catalog).orders
    assert effect.group == "mnli + squad_v1"
    assert list(effect.by_order) == ["squad_v1 > mnli", "mnli > squad_v1"]


def test_equal_orders_have_no_best_one(folder: Folder, catalog: Catalog) -> None:
    for order in ("a > b", "b > a"):
        folder.setting(order, order=order)
        folder.cell(order, [first(10)])
    assert "| a + b | xnli | all equal | all equal | 25.00 |" in markdown.render(
        find(folder.write(), catalog)
    )


# Choice


def _with_dev(folder: Folder, dev: Mapping[str, int]) -> None:
    test = {"baseline": 10, "good": 30, "better": 32}
    for setting, right in test.items():
        held_out = [first(dev[setting], language="en", split="dev")] if setting in dev else []
        folder.cell(setting, [*languages_right(en=20, de=right), *held_out])


def test_english_dev_chooses_and_is_not_averaged_into_the_scores(folder: Folder, catalog: Catalog) -> None:
    _with_dev(folder, {"baseline": 40, "good": 39, "better": 38})
    found = find(folder.write(), catalog)
    (choice,) = found.choices
    assert (choice.effect.setting, choice.chosen_on) == ("good", "English dev")
    assert choice.dev == pytest.approx(97.5)
    assert (choice.oracle.setting, choice.candidates) == ("better", ("good", "better"))
    assert effect_of(found, "good").scores == pytest.approx({"en": 50.0, "de": 75.0})


@pytest.mark.parametrize("dev", [{}, {"good": 39}], ids=["no dev", "dev of one"])
def test_without_dev_of_every_candidate_the_choice_is_an_oracle(
    folder: Folder, catalog: Catalog, dev: Mapping[str, int]
) -> None:
    _with_dev(folder, dev)
    found = find(folder.write(), catalog)
    (choice,) = found.choices
    assert (choice.effect.setting, choice.is_oracle, choice.dev) == ("better", True, None)
    assert "1 of 1 chosen by an oracle" in markdown.render(found)


def test_a_target_that_is_scored_on_dev_only_is_a_target(folder: Folder, catalog: Catalog) -> None:
    for setting, right in (("baseline", 10), ("mnli", 20)):
        folder.cell(setting, [first(right, split="dev")])
    found = find(folder.write(), catalog)
    assert effect_of(found, "mnli").delta == pytest.approx(25.0)
    assert found.choices[0].is_oracle


@pytest.mark.parametrize("same", [True, False])
def test_a_dev_set_that_is_the_test_set_leaves_the_choice_an_oracle(
    folder: Folder, catalog: Catalog, same: bool
) -> None:
    """XQuAD and TyDiQA have no other dev set; equal ids alone do not make two sets one."""
    ids = [str(place) for place in range(N)]
    for setting, (test, dev) in {"baseline": (10, 10), "good": (30, 32), "better": (32, 30)}.items():
        data = {"data": "one"} if same else {}
        folder.cell(
            setting,
            [
                first(test, language="en", ids=ids, record=data),
                first(dev, language="en", split="dev", ids=ids, record=data),
            ],
        )
    found = find(folder.write(), catalog)
    (choice,) = found.choices
    assert (choice.effect.setting, choice.is_oracle) == (("better", True) if same else ("good", False))
    assert ("xnli: oracle, because its English dev set is the test set" in markdown.render(found)) is same


def test_candidates_are_compared_over_what_all_of_them_have(folder: Folder, catalog: Catalog) -> None:
    """The better one lacks the harder language and has a worse seed more; over all it would lose or win by that alone."""
    folder.cell("baseline", languages_right(en=10, sw=10))
    folder.cell("whole", languages_right(en=32, sw=4))
    folder.cell("part", languages_right(en=30))
    folder.cell("two", languages_right(en=34, sw=20), seed=0)
    folder.cell("two", languages_right(en=0, sw=0), seed=1)
    folder.cell("none", [], seed=0)
    folder.cell("tie", languages_right(en=34, sw=0))
    found = find(folder.write(), catalog)
    (choice,) = found.choices
    assert (choice.oracle.setting, choice.languages, choice.seeds) == ("two", ("en",), (0,))
    assert choice.oracle_score == pytest.approx(85.0)
    assert (choice.candidates, choice.ties) == (("whole", "part", "two", "tie"), ("tie",))
    assert dict(choice.left_out) == {"none": "no score"}
    text = markdown.render(found)
    assert "- xnli: as good as two: tie" in text
    assert "1 of 2 languages and 1 of 2 seeds" in text
    assert "- xnli: none is no candidate: no score" in text
    assert "| xnli | two | oracle: the reported scores themselves | 4 |" in text


@pytest.mark.parametrize("split", ["test", "dev"])
def test_candidates_are_compared_over_the_items_of_all(folder: Folder, catalog: Catalog, split: str) -> None:
    """One left the easy half out, for it was learned: its recorded score is the lower one, on the rest it is better."""
    ids = [str(place) for place in range(80)]
    sides = {"whole": first(50, n=80, ids=ids), "part": first(20, n=40, ids=ids[40:])}
    run = Path()
    for setting, answers in {"baseline": first(40, n=80, ids=ids), **sides}.items():
        scored = replace(answers, language="en", split=split)
        run = folder.cell(setting, [scored, first(10)] if split == "dev" else [scored])
    found = find(folder.write(), catalog)
    (choice,) = found.choices
    assert choice.effect.setting == "part"
    assert (choice.dev if split == "dev" else choice.oracle_score) == pytest.approx(50.0)
    told = "xnli: not the same items were scored (en: 40–80 items)"
    on = "xnli: on English dev not the same items were scored (en: 40–80 items)"
    told = f"{on if split == 'dev' else told}; compared over the common ones"
    assert f"- {told}" in markdown.render(found).replace("\\", "")
    next(run.rglob(f"*.{split}/**/en.parquet")).unlink()
    found = find(folder.path, catalog)
    (choice,) = found.choices
    text = markdown.render(found).replace("\\", "")
    if split == "test":
        assert choice.effect.setting == "whole", "as recorded, and marked"
        assert "so scores may differ by their items alone; over the common ones they cannot be had" in text
    else:
        assert choice.is_oracle
        assert "oracle, because on English dev not the same items were scored (en: 40–80 items)" in text


def test_dev_is_compared_over_the_seeds_of_all(folder: Folder, catalog: Catalog) -> None:
    for setting, rights in {"baseline": (1,), "a": (20, 40), "b": (24,)}.items():
        for seed, right in enumerate(rights):
            folder.cell(setting, [first(10), first(right, language="en", split="dev")], seed=seed)
    (choice,) = find(folder.write(), catalog).choices
    assert choice.effect.setting == "b"
    assert choice.dev == pytest.approx(60.0)


def test_candidates_without_a_common_seed_are_not_chosen_among(folder: Folder, catalog: Catalog) -> None:
    for place, setting in enumerate(("a", "b", "c")):
        folder.cell(setting, [first(10)], seed=place % 2)
    found = find(folder.write(), catalog)
    assert found.choices == []


def test_why_dev_could_not_be_scored_is_told(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [first(10)])
    run = folder.cell("mnli", [first(20)], seed=3)
    (run / "development.json").write_text('{"error": "xnli/en: no\\nsuch file"}', encoding="utf-8")
    text = markdown.render(find(folder.write(), catalog))
    assert "- mnli, seed 3: English dev could not be scored: xnli/en: no such file" in text
    (run / "development.json").write_text("{", encoding="utf-8")
    assert "development.json: not readable" in markdown.render(find(folder.path, catalog))


# Published numbers


def test_published_numbers_stand_beside_ours_of_the_same_metric(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right(en=30, de=20))
    published = [
        {
            "model": "XLM-R Large",
            "task": "xnli",
            "metric": "accuracy",
            "value": 79.2,
            "source": "RemBERT <T16>",
        },
        {"model": "XLM-R Large", "task": "xnli", "metric": "macro_f1", "value": 78.0, "source": "made up"},
        {
            "model": "XLM-R Large",
            "task": "mlqa",
            "metric": "f1",
            "value": 71.6,
            "source": "not a target here",
        },
    ]
    found = find(folder.write(), catalog, published)
    one, other = found.published
    assert one.ours == pytest.approx({("enc", "baseline"): 62.5})
    assert one.marks == ("2 of 3 languages",)
    assert other.ours == {}
    assert "RemBERT &lt;T16&gt;" in html.render(found)
    assert "not a target here" not in html.render(found)
    assert as_json(found)["published"][0]["ours"] == [
        {"model": "enc", "setting": "baseline", "value": pytest.approx(62.5)}
    ]


def test_the_recipe_names_its_published_numbers_and_a_suite_has_one_too(
    folder: Folder, catalog: Catalog
) -> None:
    from harness.baselines import Baseline, Published

    numbers = (
        Published(model="big", task="small", metric="mean", value=50.0, source="a paper"),
        Published(model="big", task="small", metric="mean", value=5.0, source="a paper", over="small"),
    )
    known = {"numbers": Baseline(name="numbers", title="Numbers", numbers=numbers)}
    folder.recipe["baselines"] = ["numbers", "gone"]
    both = [*languages_right(en=30, de=20, sw=10), *languages_right("tatoeba", de=40, ja=20)]
    folder.cell("baseline", both)
    folder.cell("mnli", both[:3])
    found = find(folder.write(), replace(catalog, baselines=known))
    (one,) = found.published
    assert one.ours == pytest.approx({("enc", "baseline"): (50 + 75) / 2})
    assert one.marks == ()
    assert "published numbers 'gone': no installed plugin has them" in markdown.render(found)


def _number(**changes: Any) -> dict[str, Any]:
    usual = {"model": "big", "task": "xnli", "metric": "accuracy", "value": 80.0, "source": "a paper"}
    return {**usual, **changes}


def test_dev_records_do_not_take_our_number_away(folder: Folder, catalog: Catalog) -> None:
    """Two metrics' mean is published; the dev set's table comes first."""
    second = {"metric": "macro_f1", "signature": "macro_f1|x|v1", "main": False, "value": 30.0}
    answers = [
        one
        for split, right in (("dev", 40), ("test", 20))
        for one in (
            first(right, language="en", split=split, record={"variant": f"{split}.head"}),
            first(right, language="en", split=split, record={**second, "variant": f"{split}.head"}),
        )
    ]
    folder.cell("baseline", [*answers, first(10, record={"variant": "test.head"})])
    extra = first(10, record={**second, "variant": "test.head", "value": 20.0})
    folder.cell("mnli", [*answers, first(12, record={"variant": "test.head"}), extra])
    both = _number(metric="accuracy / macro_f1")
    found = find(folder.write(), catalog, [both, _number(metric="macro_f1")])
    assert found.published[0].ours == pytest.approx({("enc", "mnli"): ((50 + 30) / 2 + (30 + 20) / 2) / 2})
    assert found.published[1].ours == pytest.approx({("enc", "mnli"): 25.0})


def test_published_numbers_of_a_language_stand_beside_ours_of_it(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right(en=30, de=20))
    numbers = [_number(), _number(language="de", value=77.7), _number(language="sw", value=66.6)]
    found = find(folder.write(), catalog, numbers)
    assert [entry.ours for entry in found.published] == [
        {("enc", "baseline"): pytest.approx(62.5)},
        {("enc", "baseline"): pytest.approx(50.0)},
    ]
    assert found.published[1].marks == (), "a language needs no other"
    text = markdown.render(found)
    assert "| xnli | de German | big | accuracy | a paper | 77.7 | 50.00 |" in text
    assert "66.6" not in text


def test_published_gains_stand_beside_ours(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [*languages_right(de=10), *languages_right("tatoeba", de=10)])
    folder.cell("mnli", [*languages_right(de=20), *languages_right("tatoeba", de=8)])
    folder.cell("qqp", [*languages_right(de=12), *languages_right("tatoeba", de=12)])
    folder.cell("half", languages_right(de=40))
    gain = _number(task="small", metric="mean", value=5.4, over="base")
    found = find(
        folder.write(), catalog, [gain, _number(over="base", value=1.0), _number(task="other", over="x")]
    )
    suite, target = found.gains
    # Best per target: half (+75) on xnli, qqp (+5) on Tatoeba.
    by_hand = {"best per target": 40.0, "mnli": 10.0, "qqp": 5.0}
    assert suite.ours == pytest.approx({("enc", name): value for name, value in by_hand.items()})
    assert target.ours["enc", "half"] == pytest.approx(75.0)
    assert found.published == []
    assert "| small | big | base | mean | a paper | +5.4 | +40.00 | +10.00 | +5.00 |" in markdown.render(
        found
    )
    assert [row["over"] for row in as_json(found)["published"]] == ["base", "base"]


# Every metric, families, and which sections


def test_every_metric_has_its_means_and_models_their_families(folder: Folder, catalog: Catalog) -> None:
    def answers(right: int, f1: float) -> list[Answers]:
        other = {"metric": "macro_f1", "signature": "macro_f1|x|v1", "main": False, "value": f1}
        return [
            *(first(right, language=code) for code in ("en", "de")),
            *(first(right, language=code, record=other) for code in ("en", "de")),
            first(40, language="en", split="dev", record=other),
        ]

    for model, more in (("one", 0), ("two", 8)):
        for seed in range(2):
            folder.cell("baseline", answers(10, 20.0 + more), model=model, seed=seed)
            folder.cell("mnli", answers(20 + 2 * seed, 40.0 + more + seed), model=model, seed=seed)
    models = [{"name": "one", "family": "dense"}, {"name": "two", "family": "mixture of experts"}]
    found = find(folder.write(models=models), catalog)
    means = {(one.model, one.setting, one.metric): (one.score, one.delta) for one in found.metrics}
    assert means["one", "mnli", "macro_f1"] == pytest.approx((40.5, 20.5))
    assert means["two", "baseline", "macro_f1"][0] == pytest.approx(28.0)
    assert means["two", "baseline", "macro_f1"][1] is None
    assert means["two", "mnli", "accuracy"] == pytest.approx((52.5, 27.5))
    text = markdown.render(found).replace("\\", "")
    assert "| target | metric | model | family | baseline | mnli |" in text
    rows = re.findall(r"\| xnli \| (accuracy|macro_f1) \| (one|two) \|", text)
    assert rows == [("accuracy", "one"), ("accuracy", "two"), ("macro_f1", "one"), ("macro_f1", "two")]
    assert "| xnli | macro_f1 | two | mixture of experts | 28.00 | 48.50<br>+20.50 |" in text
    row = next(row for row in tidy(found)["metrics"] if row["metric"] == "macro_f1")
    assert (row["model"], row["family"], row["baseline"], row["seeds"]) == ("one", "dense", True, 2)


@pytest.mark.parametrize(
    ("named", "anchors"),
    [
        (None, {"best", "orders", "sizes", "forgetting", "kinds"}),
        (["transfer"], set()),
        (["transfer", "order", "forgetting"], {"orders", "forgetting"}),
        (["best_intermediate", "sizes", "typology", "baselines"], {"best", "sizes", "kinds", "published"}),
    ],
)
def test_the_recipe_chooses_the_sections(
    folder: Folder, catalog: Catalog, named: list[str] | None, anchors: set[str]
) -> None:
    if named is not None:
        folder.recipe["analyses"] = named
    numbers = [_number()] if named else []
    shown = {section.anchor for section in sections(find(_whole(folder), catalog, numbers))}
    always = {"matrix", "missing", "languages", "metrics", "training", "ours", "cells"}
    assert shown == always | anchors


def test_what_was_written_from_knowledge_says_so() -> None:
    for name in ("word order", "distance from English"):
        assert "written from knowledge" in SOURCES[name]


# Hyper-parameters and lineage


def test_hyper_parameters_of_ours_are_told_with_value_and_task(folder: Folder, catalog: Catalog) -> None:
    courses = [
        {"task": "mnli", "epochs": 3, "batch_size": 32, "ours": ["epochs", "batch_size"]},
        {"task": "squad", "epochs": 3, "batch_size": 16, "ours": ["epochs", "batch_size"]},
    ]
    facts = {"courses": courses, "ours": ["epochs", "patience"], "schedule": {"patience": 30}, "key": "k"}
    folder.cell("multi", [first(10)], lineage=[_phase("mnli", [], **facts)])
    text = markdown.render(find(folder.write(), catalog)).replace("\\", "")
    for row in ("| batch_size | 16 | squad |", "| batch_size | 32 | mnli |", "| epochs | 3 | mnli, squad |"):
        assert row in text
    assert "| patience | 30 | mnli + squad |" in text


def test_a_lineage_tells_base_phases_data_and_changes(folder: Folder, catalog: Catalog) -> None:
    course = {"task": "mnli", "from": "mnli:train", "language": "en", "examples": 1000, "data": "d1g3st"}
    phase = _phase("mnli", [], courses=[course], key="k3y", changed={"epochs": 1}, seed=7)
    folder.cell("mnli", [first(10)], lineage=[phase])
    assert (
        "enc w → [mnli:train, in en, 1,000 examples, data d1g3st] (5 steps, seed 7, key k3y, changed epochs=1)"
        in markdown.render(find(folder.write(), catalog)).replace("\\", "")
    )


# Outputs


def _whole(folder: Folder, name: str = "mnli") -> Path:
    """An experiment with something of everything."""
    for seed in range(2):
        folder.cell(
            "baseline",
            [*languages_right(en=30, de=20, sw=10), *languages_right("tatoeba", de=10, ja=5)],
            seed=seed,
        )
    curve = [{"step": step, "loss": 2.0 / step} for step in range(1, 6)]
    facts = {"curve": curve, "ours": ["epochs"], "schedule": {"epochs": 3}}
    one = _phase(name, [(name, 80.0)], **facts)
    two = _phase("qqp", [(name, 70.0), ("qqp", 90.0)], **facts)
    for setting, axes, lineage, more in (
        (f"{name} > qqp", {"order": f"{name} > qqp"}, [one, two], 12),
        (f"qqp > {name}", {"order": f"qqp > {name}"}, [two, one], 2),
        (f"{name} 10%", {"size": "0.1"}, [one], 4),
    ):
        folder.setting(setting, **axes)
        for seed in range(2):
            right = [
                *languages_right(en=30 + seed, de=20 + more, sw=10 + more),
                *languages_right("tatoeba", de=10 + more, ja=5),
            ]
            folder.cell(setting, right, seed=seed, lineage=lineage)
    folder.cells.append(
        {
            "id": "x",
            "model": "enc",
            "setting": "baseline",
            "seed": 2,
            "status": "failed",
            "error": f"{name} <failed>",
        }
    )
    return folder.write()


def test_the_markdown_of_a_small_experiment(folder: Folder, catalog: Catalog) -> None:
    """To renew it, write what this test renders to the file and read the difference."""
    assert markdown.render(find(_whole(folder), catalog)) == GOLDEN.read_text(encoding="utf-8")


class _Page(HTMLParser):
    """Which elements a page has, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        values = dict(attrs)
        if "id" in values:
            self.anchors.add(f"#{values['id']}")
        if tag == "a":
            self.links.add(values["href"] or "")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(folder: Folder, catalog: Catalog) -> None:
    text = html.render(find(_whole(folder), catalog))
    page = _Page(text)
    assert page.open == []
    assert page.links == page.anchors
    assert page.links >= {
        "#matrix",
        "#missing",
        "#best",
        "#orders",
        "#sizes",
        "#forgetting",
        "#kinds",
        "#cells",
    }
    assert {"script", "img", "link"}.isdisjoint(page.seen)
    assert not re.findall(r"@import|url\(|https?:|src=", text)
    # Orders of two targets, the loss of two phases; one size makes no curve.
    assert page.seen.count("svg") == 2 + 2


def test_names_that_others_wrote_are_escaped(folder: Folder, catalog: Catalog) -> None:
    evil = '<script>alert("1")</script>|x'
    folder.recipe["title"] = folder.recipe["question"] = evil
    folder.recipe["notes"] = [evil]
    found = find(_whole(folder, evil), catalog)
    page = _Page(html.render(found))
    assert "script" not in page.seen
    assert "&lt;script&gt;" in html.render(found)
    text = markdown.render(found)
    assert "<script>" not in text.replace("\\<script\\>", "")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "script" in line]
    assert rows
    table = [re.sub(r"\\.", "", row).count("|") for row in rows if row.startswith("| target")]
    assert set(table) == {6, 9}, "a bar in a name is not a column"


def test_the_files_are_written_and_the_tables_can_be_read_again(folder: Folder, catalog: Catalog) -> None:
    path = _whole(folder)
    page = write_experiment_report(path, catalog)
    assert page == path / "report.html"
    names = {"matrix", "languages", "forgetting", "sizes", "orders", "best", "metrics"}
    assert (
        {file.name for file in path.glob("*.csv")}
        == {f"{name}.csv" for name in names}
        == {f"{name}.csv" for name in COLUMNS}
    )
    rows = list(csv.DictReader(io.StringIO((path / "matrix.csv").read_text(encoding="utf-8"))))
    (row,) = [one for one in rows if one["setting"] == "mnli > qqp" and one["target"] == "xnli"]
    assert float(row["score"]) == pytest.approx((75 + 1.25 + 80 + 55) / 3)
    assert float(row["delta"]) == pytest.approx((1.25 + 30 + 30) / 3)
    assert (row["test"], row["seeds"], row["items"]) == ("bootstrap", "2", "120")
    assert float(row["p_holm"]) == pytest.approx(min(1.0, float(row["p_holm"])))
    languages = list(csv.DictReader(io.StringIO((path / "languages.csv").read_text(encoding="utf-8"))))
    (swahili,) = [one for one in languages if one["setting"] == "mnli > qqp" and one["language"] == "sw"]
    assert (swahili["family"], swahili["word_order"], swahili["distance_from_english"]) == (
        "Niger-Congo",
        "SVO",
        "2",
    )
    assert float(swahili["gain"]) == pytest.approx(30.0)


def test_every_row_has_the_columns_of_its_table(folder: Folder, catalog: Catalog) -> None:
    for name, rows in tidy(find(_whole(folder), catalog)).items():
        assert rows
        assert {tuple(row) for row in rows} == {tuple(COLUMNS[name])}
        assert len(list(csv.reader(io.StringIO(as_csv(name, rows))))) == len(rows) + 1


def test_everything_is_json(folder: Folder, catalog: Catalog) -> None:
    value = as_json(find(_whole(folder), catalog))
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert (value["kind"], value["baseline"], value["tests"]) == ("experiment", "baseline", 6)
    assert value["problems"] == ["enc, baseline, seed 2: failed: mnli <failed>"]


def test_the_command_knows_an_experiment(folder: Folder, cli: Callable[..., Any]) -> None:
    path = _whole(folder)
    shown = cli("report", path)
    assert shown.code == 0, shown.err
    assert "transfer matrix: enc" in shown.out
    assert "9 cells: 8 done, 1 failed" in shown.out
    assert (path / "report.html").is_file()
    told = json.loads(cli("report", path, "--json").out)
    assert {row["setting"] for row in told["matrix"]} == {"baseline", "mnli > qqp", "qqp > mnli", "mnli 10%"}
    (path / MANIFEST).write_text("{", encoding="utf-8")
    broken = cli("report", path)
    assert (broken.code, "not readable" in broken.complaint) == (2, True)


def test_the_terminal_takes_names_as_they_are(folder: Folder, catalog: Catalog) -> None:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=200).print(terminal.render(find(_whole(folder, "[bold]x[/bold]"), catalog)))
    assert "[bold]x[/bold] > qqp" in out.getvalue()


# Parts


@given(
    st.lists(st.tuples(st.floats(1, 1e6), st.floats(-1e3, 1e3)), min_size=1, max_size=20),
    st.booleans(),
)
def test_points_lie_on_the_plot(points: list[tuple[float, float]], log: bool) -> None:
    drawn = plot("t", [Series(name="s", points=points)], x="x", y="y", log=log)
    (line,) = drawn.lines
    assert len(line.dots) == len(points)
    assert all(0 <= x <= drawn.width and 0 <= y <= drawn.bottom for x, y in line.dots)
    assert 2 <= len(drawn.y_ticks) <= 12


def test_points_that_are_no_numbers_are_left_out() -> None:
    drawn = plot(
        "t", [Series(name="s", points=[(0.0, 1.0), (1.0, math.nan), (2.0, 3.0)])], x="x", y="y", log=True
    )
    assert [len(line.dots) for line in drawn.lines] == [1]


@pytest.mark.parametrize(
    ("value", "text"), [(0.004, "+0.00"), (-0.004, "+0.00"), (-1.006, "-1.01"), (None, "–")]
)
def test_differences_have_a_sign(value: float | None, text: str) -> None:
    assert signed(value) == text
