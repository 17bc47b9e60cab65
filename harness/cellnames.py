"""Names the cells of an experiment by all that decides their numbers, and by nothing else. Imports no torch.

What gives equal numbers has one name, so that its results are found again: a model folder counts by its content wherever it
lies, devices of a kind are alike, and what is chosen automatically is named by what is chosen.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from harness import digests
from harness.checkpoints import asked_of, open_checkpoint
from harness.errors import ModelError, UsageError
from harness.recipes import Recipe, cells, prefix_id

_AUTO_DTYPES = {"cpu": "float32", "cuda": "bfloat16"}


def cell_names(recipe: Recipe, *, device: str, dtype: str, data: str, deterministic: bool) -> list[str]:
    """16 hexadecimal digits for each cell, in the order of :func:`harness.recipes.cells`.

    Args:
        recipe: Its targets and languages do not count, nor do names and texts: a run folder may hold more units later.
        device: On which cells run. ``auto`` counts as a CPU, so settle it before.
        dtype: In which models run. ``auto`` counts as float32 on CPUs and as bfloat16 on CUDA devices.
        data: Its kind alone counts, not where a folder lies; its rows have digests of their own in the records.
        deterministic: Whether batches are the canonical ones.

    Raises:
        UsageError: Two models of the recipe are folders of the same content.
    """
    kind = "cuda" if device.startswith("cuda") else "cpu"
    settings = {name: getattr(recipe, name) for name in ("protocol", "split", "limit", "train_from", "hyper")}
    given = [
        kind,
        _AUTO_DTYPES[kind] if dtype == "auto" else dtype,
        _kind_of_data(data),
        deterministic,
    ]
    models = _contents(recipe)
    return [
        digests.of_value(
            [
                prefix_id(
                    replace(cell.model, model=models[cell.model.model]), cell.setting.stages, cell.seed
                ),
                settings,
                given,
            ],
            16,
        )
        for cell in cells(recipe)
    ]


def _kind_of_data(data: str) -> str:
    if data in ("hub", "sample"):
        return data
    return "files+hub" if data.endswith("+hub") and not Path(data).is_dir() else "files"


def _contents(recipe: Recipe) -> dict[str, str]:
    """Each model, as the recipe has it, to what it is; a folder is read once."""
    found: dict[str, str] = {}
    named: dict[str, str] = {}
    for model in recipe.models:
        found[model.model] = _content(model.model)
        before = named.setdefault(found[model.model], model.name)
        if before != model.name:
            raise UsageError(
                f"recipe '{recipe.name}': models '{before}' and '{model.name}' are folders of the same content; leave one out"
            )
    return found


def _content(model: str) -> str:
    """The digest of a model folder; the name of what is none, and of one that cannot be opened."""
    # Built-in models follow the harness and are made when they are first used.
    if re.fullmatch(r"sample(-[\w-]+)?", model) or not Path(asked_of(model)[0]).is_dir():
        return model
    try:
        found = open_checkpoint(model)
    except ModelError:  # its cells will fail, the others go on
        return model
    heads = {task: head.digest for task, head in found.heads.items()}
    return digests.of_value([found.weights, found.tokenizer, heads], 32)
