"""Recipes as texts, read."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.recipefile import read_recipe
from harness.recipenames import RecipeFile
from harness.recipetext import RecipeText
from harness.stages import Setting, Stage

HEAD = """\
title: A title
question: >-
  A question
  of two lines?
models: [base/model]
targets: [xnli]
"""


# An experiment of two cells that takes seconds.
TINY = """
title: Tiny
question: Does it run?
models: [sample]
settings:
  - name: baseline
  - each: [copa]
targets: [tatoeba, pawsx]
languages: [de]
data: sample
hyper: {max_steps: 2, batch_size: 8, warmup: 0}
stage:
  hyper: {max_steps: 2, batch_size: 8, warmup: 0}
"""
# What other recipes extend.
PARENT = """
title: Parent
question: Why?
models: [m]
lists: {tasks: [a, b, c], seeds: [0, 1]}
settings:
  - name: baseline
  - each: $tasks
  - multitask: [$tasks, d]
targets: [xtreme]
seeds: $seeds
limit: 9
"""


def read(text: str, **others: str) -> RecipeFile:
    """A file ``test.yaml``, with other recipes that ship."""
    shipped = {name: RecipeText(name=name, text=other, file=f"{name}.yaml") for name, other in others.items()}
    return read_recipe(RecipeText(name="test", text=text, file="test.yaml"), shipped)


def settings(text: str) -> dict[str, Setting]:
    """The settings of a file of which only these are given, by name."""
    found = read(HEAD + "settings:\n" + text).recipe.settings
    return {setting.name: setting for setting in found}


def stages(text: str) -> tuple[Stage, ...]:
    """The stages of the only setting."""
    (setting,) = settings(text).values()
    return setting.stages


def complaint(text: str, **others: str) -> str:
    """What is said of a bad file."""
    with pytest.raises(UsageError) as error:
        read(text, **others)
    assert "\n" not in str(error.value)
    return str(error.value)
