"""``--set``: another setting of a task's format shows wherever the number shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        ("margin=distance", "+margin=distance"),
        ("k=2", "+k=2"),
        ("retrieval=intersect", "+retrieval=intersect"),
    ],
)
def test_a_changed_setting_is_part_of_variant_recipe_and_caveats(
    cli: Callable[..., Any], tmp_path: Path, setting: str, part: str
) -> None:
    own = cli("eval", "-m", "sample", "-t", "bucc2018", "--data", "sample", "-o", tmp_path / "run", "--json")
    changed = cli(
        *("eval", "-m", "sample", "-t", "bucc2018", "--data", "sample", "-o", tmp_path / "run", "--json"),
        *("--set", f"bucc2018.{setting}"),
    )
    assert own.code == changed.code == 0
    before, after = (json.loads(told.out)["records"] for told in (own, changed))
    new = [record for record in after if part in record["variant"]]
    assert len(after) == len(before) + len(new)
    assert len(new) == len(before)
    assert all(setting.replace("=", " was set to ") in record["caveats"] for record in new)
    assert not {record["recipe"] for record in new} & {record["recipe"] for record in before}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bucc2018.margin=cosine", "'cosine' is not allowed; there are absolute, ratio, distance"),
        ("bucc2018.k=0", "k=0: must be a whole number of at least 1"),
        ("bucc2018.depth=3", "no setting 'depth' here; there are margin, k, retrieval"),
        ("tatoeba.k=3", "task 'tatoeba' is not selected"),
        ("margin", "give TASK.SETTING=VALUE"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(
    cli: Callable[..., Any], tmp_path: Path, text: str, words: str
) -> None:
    told = cli(
        "eval", "-m", "sample", "-t", "bucc2018", "--data", "sample", "-o", tmp_path / "run", "--set", text
    )
    assert told.code == 2
    assert words in told.complaint
    assert not (tmp_path / "run").exists()
