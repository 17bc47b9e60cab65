"""Brings the recipes and the published numbers of this package to the harness. Holds neither itself."""

from __future__ import annotations

import importlib.resources
from collections.abc import Iterable, Iterator

from harness import hookimpl
from harness.baselines import Baseline, read_baseline
from harness.recipetext import RecipeText


def _files(folder: str, ending: str) -> Iterator[tuple[str, str]]:
    """Name without ending and text of each file of a data folder, in order of name."""
    there = importlib.resources.files("harness_tasks") / folder
    for name in sorted(item.name for item in there.iterdir() if item.name.endswith(ending)):
        yield name.removesuffix(ending), (there / name).read_text(encoding="utf-8")


@hookimpl
def harness_recipes() -> Iterable[RecipeText]:
    """Every ``recipes/*.yaml``, not yet read: a broken one must not take the others down."""
    return [
        RecipeText(name=name, text=text, file=f"harness_tasks/recipes/{name}.yaml")
        for name, text in _files("recipes", ".yaml")
    ]


@hookimpl
def harness_baselines() -> Iterable[Baseline]:
    """Every ``baselines/*.toml``."""
    return [read_baseline(text, f"{name}.toml") for name, text in _files("baselines", ".toml")]
