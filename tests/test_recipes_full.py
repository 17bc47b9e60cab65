"""Every shipped recipe has a small twin on the built-in sample, and each of those runs from end to end."""

from __future__ import annotations

import csv
import importlib.resources
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import Catalog
from harness.recipefile import find_recipe
from harness.recipes import Recipe, cells
from harness.registry import load_catalog

FILES = importlib.resources.files("harness_tasks") / "recipes"
NAMES = sorted(path.name.removesuffix(".yaml") for path in FILES.iterdir() if path.name.endswith(".yaml"))
SAMPLES = [name for name in NAMES if name.endswith("-sample")]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(others=False)


@pytest.fixture(scope="module")
def recipes(catalog: Catalog) -> Mapping[str, Recipe]:
    return {name: find_recipe(name, catalog.recipes).recipe for name in NAMES}


def test_every_full_recipe_has_a_sample() -> None:
    full = (
        *("architectures-xnli", "data-scale", "multitask-vs-sequential-typology", "order", "phang2020"),
        "sequential-vs-single",
    )
    assert {f"{name}-sample" for name in full} <= set(SAMPLES)
    assert {name.removesuffix("-sample") for name in SAMPLES} <= set(NAMES)


def test_the_samples_learn_every_intermediate_task(catalog: Catalog, recipes: Mapping[str, Recipe]) -> None:
    """But for translation ranking, which no study of intermediate tasks has, and which the small encoder learns."""
    learned = {
        task
        for name in (*SAMPLES, "mini-multilingual")
        for setting in recipes[name].settings
        for stage in setting.stages
        for task in (*stage.tasks, *(stage.masked.tasks if stage.masked.share else ()))
    }
    brought = {
        task
        for plugin in catalog.plugins
        if plugin.module.startswith("harness_intermediate.")
        for task in plugin.tasks
    }
    assert len(brought) >= 14
    assert learned == brought


def test_the_samples_ask_for_the_same_analyses_and_kinds_of_settings(recipes: Mapping[str, Recipe]) -> None:
    for name in SAMPLES:
        small, large = recipes[name], recipes[name.removesuffix("-sample")]
        assert small.analyses == large.analyses
        assert small.baselines == large.baselines
        assert {len(setting.stages) for setting in small.settings} <= {
            len(setting.stages) for setting in large.settings
        }
        assert any(not setting.stages for setting in small.settings)


@pytest.mark.full
@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_recipe_runs_from_end_to_end(
    cli: Callable[..., Any], tmp_path: Path, recipes: Mapping[str, Recipe], name: str
) -> None:
    """Cells of several recipes are found in one cache, as on a user's machine."""
    out = tmp_path / name
    said = cli("run", name, "-o", out)
    assert said.code == 0, said.err
    told = json.loads((out / "experiment.json").read_text(encoding="utf-8"))
    assert [cell["status"] for cell in told["cells"]] == ["done"] * len(cells(recipes[name]))
    for cell in told["cells"]:
        folder = out / cell["folder"]
        stages = next(s["stages"] for s in told["settings"] if s["name"] == cell["setting"])
        lineage = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
        learned = [{course["task"] for course in entry["courses"]} for entry in lineage]
        assert learned == [{*stage["tasks"], *stage.get("masked", {}).get("tasks", [])} for stage in stages]
        assert (folder / "records.jsonl").stat().st_size > 0
    assert (out / "report.html").stat().st_size > 5_000
    assert recipes[name].title in (out / "report.md").read_text(encoding="utf-8")
    with (out / "matrix.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows
    assert {row["setting"] for row in rows} == {setting.name for setting in recipes[name].settings}
    assert "Traceback" not in said.err
    assert "Warning" not in said.err


@pytest.mark.full
def test_a_sample_recipe_that_is_done_computes_nothing(cli: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "order"
    assert cli("run", "order-sample", "-o", out).code == 0
    before = {path: path.read_bytes() for path in out.rglob("records.jsonl")}
    again = cli("run", "order-sample", "-o", out)
    assert again.code == 0, again.err
    assert " steps" not in again.err
    assert {path: path.read_bytes() for path in out.rglob("records.jsonl")} == before
