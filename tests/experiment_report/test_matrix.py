"""The matrix of an experiment: scores, differences from the baseline, kinds of languages, what is missing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from experiments import Folder, effect_of, first, languages_right

from harness import OutputError, typology_facts
from harness.catalog import Catalog
from harness.report.experiment import (
    find,
    html,
    markdown,
)
from harness.report.experiment.layout import read_experiment

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
    assert re.search(r"- enc, qqp, seed 2: missing: .*no such folder", text)
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
