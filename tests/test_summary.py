"""One task's table: plain means with honest errors, marked where they must not be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import made
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Record, Suite, SuiteTask
from harness.report.cells import Cell
from harness.report.summary import Average, TaskTable, label, task_tables

ENCODING = "xtreme.layer8.mean"
MAIN = ("en-xx", "accuracy")
OTHER = ("xx-en", "weighted_f1")


def _record(language: str, value: float = 50.0, stderr: float = 1.0, **changes: Any) -> Record:
    usual = {"task": "tatoeba", "variant": f"{ENCODING}.en-xx", "view": "en-xx", "n": 1000}
    return made.record(**{**usual, "language": language, "value": value, "stderr": stderr, **changes})


def _other(language: str, value: float = 40.0, **changes: Any) -> Record:
    more = {"variant": f"{ENCODING}.xx-en", "view": "xx-en", "metric": "weighted_f1", "main": False}
    return _record(language, value, **{**more, **changes})


def _suite(*languages: str, name: str = "demo", task: str = "tatoeba") -> dict[str, Suite]:
    entry = SuiteTask(task=task, languages=languages, group="retrieval")
    return {name: Suite(name=name, title="Demo", tasks=(entry,), citation="@misc{demo}")}


def _table(records: list[Record], suites: Mapping[str, Suite]) -> TaskTable:
    (table,) = task_tables(records, suites)
    return table


def _averages(table: TaskTable) -> dict[str, Average]:
    return {average.name: average for average in table.averages}


_SCORES = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 10)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=80)
@given(_SCORES)
def test_an_average_is_the_plain_mean_over_languages(scores: list[tuple[float, float]]) -> None:
    codes = ("de", "fr", "sw", "zh")
    records = [_record(code, *score) for code, score in zip(codes, scores, strict=False)]
    found = _averages(_table(records, _suite(*codes)))
    n = len(scores)
    mean = sum(value for value, _ in scores) / n
    error = math.sqrt(sum(stderr**2 for _, stderr in scores)) / n
    assert list(found) == ["languages shown", "demo"]
    for average in found.values():
        cell = average.values[MAIN]
        assert (cell.value, cell.stderr) == pytest.approx((mean, error))
        assert len(average.languages) == n
    assert (found["languages shown"].of, found["demo"].of) == (n, 4)


def test_languages_count_alike_whatever_their_size() -> None:
    records = [_record("de", 100.0, n=1000), _record("sw", 0.0, n=10)]
    assert _averages(_table(records, {}))["languages shown"].values[MAIN].value == 50.0


@pytest.mark.parametrize(
    ("changes", "mark"),
    [({"caveats": ("sample",)}, "sample"), ({"limited": 10}, "limited to 10 items")],
    ids=["caveat", "limit"],
)
def test_what_is_not_comparable_enters_a_suites_average_only_with_its_mark(
    changes: dict[str, Any], mark: str
) -> None:
    records = [_record("de", 80.0), _record("fr", 60.0), _record("sw", 10.0, **changes)]
    found = _averages(_table(records, _suite("de", "fr", "sw")))
    assert found["languages shown"].values[MAIN].value == 50.0
    assert found["demo"].values[MAIN].value == 50.0
    assert found["demo"].marks == (f"{mark} (sw)",)
    assert label(found["demo"]) == f"demo, not comparable: 3 of 3 languages; {mark} (sw)"


def test_a_caveat_on_one_number_marks_the_whole_language() -> None:
    records = [
        _record("de", 80.0),
        _other("de", 70.0),
        _record("fr", 60.0),
        _other("fr", 50.0, caveats=("half",)),
    ]
    found = _averages(_table(records, _suite("de", "fr")))["demo"]
    assert {column: cell.value for column, cell in found.values.items()} == {MAIN: 70.0, OTHER: 60.0}
    assert label(found) == "demo, not comparable: 2 of 2 languages; half (fr)"


def test_languages_outside_a_suite_do_not_enter_it() -> None:
    records = [_record("de", 80.0), _record("yue", 20.0)]
    found = _averages(_table(records, _suite("de", "fr")))
    assert found["demo"].values[MAIN].value == 80.0
    assert (found["demo"].languages, found["demo"].of) == (("de",), 2)
    assert found["languages shown"].values[MAIN].value == 50.0


def test_a_suite_without_the_task_is_not_shown() -> None:
    assert list(_averages(_table([_record("de")], _suite("de", task="bucc2018")))) == ["languages shown"]


def test_every_suite_that_has_the_task_is_shown() -> None:
    suites = {**_suite("de", name="one"), **_suite("de", "fr", name="two")}
    found = _averages(_table([_record("de", 80.0), _record("fr", 60.0)], suites))
    assert {name: average.values[MAIN].value for name, average in found.items()} == {
        "languages shown": 70.0,
        "one": 80.0,
        "two": 70.0,
    }


def test_an_average_of_a_column_that_a_language_lacks_does_not_claim_it() -> None:
    """A run made with another version of a plugin may lack a metric in some languages."""
    records = [_record("de", 80.0), _other("de", 70.0), _record("fr", 60.0)]
    found = _averages(_table(records, _suite("de", "fr")))["demo"]
    assert found.values[MAIN].value == 70.0
    assert found.languages == ("de", "fr")
    assert OTHER not in found.values


def test_the_caveats_of_a_table_say_for_which_languages_they_hold() -> None:
    records = [
        _record("de", caveats=("sample",), limited=5),
        _record("fr", caveats=("sample", "half"), limited=5),
        _record("sw", caveats=("sample",)),
    ]
    assert _table(records, {}).caveats == ("sample", "limited to 5 items (de, fr)", "half (fr)")


def test_a_table_puts_the_main_column_first_and_languages_in_order() -> None:
    records = [_other("zh"), _record("zh"), _other("de"), _record("de")]
    table = _table(records, {})
    assert table.columns == (MAIN, OTHER)
    assert table.first == MAIN
    assert list(table.rows) == ["de", "zh"]
    assert table.rows["zh"][OTHER].value == records[0].value
    assert table.rows["zh"][OTHER].n == records[0].n


def test_there_is_a_table_per_task_and_encoding_the_main_one_first() -> None:
    records = [
        _record("de", variant="xtreme.layer1.mean.en-xx", main=False),
        _record("de"),
        _record("de", variant="xtreme.layer9.mean.en-xx", main=False),
        _record("de", task="bucc2018", variant="xtreme.layer8.mean.mined", view="mined", metric="mining_f1"),
    ]
    tables = task_tables(records, {})
    assert [(table.task, table.encoding, table.main) for table in tables] == [
        ("bucc2018", ENCODING, True),
        ("tatoeba", ENCODING, True),
        ("tatoeba", "xtreme.layer1.mean", False),
        ("tatoeba", "xtreme.layer9.mean", False),
    ]
    assert tables[0].columns == (("mined", "mining_f1"),)


def test_a_column_title_names_the_view_where_there_are_several() -> None:
    table = _table([_record("de"), _other("de")], {})
    assert [table.header(column) for column in table.columns] == ["accuracy en-xx", "weighted_f1 xx-en"]


@pytest.mark.parametrize(("variant", "view"), [(ENCODING, ""), (f"{ENCODING}.mined", "mined")])
def test_a_column_title_is_the_metric_where_there_is_one_view(variant: str, view: str) -> None:
    table = _table([_record("de", variant=variant, view=view)], {})
    assert table.columns == ((view, "accuracy"),)
    assert table.header(table.first) == "accuracy"


def test_the_row_title_of_an_average_says_how_many_languages_of_how_many() -> None:
    found = _averages(_table([_record("de"), _record("yue")], _suite("de", "fr", "sw")))
    assert label(found["languages shown"]) == "mean of the 2 languages shown"
    assert label(found["demo"]) == "demo, incomplete: 1 of 3 languages"
    whole = _averages(_table([_record("de"), _record("fr")], _suite("de", "fr")))["demo"]
    assert label(whole) == "demo: mean of 2 of its 2 languages"


def test_a_suite_that_counts_the_same_languages_is_averaged_once() -> None:
    suites = {**_suite("de", "fr", name="one"), **_suite("de", "fr", name="one-retrieval")}
    table = _table([_record("de")], suites)
    assert list(_averages(table)) == ["languages shown", "one"]
    assert set(table.counted) == {"one", "one-retrieval"}


def test_a_mark_on_many_languages_gives_their_number() -> None:
    codes = "ar bg de el es fr hi".split()
    records = [_record("en"), *(_record(code, limited=5) for code in codes)]
    assert _table(records, {}).caveats == ("limited to 5 items (7 of 8)",)


def _seeds(values: dict[int, float], language: str = "de", **changes: Any) -> list[Record]:
    return [_record(language, value, seed=seed, **changes) for seed, value in values.items()]


def test_a_cell_is_the_mean_over_seeds_with_item_error_and_deviation_apart() -> None:
    records = [
        _record("de", 70.0, 3.0, seed=0),
        _record("de", 74.0, 4.0, seed=1),
        _record("de", 78.0, 5.0, seed=2),
    ]
    cell = _table(records, {}).rows["de"][MAIN]
    assert (cell.value, cell.seeds, cell.n) == (74.0, 3, 1000)
    assert cell.stderr == pytest.approx(math.sqrt((9 + 16 + 25) / 3))
    assert cell.deviation == pytest.approx(4.0)


def test_one_seed_has_no_deviation() -> None:
    assert _table([_record("de", seed=0)], {}).rows["de"][MAIN].deviation is None
    assert _table([_record("de")], {}).rows["de"][MAIN].deviation is None


def test_the_deviation_of_an_average_is_that_of_the_averages_of_each_seed() -> None:
    """By hand: seed 0 gives (60 + 40) / 2 = 50, seed 1 gives (70 + 30) / 2 = 50; the languages' swings cancel."""
    records = [*_seeds({0: 60.0, 1: 70.0}), *_seeds({0: 40.0, 1: 30.0}, "fr")]
    table = _table(records, {})
    average = _averages(table)["languages shown"].values[MAIN]
    assert (average.value, average.deviation, average.seeds) == (50.0, 0.0, 2)
    assert table.rows["de"][MAIN].deviation == pytest.approx(math.sqrt(50.0))


def test_an_average_over_other_seeds_by_language_has_no_deviation() -> None:
    records = [*_seeds({0: 60.0, 1: 70.0}), *_seeds({0: 40.0}, "fr")]
    average = _averages(_table(records, {}))["languages shown"].values[MAIN]
    assert (average.value, average.deviation) == (52.5, None)


def test_the_error_of_a_mean_over_the_same_items_is_not_less_than_theirs() -> None:
    """By hand: of XNLI's parallel test sets the items of de and fr are the same, those of sw are others."""
    same = [_record("de", stderr=3.0, items="x"), _record("fr", stderr=1.0, items="x")]
    average = _averages(_table(same, {}))["languages shown"].values[MAIN]
    assert average.stderr == pytest.approx((3.0 + 1.0) / 2)
    average = _averages(_table([*same, _record("sw", stderr=2.0)], {}))["languages shown"].values[MAIN]
    assert average.stderr == pytest.approx(math.hypot(3.0 + 1.0, 2.0) / 3)
    seeds = [_record(code, stderr=2.0, seed=seed, items="x") for code in ("de", "fr") for seed in (0, 1)]
    average = _averages(_table(seeds, {}))["languages shown"].values[MAIN]
    assert average.stderr == pytest.approx(2.0)


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=40))
@settings(deadline=None, max_examples=60)
def test_that_error_bounds_the_error_of_items_drawn_together(correct: list[list[bool]]) -> None:
    """Four languages of the same items; the oracle has the whole item, in all its languages, as what is drawn."""
    right = np.array(correct, dtype=float) * 100
    count = len(right)
    records = [
        _record(code, right[:, place].mean(), right[:, place].std(ddof=1) / math.sqrt(count), items="x")
        for place, code in enumerate(("de", "fr", "sw", "zh"))
    ]
    average = _averages(_table(records, {}))["languages shown"].values[MAIN]
    together = right.mean(axis=1).std(ddof=1) / math.sqrt(count)
    assert average.stderr >= together - 1e-9


def test_a_mark_of_one_seed_marks_the_cell() -> None:
    records = [_record("de", seed=0), _record("de", seed=1, caveats=("half",))]
    assert _table(records, {}).rows["de"][MAIN].marks == ("half",)


def test_the_number_of_a_suite_is_the_mean_of_its_metrics_in_the_languages_that_have_them_all() -> None:
    records = [
        _record("de", 60.0, 2.0, metric="f1"),
        _record("de", 40.0, 1.0, metric="em", main=False),
        _record("fr", 70.0, metric="f1"),
    ]
    table = _table(records, {})
    scores = table.scores(("fr", "de", "sw"), ("f1", "em"))
    assert {code: (cell.value, cell.stderr) for code, cell in scores.items()} == {"de": (50.0, 1.5)}
    assert list(table.scores(("fr", "de"), ())) == ["fr", "de"]


def test_health_is_that_of_the_main_number() -> None:
    records = [_other("de", inputs={"texts": 10, "truncated": 5}), _record("de", inputs={"texts": 10})]
    assert _table(records, {}).health["de"].truncated is None


@given(
    st.dictionaries(st.integers(0, 5), st.tuples(st.floats(0, 100), st.floats(0, 10)), min_size=1, max_size=4)
)
@settings(deadline=None, max_examples=60)
def test_means_over_seeds_lie_between_the_seeds(scores: dict[int, tuple[float, float]]) -> None:
    records = [_record("de", *score, seed=seed) for seed, score in scores.items()]
    cell: Cell = _table(records, {}).rows["de"][MAIN]
    values, errors = zip(*scores.values(), strict=True)
    assert min(values) - 1e-9 <= cell.value <= max(values) + 1e-9
    assert min(errors) - 1e-9 <= cell.stderr <= max(errors) + 1e-9
    assert (cell.deviation is None) == (len(scores) == 1)


def test_nothing_scored_is_no_table() -> None:
    assert task_tables([], _suite("de")) == []
