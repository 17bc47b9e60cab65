"""Records on disk: whole, in order, and of this schema only."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import OutputError, Predictions, Record, records

RECORD = Record(
    run="0123456789abcdef",
    task="tatoeba",
    task_version=1,
    variant="xtreme.layer8.mean.en-xx",
    view="en-xx",
    trained={},
    language="de",
    split="test",
    metric="accuracy",
    signature="accuracy|exact|v1",
    value=57.3,
    stderr=1.5,
    n=1000,
    higher_is_better=True,
    main=True,
    limited=None,
    items="abcd",
    caveats=("first", "second"),
    facts={"threshold": 1.0625, "tuned_on": "dev", "deep": [1, None, {"ä": True}]},
    inputs={"texts": 2000, "distinct": 1998, "empty": 0, "truncated": 1},
    model="xlm-roberta-base",
    revision=None,
    weights="w",
    dtype="float32",
    recipe="r",
    seed=None,
    source="laser",
    data="d",
    plugin="tatoeba",
    distribution="crosslingual-transfer-harness",
    version="0.1.0",
)


def _line(**changes: Any) -> str:
    return json.dumps({**json.loads(records.to_line(RECORD)), **changes})


def test_a_record_comes_back_from_its_line() -> None:
    line = records.to_line(RECORD)
    assert "\n" not in line
    assert records.from_line(line, "here") == RECORD
    assert json.loads(line)["schema"] == records.SCHEMA_VERSION


_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)


@settings(deadline=None, max_examples=80)
@given(
    task=_WORDS,
    model=_WORDS,
    value=st.floats(0, 100),
    stderr=st.floats(0, 100),
    limited=st.none() | st.integers(1, 9),
    caveats=st.lists(_WORDS, max_size=2).map(tuple),
    facts=st.dictionaries(_WORDS, st.floats(allow_nan=False, allow_infinity=False) | _WORDS, max_size=3),
)
def test_any_record_comes_back_from_its_line(**changes: Any) -> None:
    record = dataclasses.replace(RECORD, **changes)
    assert records.from_line(records.to_line(record), "here") == record


def test_records_come_back_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "run" / "records.jsonl"
    others = [
        dataclasses.replace(RECORD, language="zh", model="line\u2028separator \x85 and \n end", caveats=()),
        dataclasses.replace(RECORD, language="sw", revision="a" * 40, seed=3, limited=5),
    ]
    records.write_records(path, [RECORD, *others])
    assert records.read_records(path) == [RECORD, others[1], others[0]]
    assert len(path.read_bytes().splitlines()) == 3


def test_a_file_that_is_not_there_holds_no_record(tmp_path: Path) -> None:
    assert records.read_records(tmp_path / "records.jsonl") == []


def test_no_record_is_an_empty_file(tmp_path: Path) -> None:
    records.write_records(tmp_path / "records.jsonl", [])
    assert (tmp_path / "records.jsonl").read_bytes() == b""
    assert records.read_records(tmp_path / "records.jsonl") == []


def test_records_lie_in_order_of_task_language_variant_and_metric(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    ordered = [
        dataclasses.replace(RECORD, task=task, language=language, variant=variant, metric=metric)
        for task in ("bucc2018", "tatoeba")
        for language in ("de", "zh")
        for variant in ("xtreme.layer8.mean", "xtreme.layer8.mean.en-xx")
        for metric in ("accuracy", "weighted_f1")
    ]
    shuffled = [ordered[index] for index in np.random.default_rng(0).permutation(len(ordered))]
    records.write_records(path, shuffled)
    first = path.read_bytes()
    assert records.read_records(path) == ordered
    records.write_records(path, shuffled[::-1])
    assert path.read_bytes() == first


@pytest.mark.parametrize(
    "line",
    [
        _line(schema=2),
        _line(schema=None),
        _line(schema="1"),
        _line(surprise=1),
        json.dumps({"schema": 1, "caveats": []}),
        json.dumps({"schema": 1}),
        _line(caveats=None),
        "",
        "{",
        records.to_line(RECORD)[:-20],
        "[]",
        "3",
        "null",
        '"text"',
    ],
)
def test_a_line_that_is_no_record_of_this_schema_is_named_with_file_and_line(
    tmp_path: Path, line: str
) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(f"{records.to_line(RECORD)}\n{line}\n", encoding="utf-8")
    with pytest.raises(OutputError, match=rf"^{re.escape(str(path))}, line 2: not a record .*another folder"):
        records.read_records(path)


def test_another_schema_is_told_with_both_versions() -> None:
    with pytest.raises(OutputError, match=r"schema version 7, this harness writes 1"):
        records.from_line(_line(schema=7), "here")


def test_a_record_whose_number_is_not_a_number_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        records.to_line(dataclasses.replace(RECORD, value=float("nan")))


@pytest.mark.parametrize(
    ("caveats", "limited", "comparable"),
    [((), None, True), (("sample",), None, False), ((), 10, False), (("sample",), 10, False)],
)
def test_a_record_with_a_caveat_or_a_limit_is_not_comparable(
    caveats: tuple[str, ...], limited: int | None, comparable: bool
) -> None:
    assert dataclasses.replace(RECORD, caveats=caveats, limited=limited).comparable is comparable


def test_a_record_belongs_to_the_unit_of_its_task_and_language() -> None:
    assert RECORD.unit == ("tatoeba", "de", None)


def test_predictions_lie_by_task_variant_seed_and_language(tmp_path: Path) -> None:
    paths = [
        records.predictions_path(tmp_path, "xnli", "xtreme.last.cls", seed, "de").relative_to(tmp_path)
        for seed in (None, 0, 3)
    ]
    assert [path.as_posix() for path in paths] == [
        f"predictions/xnli/xtreme.last.cls/seed-{name}/de.parquet" for name in ("none", "0", "3")
    ]


def test_predictions_are_written_with_the_parts_of_each_metric(tmp_path: Path) -> None:
    import pandas as pd

    predictions = Predictions(
        view="mined", ids=["xx-0", "xx-1"], gold=[["en-0"], []], values=[[{"target": "ä"}], []]
    )
    parts = {"f1": {"hits": np.array([1.0, 0.0])}, "short": {"other": np.array([1.0])}}
    path = tmp_path / "deep" / "de.parquet"
    records.write_predictions(path, predictions, parts)
    table = pd.read_parquet(path)
    assert table.columns.tolist() == ["id", "gold", "prediction", "f1.hits"]
    assert table["id"].tolist() == ["xx-0", "xx-1"]
    assert table["gold"].tolist() == ['["en-0"]', "[]"]
    assert table["prediction"].tolist() == ['[{"target":"ä"}]', "[]"]
    assert table["f1.hits"].tolist() == [1.0, 0.0]
