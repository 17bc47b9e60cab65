"""The gate on run folders made by hand: what fails, what passes, what cannot be decided, and how it is told."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness_metrics.accuracy import ACCURACY
from harness_metrics.mining import MINING
from harness_metrics.retrieval import WEIGHTED_F1, XSIM_ERROR
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness import Json, Metric, OutputError, Predictions, Record, UsageError, digests
from harness.gate import Cell, Gate, Status, gate, verdict
from harness.paired import bootstrap, mcnemar
from harness.records import predictions_path, read_predictions, read_records, write_predictions, write_records
from harness.registry import Catalog, load_catalog
from harness.run import RunWriter
from harness.statistics import score

F1 = MINING[0]
N = 200
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One cell of a run made by hand: predictions, and what differs from the usual record."""

    task: str = "xnli"
    language: str = "de"
    gold: Sequence[Json]
    values: Sequence[Json]
    ids: Sequence[str] = ()
    metric: Metric = ACCURACY
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def predictions(self) -> Predictions:
        """As a format gives them."""
        ids = self.ids or [f"id-{number}" for number in range(len(self.gold))]
        return Predictions(view="", ids=ids, gold=self.gold, values=self.values)


def record_of(scored: Scored) -> Record:
    """The record of a cell."""
    found = score(scored.metric, scored.gold, scored.values)
    usual = Record(
        run="0123456789abcdef",
        task=scored.task,
        task_version=1,
        variant="xtreme.head",
        view="",
        language=scored.language,
        split="test",
        metric=scored.metric.name,
        signature=scored.metric.signature,
        value=found.value,
        stderr=found.stderr,
        n=found.n,
        higher_is_better=scored.metric.higher_is_better,
        main=True,
        limited=None,
        items=digests.of_lines(scored.predictions.ids)[:16],
        caveats=(),
        facts={},
        inputs={},
        trained={},
        model="m",
        revision=None,
        weights="w",
        dtype="float32",
        recipe="r",
        seed=None,
        source="s",
        data="d",
        plugin="p",
        distribution="d",
        version="1",
    )
    return replace(usual, **scored.record)


def write_run(
    folder: Path, scored: Sequence[Scored], failed: Mapping[tuple[str, str], str] | None = None
) -> Path:
    """A run folder with these cells, and failed ones with their errors."""
    units = []
    with RunWriter(folder, {"model": "m"}, "0123456789abcdef", "missing") as writer:
        for one in scored:
            record = record_of(one)
            path = predictions_path(folder, one.task, record.variant, record.seed, one.language)
            parts = one.metric.parts(one.gold, one.values)
            write_predictions(path, one.predictions, {one.metric.name: parts})
            writer.add([record])
            units.append(
                {
                    "task": one.task,
                    "language": one.language,
                    "seed": record.seed,
                    "status": "done",
                    "error": "",
                }
            )
        for (task, language), error in (failed or {}).items():
            units.append(
                {"task": task, "language": language, "seed": None, "status": "failed", "error": error}
            )
        needed = ("run", "status", "identity", "units", "model", "versions", "hardware", "data", "started")
        manifest: dict[str, Any] = {key: {} for key in needed}
        manifest.update(schema=1, run="0123456789abcdef", status="complete", units=units)
        writer.write_manifest(manifest)
    return folder


def labels(n: int = N, seed: int = 1, **others: Any) -> Scored:
    """A cell of three labels, seven in ten right."""
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, 3, n).tolist()
    values = np.where(generator.random(n) < 0.7, gold, 3).tolist()
    return Scored(gold=gold, values=values, **others)


def damaged(scored: Scored, share: float, seed: int = 2) -> Scored:
    """The cell with a share of its predictions made wrong."""
    wrong = np.random.default_rng(seed).random(len(scored.values)) < share
    return replace(
        scored, values=[9 if bad else value for bad, value in zip(wrong, scored.values, strict=True)]
    )


def pairs(n: int = N, seed: int = 1, found: float = 0.8, **others: Any) -> Scored:
    """A cell of mined pairs."""
    generator = np.random.default_rng(seed)
    gold = [["t"] if has else [] for has in np.random.default_rng(0).random(n) < 0.6]
    values = [
        [{"target": "t", "score": 1.0, "accepted": True}]
        if generator.random() < (found if answer else 0.1)
        else []
        for answer in gold
    ]
    return Scored(gold=gold, values=values, metric=F1, **others)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """What the harness's own plugins bring."""
    return load_catalog(others=False)


Compare = Callable[..., Gate]


@pytest.fixture
def compare(tmp_path: Path, catalog: Catalog) -> Compare:
    """Writes a baseline and a run and holds one against the other."""

    def compared(baseline: Sequence[Scored], run: Sequence[Scored], **options: Any) -> Gate:
        failed = options.pop("failed", None)
        fresh = tmp_path / f"pair-{len(list(tmp_path.iterdir()))}"
        return gate(
            write_run(fresh / "run", run, failed),
            write_run(fresh / "baseline", baseline),
            options.pop("catalog", catalog),
            **options,
        )

    return compared


def statuses(found: Gate) -> dict[str, Status]:
    """Cell to status."""
    return {cell.name: cell.status for cell in found.cells}


# Verdicts


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


# Seeds


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


# What cannot be decided

BEFORE = labels()


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (labels(record={"variant": "xtreme.layer8.mean"}), "encoding and view: xtreme.head in the baseline"),
        (
            labels(record={"signature": "accuracy|exact|v2"}),
            r"metric: accuracy\|exact\|v1 in the baseline, acc",
        ),
        (replace(BEFORE, metric=WEIGHTED_F1), "metric: accuracy.*in the baseline, weighted_f1"),
        (labels(record={"split": "dev"}), "split: test in the baseline, dev in the run"),
        (labels(record={"task_version": 2}), "version of the task: 1 in the baseline, 2 in the run"),
        (replace(BEFORE, ids=[f"x{i}" for i in range(N)]), "the runs have no item in common"),
        (
            replace(BEFORE, gold=[*BEFORE.gold[:-1], 7]),
            r"the gold answers of 1 of 200 items differ \(ids 'id-199'\)",
        ),
        (
            labels(150, record={"limited": 150}),
            r"a limited run compares only on the same .*\(limits: 150, all\)",
        ),
        (labels(150, record={"data": "other"}), "both the data and the items differ"),
        (labels(record={"value": 12.5}), r"de.parquet gives \d+\.\d+, but 12\.5000 is recorded"),
        (replace(BEFORE, gold=BEFORE.gold[:20], values=BEFORE.values[:20]), "20 common items of 200, 30 are"),
    ],
    ids=[
        "encoding",
        "signature",
        "metric",
        "split",
        "task version",
        "no overlap",
        "gold",
        "limit",
        "data and items",
        "value",
        "small overlap",
    ],
)
def test_what_cannot_be_compared_is_not_passed_over(compare: Compare, run: Scored, reason: str) -> None:
    # Another task: of one task and split only one number counts.
    other = labels(task="pawsx", language="sw")
    found = compare([BEFORE, other], [run, other])
    assert statuses(found) == {"xnli/de": "not comparable", "pawsx/sw": "pass"}
    assert (found.verdict.code, found.verdict.word) == (4, "undecided")
    assert found.verdict.sentence == "cannot decide: not comparable: xnli (de)"
    (cell,) = [cell for cell in found.cells if cell.task == "xnli"]
    assert re.search(reason, cell.reason), cell.reason


def test_a_language_that_a_run_has_only_in_a_variant_that_does_not_count_is_missing(compare: Compare) -> None:
    other = labels(language="sw")
    found = compare([BEFORE, other], [labels(record={"variant": "xtreme.layer8.mean"}), other])
    assert statuses(found) == {"xnli/de": "missing", "xnli/sw": "pass"}
    assert found.verdict.code != 0
    assert found.cells[0].reason == "the run has it only in a variant that was not asked for last"


@pytest.mark.parametrize("double", [("baseline",), ("run",), ("baseline", "run")], ids="+".join)
def test_a_folder_in_which_two_variants_of_a_task_count_is_named_with_both(
    tmp_path: Path, catalog: Catalog, double: tuple[str, ...]
) -> None:
    """As in folders from before the variant that was asked for last was the only one that counts."""
    other = labels(record={"variant": "xtreme.layer8.mean"})
    for side in ("baseline", "run"):
        folder = write_run(tmp_path / side, [labels(), other] if side in double else [labels()])
        path = folder / "records.jsonl"
        write_records(path, [replace(record, main=True) for record in read_records(path)])
    (cell,) = gate(tmp_path / "run", tmp_path / "baseline", catalog).cells
    assert cell.status == "not comparable"
    assert cell.reason == (
        f"scored in 2 ways in {tmp_path / double[0]} (xtreme.head, xtreme.layer8.mean); compare run folders that hold "
        "one of them"
    )


def test_one_of_the_installed_metrics_must_be_meant(compare: Compare, catalog: Catalog) -> None:
    newer = replace(ACCURACY, signature="accuracy|exact|v9")
    cells = [labels()]
    found = compare(cells, cells, catalog=replace(catalog, metrics={**catalog.metrics, "accuracy": newer}))
    assert "the installed accuracy is accuracy|exact|v9" in found.cells[0].reason
    assert found.verdict.code == 4
    found = compare(cells, cells, catalog=replace(catalog, metrics={}))
    assert "unknown metric 'accuracy'" in found.cells[0].reason
    assert found.verdict.code == 4


def test_a_cell_of_the_baseline_that_the_run_lacks_is_not_passed_over(compare: Compare) -> None:
    cells = [labels(), labels(language="sw"), labels(language="ur")]
    found = compare(cells, cells[:1], failed={("xnli", "sw"): "xnli/sw: out of memory"})
    assert statuses(found) == {"xnli/sw": "missing", "xnli/ur": "missing", "xnli/de": "pass"}
    assert [cell.reason for cell in found.cells] == ["xnli/sw: out of memory", "it is not in the run", ""]
    assert found.verdict.code == 4
    assert found.verdict.sentence == "cannot decide: the run lacks xnli (sw, ur)"


def test_a_cell_that_only_the_run_has_does_not_count(compare: Compare) -> None:
    found = compare([labels()], [labels(), labels(language="sw")])
    assert statuses(found) == {"xnli/de": "pass", "xnli/sw": "new"}
    assert found.verdict.code == 0


def test_a_regression_is_told_even_where_something_else_cannot_be_decided(compare: Compare) -> None:
    cells = [labels(), labels(language="sw"), labels(language="ur")]
    found = compare(cells, [damaged(cells[0], 0.3), labels(language="ur", record={"split": "dev"})])
    assert found.verdict.code == 1
    assert found.verdict.sentence == (
        "regression in 1 of 1 tested cells: xnli (de); not decided: xnli (sw, ur)"
    )


def test_runs_without_a_common_cell_cannot_be_compared(compare: Compare) -> None:
    found = compare([], [labels()])
    assert (found.verdict.code, found.verdict.sentence) == (
        4,
        "cannot decide: the runs have no task and language in common",
    )
    assert compare([labels(task="pawsx")], []).verdict.code == 4


def test_too_few_items_decide_nothing_but_stop_nobody_else(compare: Compare) -> None:
    few = labels(20, language="sw")
    found = compare([few], [damaged(few, 0.9)])
    assert statuses(found) == {"xnli/sw": "too few items"}
    assert found.cells[0].reason == "20 common items of 20, 30 are needed"
    assert found.cells[0].adjusted_p is None
    assert (found.verdict.code, found.verdict.sentence) == (
        4,
        "cannot decide: 30 items or more are needed in xnli (sw)",
    )
    found = compare([few, labels()], [damaged(few, 0.9), labels()])
    assert found.verdict.code == 0
    assert "30 items or more are needed in xnli (sw)" in found.verdict.sentence
    assert compare([few], [damaged(few, 0.9)], min_items=20).verdict.code == 1


def test_other_data_with_the_same_items_are_compared_with_a_note(compare: Compare) -> None:
    found = compare([labels()], [labels(record={"data": "other", "caveats": ("cut at 64",)})])
    assert found.verdict.code == 0
    assert found.cells[0].notes == (
        "the fingerprints of the data differ, ids are the same",
        "only in the run: cut at 64",
    )


def test_limited_runs_compare_on_the_same_items(compare: Compare) -> None:
    before = labels(record={"limited": N})
    assert compare([before], [before]).verdict.code == 0
    assert compare([before], [damaged(before, 0.3)]).verdict.code == 1


def test_items_are_paired_by_id_whatever_their_order_and_only_common_ones_count(compare: Compare) -> None:
    before = labels()
    order = np.random.default_rng(3).permutation(N)[:150]
    after = Scored(
        ids=[f"id-{number}" for number in order],
        gold=[before.gold[number] for number in order],
        values=[before.values[number] for number in order],
    )
    (cell,) = compare([before], [after]).cells
    assert cell.comparison is not None
    assert (cell.comparison.n, cell.comparison.drop, cell.comparison.p) == (150, 0.0, 1.0)
    assert "150 common items, 200 in the baseline, 150 in the run" in cell.notes


def test_a_gate_that_could_not_see_the_drop_says_so(compare: Compare) -> None:
    small, large = labels(40), Scored(language="sw", gold=[1] * 20_000, values=[1] * 20_000)
    found = compare([small, large], [small, large])
    assert found.verdict.sentence == (
        "no regression in 2 tested cells (in 1 of them there are too few items to find a drop of 0.5 points reliably)"
    )


# Folders


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A run folder."""
    return write_run(tmp_path / "good", [labels()])


def missing(folder: Path) -> None:
    """There is no folder."""


def empty(folder: Path) -> None:
    """The folder is empty."""
    folder.mkdir()


def a_file(folder: Path) -> None:
    """It is a file."""
    folder.write_text("{}")


def other_schema(folder: Path) -> None:
    """It is of another schema."""
    write_run(folder, [labels()])
    (folder / "run.json").write_text('{"schema": 9}')


def torn(folder: Path) -> None:
    """Its records are torn."""
    write_run(folder, [labels()])
    (folder / "records.jsonl").write_bytes((folder / "records.jsonl").read_bytes()[:-9])


def no_records(folder: Path) -> None:
    """It has no records."""
    write_run(folder, [labels()])
    (folder / "records.jsonl").unlink()


def no_predictions(folder: Path) -> None:
    """Its predictions are gone."""
    write_run(folder, [labels()])
    next(folder.rglob("de.parquet")).unlink()


def broken_predictions(folder: Path) -> None:
    """Its predictions are not Parquet."""
    write_run(folder, [labels()])
    next(folder.rglob("de.parquet")).write_bytes(b"PAR1")


BAD = [missing, empty, a_file, other_schema, torn, no_records, no_predictions, broken_predictions]


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_a_baseline_that_cannot_be_used_is_a_verdict(
    good: Path, tmp_path: Path, catalog: Catalog, spoil: Callable[[Path], None]
) -> None:
    bad = tmp_path / "bad"
    spoil(bad)
    found = gate(good, bad, catalog)
    assert (found.verdict.code, found.verdict.word) == (4, "undecided")
    told = found.verdict.sentence + "".join(cell.reason for cell in found.cells)
    assert spoil is no_records or str(bad) in told


@pytest.mark.parametrize("spoil", BAD[:5], ids=lambda spoil: spoil.__name__)
def test_a_run_that_is_none_is_bad_usage(
    good: Path, tmp_path: Path, catalog: Catalog, spoil: Callable[[Path], None]
) -> None:
    bad = tmp_path / "bad"
    spoil(bad)
    with pytest.raises(OutputError, match=re.escape(str(bad))):
        gate(bad, good, catalog)


def test_predictions_come_back_as_they_were_written(tmp_path: Path) -> None:
    predictions = Predictions(view="", ids=["ä", "b"], gold=[["x"], None], values=[{"b": 1, "a": "ü"}, []])
    parts = {"f1": {"hits": np.array([1.0, 0.0]), "gold": np.array([0.5, 0.25])}, "em": {"em": np.ones(2)}}
    path = tmp_path / "p.parquet"
    write_predictions(path, predictions, parts)
    stored = read_predictions(path)
    assert stored.ids == ["ä", "b"]
    assert stored.gold == ['["x"]', "null"]
    assert stored.values == ['{"a":"ü","b":1}', "[]"]
    assert {
        metric: {name: part.tolist() for name, part in arrays.items()}
        for metric, arrays in stored.parts.items()
    } == {
        "f1": {"hits": [1.0, 0.0], "gold": [0.5, 0.25]},
        "em": {"em": [1.0, 1.0]},
    }


@pytest.mark.parametrize(
    ("ids", "part", "said"),
    [
        (["a", "a"], [1.0, 0.0], "the id 'a' occurs more than once"),
        (["a", "b"], [1.0, math.nan], "a part of the metric 'f1' is not a finite number"),
        (["a", "b"], [1.0, None], "a part of the metric 'f1' is not a finite number"),
        (["a", "b"], ["x", "y"], "not readable as predictions"),
        (None, [1.0, 0.0], "not readable as predictions"),
    ],
    ids=["twice", "nan", "null", "text", "no ids"],
)
def test_damaged_predictions_are_named(
    tmp_path: Path, ids: list[str] | None, part: list[Any], said: str
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"gold": ["1", "1"], "prediction": ["1", "1"], "f1.f1": part}
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"id": ids, **columns} if ids else columns), path)
    with pytest.raises(OutputError, match=f"{re.escape(str(path))}: .*{said}"):
        read_predictions(path)


# The command line

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """``harness gate ARGUMENTS`` in this process: exit code, standard output, standard error."""
    from harness.cli.main import _run

    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = _run(["gate", *(str(argument) for argument in arguments)], debug=False)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, Path]:
    """A baseline and a run that is worse in two of three languages."""
    cells = [labels(language=language, seed=seed) for seed, language in enumerate(("de", "sw", "ur"))]
    bad = [cells[0], damaged(cells[1], 0.3), damaged(cells[2], 0.3)]
    return write_run(tmp_path / "baseline", cells), write_run(tmp_path / "run", bad)


def test_the_table_has_failures_first_and_ends_with_the_verdict(told: Cli, three: tuple[Path, Path]) -> None:
    code, out, err = told(three[1], "--baseline", three[0])
    assert (code, err) == (1, "")
    lines = out.splitlines()
    rows = [line for line in lines if " xnli " in line and "regression in" not in line]
    assert [line.split()[1] for line in rows] == ["sw", "ur", "de"]
    assert [line.split()[-1] for line in rows] == ["regression", "regression", "pass"]
    assert lines[-1] == "verdict: regression in 2 of 3 tested cells: xnli (sw, ur)"
    for column in ("baseline", "drop", "95 % interval", "adjusted p", "detectable"):
        assert column in out


def test_the_table_of_runs_that_cannot_be_compared_says_why(told: Cli, tmp_path: Path) -> None:
    before = write_run(tmp_path / "baseline", [labels(), labels(language="sw")])
    after = write_run(tmp_path / "run", [labels(record={"split": "dev"})])
    code, out, _ = told(after, "--baseline", before)
    assert code == 4
    assert "xnli/de: split: test in the baseline, dev in the run" in out
    assert "xnli/sw: it is not in the run" in out
    assert out.splitlines()[-1].startswith(
        "verdict: cannot decide: the run lacks xnli (sw); not comparable: xnli"
    )


def test_json_has_every_number_and_the_verdict(told: Cli, three: tuple[Path, Path]) -> None:
    code, out, err = told(three[1], "--baseline", three[0], "--json", "--max-drop", "1", "--alpha", "0.01")
    value = json.loads(out)
    assert (code, value["exit_code"], value["verdict"]) == (1, 1, "regression")
    assert err == f"harness: {value['sentence']}\n"
    assert (value["max_drop"], value["alpha"], value["min_items"]) == (1.0, 0.01, 30)
    assert (value["run"], value["baseline"]) == (str(three[1]), str(three[0]))
    cell = value["cells"][0]
    assert set(cell) == {
        *("task", "language", "status", "reason", "signature", "variant", "notes", "test", "n", "baseline"),
        *("value", "drop", "low", "high", "stderr", "p", "adjusted_p", "detectable", "detectable_adjusted"),
    }
    assert (cell["task"], cell["language"], cell["status"]) == ("xnli", "sw", "regression")
    assert cell["low"] < cell["drop"] < cell["high"]
    assert cell["drop"] == pytest.approx(cell["baseline"] - cell["value"])


def test_json_is_there_when_there_is_no_baseline(told: Cli, three: tuple[Path, Path], tmp_path: Path) -> None:
    code, out, _ = told(three[1], "--baseline", tmp_path / "none", "--json")
    value = json.loads(out)
    assert (code, value["exit_code"], value["verdict"], value["cells"]) == (4, 4, "undecided", [])
    assert "no such folder" in value["sentence"]


@pytest.mark.parametrize(
    "options",
    [
        ("--max-drop", "-1"),
        ("--max-drop", "nan"),
        ("--max-drop", "101"),
        ("--max-drop", "much"),
        ("--alpha", "0"),
        ("--alpha", "nan"),
        ("--alpha", "0.6"),
        ("--min-items", "1"),
        ("--surprise",),
    ],
    ids=" ".join,
)
def test_a_bad_option_is_bad_usage(told: Cli, three: tuple[Path, Path], options: tuple[str, ...]) -> None:
    code, out, err = told(three[1], "--baseline", three[0], *options)
    assert (code, out) == (2, "")
    assert err


def test_without_a_baseline_or_a_run_there_is_nothing_to_compare(
    told: Cli, three: tuple[Path, Path], tmp_path: Path
) -> None:
    assert told(three[1])[0] == 2
    code, out, err = told(tmp_path / "none", "--baseline", three[0])
    assert (code, out) == (2, "")
    assert f"{tmp_path / 'none'}: no such folder" in err


def test_the_job_summary_gets_the_table(
    told: Cli, three: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert told(three[1], "--baseline", three[0], "--json")[0] == 1
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n## Gate: regression\n")
    rows = [line for line in text.splitlines() if line.startswith("| xnli |")]
    assert [row.split(" | ")[1] for row in rows] == ["sw", "ur", "de"]
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    code, _, err = told(three[1], "--baseline", three[0])
    assert code == 1
    assert "cannot be written" in err


@pytest.mark.parametrize(
    "options",
    [{"max_drop": math.inf}, {"alpha": 0.0001}, {"min_items": 0}],
    ids=lambda options: next(iter(options)),
)
def test_numbers_out_of_range_are_refused(good: Path, catalog: Catalog, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        gate(good, good, catalog, **options)


# Verdict and exit code

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
