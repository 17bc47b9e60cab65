"""The hooks that a plugin implements. Signatures only; knows nothing about loading.

A plugin is a module named by an entry point of the group ``harness``. It marks functions with :data:`hookimpl`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from harness.baselines import Baseline
from harness.encoders import EncoderAdapter
from harness.metric import Metric
from harness.recipetext import RecipeText
from harness.spec import TaskSpec
from harness.suite import Suite

PROJECT = "harness"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def harness_tasks() -> Iterable[TaskSpec]:
    """The tasks that this plugin brings. Called once, at start; import nothing heavy."""
    return ()


@hookspec
def harness_metrics() -> Iterable[Metric]:
    """The metrics that this plugin brings."""
    return ()


@hookspec
def harness_suites() -> Iterable[Suite]:
    """The suites (named lists of tasks) that this plugin brings."""
    return ()


@hookspec
def harness_encoders() -> Iterable[EncoderAdapter]:
    """The families of encoders that this plugin knows how to run. Import no torch outside their functions."""
    return ()


@hookspec
def harness_recipes() -> Iterable[RecipeText]:
    """The experiments that this plugin brings, as texts; they are read when one is asked for."""
    return ()


@hookspec
def harness_baselines() -> Iterable[Baseline]:
    """The sets of published numbers that this plugin brings."""
    return ()
