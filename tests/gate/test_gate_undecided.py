"""Cells that a gate cannot decide, and pairs of items that it can."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gated import Compare, N, Scored, damaged, labels, statuses, write_run
from harness_metrics.accuracy import ACCURACY
from harness_metrics.retrieval import WEIGHTED_F1

from harness.catalog import Catalog
from harness.gate import gate
from harness.records import read_records, write_records

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
