"""Folders that are no runs, and prediction files that are damaged."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gated import labels, write_run

from harness import OutputError, Predictions
from harness.catalog import Catalog
from harness.gate import gate
from harness.records import read_predictions, write_predictions


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
