"""Averages over languages: plain means with honest errors, of nothing that must not be compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import Record, Suite, SuiteTask
from harness.report.summary import Average, TaskTable, label, summarise

ENCODING = "xtreme.layer8.mean"
MAIN = ("en-xx", "accuracy")
OTHER = ("xx-en", "weighted_f1")


def _record(language: str, value: float = 50.0, stderr: float = 1.0, **changes: Any) -> Record:
    fields: dict[str, Any] = {
        "run": "r",
        "task": "tatoeba",
        "task_version": 1,
        "variant": f"{ENCODING}.en-xx",
        "language": language,
        "split": "test",
        "metric": "accuracy",
        "signature": "accuracy|exact|v1",
        "value": value,
        "stderr": stderr,
        "n": 1000,
        "higher_is_better": True,
        "main": True,
        "limited": None,
        "items": "i",
        "caveats": (),
        "facts": {},
        "inputs": {},
        "model": "m",
        "revision": None,
        "weights": "w",
        "dtype": "float32",
        "recipe": "r",
        "seed": None,
        "source": "laser",
        "data": "d",
        "plugin": "tatoeba",
        "distribution": "d",
        "version": "0",
    }
    return Record(**{**fields, **changes})


def _other(language: str, value: float = 40.0, **changes: Any) -> Record:
    more = {"variant": f"{ENCODING}.xx-en", "metric": "weighted_f1", "main": False}
    return _record(language, value, **{**more, **changes})


def _suite(*languages: str, name: str = "demo", task: str = "tatoeba") -> dict[str, Suite]:
    entry = SuiteTask(task=task, languages=languages, group="retrieval")
    return {name: Suite(name=name, title="Demo", tasks=(entry,), citation="@misc{demo}")}


def _table(records: list[Record], suites: Mapping[str, Suite]) -> TaskTable:
    (table,) = summarise(records, suites)
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
        assert average.values[MAIN] == pytest.approx((mean, error))
        assert average.languages == n
    assert (found["languages shown"].of, found["demo"].of) == (n, 4)


def test_languages_count_alike_whatever_their_size() -> None:
    records = [_record("de", 100.0, n=1000), _record("sw", 0.0, n=10)]
    assert _averages(_table(records, {}))["languages shown"].values[MAIN][0] == 50.0


@pytest.mark.parametrize("changes", [{"caveats": ("sample",)}, {"limited": 10}], ids=["caveat", "limit"])
def test_what_is_not_comparable_shows_but_never_enters_a_suite(changes: dict[str, Any]) -> None:
    records = [_record("de", 80.0), _record("fr", 60.0), _record("sw", 10.0, **changes)]
    table = _table(records, _suite("de", "fr", "sw"))
    found = _averages(table)
    assert set(table.rows) == {"de", "fr", "sw"}
    assert found["languages shown"].values[MAIN][0] == 50.0
    assert found["languages shown"].languages == 3
    assert found["demo"].values[MAIN][0] == 70.0
    assert (found["demo"].languages, found["demo"].of) == (2, 3)


def test_a_caveat_on_one_number_keeps_the_whole_language_out_of_a_suite() -> None:
    records = [
        _record("de", 80.0),
        _other("de", 70.0),
        _record("fr", 60.0),
        _other("fr", 50.0, caveats=("half",)),
    ]
    found = _averages(_table(records, _suite("de", "fr")))
    assert {column: value for column, (value, _) in found["demo"].values.items()} == {MAIN: 80.0, OTHER: 70.0}
    assert found["demo"].languages == 1


@pytest.mark.parametrize("changes", [{"caveats": ("sample",)}, {"limited": 10}], ids=["caveat", "limit"])
def test_a_suite_without_a_comparable_language_has_no_average(changes: dict[str, Any]) -> None:
    table = _table([_record("de", **changes)], _suite("de"))
    assert list(_averages(table)) == ["languages shown"]
    assert table.counted == {"demo": frozenset({"de"})}


def test_languages_outside_a_suite_do_not_enter_it() -> None:
    records = [_record("de", 80.0), _record("yue", 20.0)]
    found = _averages(_table(records, _suite("de", "fr")))
    assert found["demo"].values[MAIN][0] == 80.0
    assert (found["demo"].languages, found["demo"].of) == (1, 2)
    assert found["languages shown"].values[MAIN][0] == 50.0


def test_a_suite_without_the_task_is_not_shown() -> None:
    assert list(_averages(_table([_record("de")], _suite("de", task="bucc2018")))) == ["languages shown"]


def test_every_suite_that_has_the_task_is_shown() -> None:
    suites = {**_suite("de", name="one"), **_suite("de", "fr", name="two")}
    found = _averages(_table([_record("de", 80.0), _record("fr", 60.0)], suites))
    assert {name: average.values[MAIN][0] for name, average in found.items()} == {
        "languages shown": 70.0,
        "one": 80.0,
        "two": 70.0,
    }


def test_an_average_of_a_column_that_a_language_lacks_does_not_claim_it() -> None:
    """A run made with another version of a plugin may lack a metric in some languages."""
    records = [_record("de", 80.0), _other("de", 70.0), _record("fr", 60.0)]
    found = _averages(_table(records, _suite("de", "fr")))["demo"]
    assert found.values[MAIN][0] == 70.0
    assert found.languages == 2
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
    assert table.rows["zh"][OTHER] == records[0]


def test_there_is_a_table_per_task_and_encoding_the_main_one_first() -> None:
    records = [
        _record("de", variant="xtreme.layer1.mean.en-xx", main=False),
        _record("de"),
        _record("de", variant="xtreme.layer9.mean.en-xx", main=False),
        _record("de", task="bucc2018", variant="xtreme.layer8.mean.mined", metric="mining_f1"),
    ]
    tables = summarise(records, {})
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
    table = _table([_record("de", variant=variant)], {})
    assert table.columns == ((view, "accuracy"),)
    assert table.header(table.first) == "accuracy"


def test_the_row_title_of_an_average_says_how_many_languages_of_how_many() -> None:
    found = _averages(_table([_record("de"), _record("yue")], _suite("de", "fr", "sw")))
    assert label(found["languages shown"]) == "mean of the 2 languages shown"
    assert label(found["demo"]) == "demo: mean of 1 of its 3 languages, incomplete"
    whole = _averages(_table([_record("de"), _record("fr")], _suite("de", "fr")))["demo"]
    assert label(whole) == "demo: mean of 2 of its 2 languages"


def test_nothing_scored_is_no_table() -> None:
    assert summarise([], _suite("de")) == []
