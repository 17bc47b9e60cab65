"""The gate: what fails and what passes, on runs made by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gated import F1, Compare, N, Scored, damaged, labels, pairs, statuses, write_run
from harness_metrics.accuracy import ACCURACY
from harness_metrics.retrieval import XSIM_ERROR
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.catalog import Catalog
from harness.gate import Cell, Gate, Status, gate, verdict
from harness.paired import bootstrap, mcnemar
from harness.statistics import score


def test_equal_runs_pass(compare: Compare) -> None:
    cells = [labels(), labels(language="sw", seed=4), pairs(task="bucc2018")]
    found = compare(cells, cells)
    assert (found.verdict.code, found.verdict.word) == (0, "pass")
    assert set(statuses(found).values()) == {"pass"}
    for cell in found.cells:
        assert cell.comparison is not None
        assert (cell.comparison.drop, cell.comparison.p, cell.adjusted_p) == (0.0, 1.0, 1.0)


def test_a_run_is_as_good_as_itself(tmp_path: Path, catalog: Catalog) -> None:
    folder = write_run(tmp_path / "run", [labels(), pairs(task="bucc2018")])
    assert gate(folder, folder, catalog).verdict.code == 0


def test_damaged_cells_fail_and_are_named(compare: Compare) -> None:
    good = [labels(language=language, seed=seed) for seed, language in enumerate(["ar", "de", "sw", "ur"])]
    mined = [pairs(task="bucc2018", language=language) for language in ("de", "zh")]
    bad = [good[0], damaged(good[1], 0.2), good[2], damaged(good[3], 0.3)]
    found = compare([*good, *mined], [*bad, mined[0], pairs(task="bucc2018", language="zh", found=0.4)])
    assert statuses(found) == {
        "bucc2018/zh": "regression",
        "xnli/de": "regression",
        "xnli/ur": "regression",
        "bucc2018/de": "pass",
        "xnli/ar": "pass",
        "xnli/sw": "pass",
    }
    assert list(statuses(found))[:3] == ["bucc2018/zh", "xnli/de", "xnli/ur"], "failures come first"
    assert (found.verdict.code, found.verdict.word) == (1, "regression")
    assert found.verdict.sentence == "regression in 3 of 6 tested cells: bucc2018 (zh), xnli (de, ur)"


def test_a_better_run_passes(compare: Compare) -> None:
    good = [labels(), pairs(task="bucc2018")]
    found = compare([damaged(good[0], 0.3), pairs(task="bucc2018", found=0.3)], good)
    assert found.verdict.code == 0
    assert all(cell.comparison is not None and cell.comparison.drop < 0 for cell in found.cells)


def test_what_a_line_says_is_what_the_paired_test_found(compare: Compare) -> None:
    before, after = labels(), damaged(labels(), 0.05)
    (cell,) = compare([before], [after]).cells
    hits = [ACCURACY.parts(one.gold, one.values)["correct"] for one in (before, after)]
    assert cell.comparison == mcnemar(*hits)
    assert (cell.signature, cell.variant) == ("accuracy|exact|v1", "xtreme.head")


def test_what_the_bootstrap_found_is_on_the_line_and_repeats(compare: Compare) -> None:
    before, after = pairs(), pairs(seed=2, found=0.6)
    (cell,) = compare([before], [after]).cells
    (again,) = compare([before], [after]).cells
    sides = [F1.parts(one.gold, one.values) for one in (before, after)]
    assert cell == again
    assert cell.comparison is not None
    assert cell.comparison.drop == pytest.approx(bootstrap(F1, *sides, seed=1, draws=10).drop)
    assert cell.comparison.baseline == pytest.approx(score(F1, before.gold, before.values).value)


def test_a_drop_that_is_allowed_passes_and_one_that_may_be_chance_passes(compare: Compare) -> None:
    before = labels(2000)
    after = damaged(before, 0.05)
    found = compare([before], [after], max_drop=10)
    (cell,) = found.cells
    assert cell.comparison is not None
    assert cell.comparison.p < 1e-6
    assert 2 < cell.comparison.drop < 10
    assert found.verdict.code == 0


def test_a_drop_just_allowed_is_allowed(compare: Compare) -> None:
    before = Scored(gold=[1] * 1000, values=[1] * 1000)
    after = replace(before, values=[0] * 20 + [1] * 980)
    assert compare([before], [after], max_drop=2.0).verdict.code == 0
    assert compare([before], [replace(after, values=[0] * 21 + [1] * 979)], max_drop=2.0).verdict.code == 1


def chance(language: str, worse: int, better: int) -> tuple[Scored, Scored]:
    """Two sides of which so many of 100 items differ."""
    same = [1] * (100 - worse - better)
    one = Scored(language=language, gold=[1] * 100, values=[1] * worse + [0] * better + same)
    return one, replace(one, values=[0] * worse + [1] * better + same)


def test_a_large_drop_that_may_be_chance_passes(compare: Compare) -> None:
    before, after = chance("de", 9, 4)  # P(X >= 9 of 13) = 0.133
    found = compare([before], [after])
    assert found.cells[0].comparison is not None
    assert found.cells[0].comparison.drop == pytest.approx(5.0)
    assert found.verdict.code == 0


def test_one_cell_needs_no_correction(compare: Compare) -> None:
    before, after = chance("de", 9, 1)  # P(X >= 9 of 10) = 11 / 1024
    assert compare([before], [after]).verdict.code == 1


def test_one_of_many_cells_needs_stronger_evidence(compare: Compare) -> None:
    one = chance("de", 9, 1)
    others = [chance(language, 3, 3) for language in ("ar", "es", "sw", "ur", "vi")]
    found = compare([one[0], *(pair[0] for pair in others)], [one[1], *(pair[1] for pair in others)])
    cell = next(cell for cell in found.cells if cell.language == "de")
    assert cell.comparison is not None
    assert cell.comparison.p == pytest.approx(11 / 1024)
    assert cell.adjusted_p == pytest.approx(6 * 11 / 1024)
    assert found.verdict.code == 0
    assert cell.detectable is not None
    assert cell.detectable_adjusted is not None
    assert cell.detectable < cell.detectable_adjusted


def test_a_rising_error_rate_is_a_drop(compare: Compare) -> None:
    before = replace(labels(), metric=XSIM_ERROR)
    found = compare([before], [damaged(before, 0.3)])
    assert statuses(found) == {"xnli/de": "regression"}
    assert found.cells[0].comparison is not None
    assert found.cells[0].comparison.value > found.cells[0].comparison.baseline


def test_only_the_main_number_is_gated(compare: Compare) -> None:
    good = [labels(), labels(record={"main": False, "variant": "xtreme.other"})]
    found = compare(good, [good[0], damaged(good[1], 0.5)])
    assert statuses(found) == {"xnli/de": "pass"}


def seeded(seed: int, share: float = 0.0) -> Scored:
    """The cell of one seed."""
    return damaged(labels(record={"seed": seed}), share, seed=seed)


def test_items_are_averaged_over_seeds(compare: Compare) -> None:
    before, after = [seeded(0), seeded(1)], [seeded(0, 0.2), seeded(1, 0.1), seeded(2, 0.3)]
    (cell,) = compare(before, after).cells
    means = [
        np.mean([ACCURACY.parts(one.gold, one.values)["correct"] for one in side], axis=0)
        for side in (before, after)
    ]
    found = cell.comparison
    assert found is not None
    assert (found.test, found.n) == ("bootstrap", N)
    assert (found.baseline, found.value) == pytest.approx((100 * means[0].mean(), 100 * means[1].mean()))
    assert "seeds 0, 1 in the baseline, 0, 1, 2 in the run" in cell.notes


def test_heads_of_different_trainings_are_not_averaged_as_seeds(compare: Compare) -> None:
    """As a head that the model carries and a new one beside it."""
    trained = {"parent": "w", "task": "mnli", "split": "train", "data": "d"}
    new = labels(record={"seed": 0, "trained": trained})
    for before, after, side in (
        ([labels(), new], [labels()], "baseline"),
        ([labels()], [labels(), new], "run"),
    ):
        (cell,) = compare(before, after).cells
        told = f"seeds: those in the {side} are not of one training"
        assert (cell.status, cell.reason) == ("not comparable", told)


STATUSES: tuple[Status, ...] = ("regression", "missing", "not comparable", "too few items", "pass", "new")


@settings(deadline=None)
@given(st.lists(st.sampled_from(STATUSES), max_size=8))
def test_word_and_code_say_the_same_and_nothing_undecided_passes(kinds: list[Status]) -> None:
    cells = [Cell(task="t", language=f"l{number}", status=kind) for number, kind in enumerate(kinds)]
    found = verdict(
        Gate(run=Path("r"), baseline=Path("b"), max_drop=0.5, alpha=0.05, min_items=30, cells=cells)
    )
    assert found.code == {"pass": 0, "regression": 1, "undecided": 4}[found.word]
    assert (found.code == 1) == ("regression" in kinds)
    assert (found.code == 0) == (
        "pass" in kinds and not {"regression", "missing", "not comparable"} & {*kinds}
    )
    assert all(
        cell.language in found.sentence
        for cell in cells
        if cell.status in ("regression", "missing", "not comparable")
    )


@pytest.mark.full
def test_over_all_cells_false_alarms_are_as_rare_as_alpha_says(tmp_path: Path, catalog: Catalog) -> None:
    times, alarms = 80, 0
    for number in range(times):
        sides: list[list[Scored]] = [[], []]
        for place in range(6):
            base = labels(80, seed=1000 * number + place, language=f"l{place}")
            for side, cells in enumerate(sides):
                cells.append(damaged(base, 0.1, seed=7 * (1000 * number + place) + side))
                seed = 2 * (1000 * number + place) + side
                cells.append(pairs(80, seed=seed, task="bucc2018", language=f"l{place}"))
        folders = [write_run(tmp_path / f"{number}-{side}", cells) for side, cells in enumerate(sides)]
        alarms += gate(folders[1], folders[0], catalog, max_drop=0.0, alpha=0.1).verdict.code == 1
    assert alarms / times <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / times)
