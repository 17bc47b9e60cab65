"""Evaluate zero-shot cross-lingual transfer: the core's public names, loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from harness.version import __version__

if TYPE_CHECKING:
    from harness import files, languages
    from harness.api import evaluate
    from harness.errors import (
        DataError,
        HarnessError,
        ModelError,
        OutputError,
        PluginError,
        SpecError,
        UsageError,
    )
    from harness.formats.base import Example, Format, Head, HeadFormat, Json, Predictions, VectorFormat
    from harness.hooks import hookimpl, hookspec
    from harness.metric import Metric, Parts, Score
    from harness.records import Record
    from harness.run import Run
    from harness.spec import (
        Encoding,
        FilesSource,
        HubSource,
        MetricUse,
        Row,
        Schedule,
        Submission,
        TaskSpec,
        Training,
    )
    from harness.suite import Suite, SuiteTask
    from harness.training import train

__all__ = [
    "DataError",
    "Encoding",
    "Example",
    "FilesSource",
    "Format",
    "HarnessError",
    "Head",
    "HeadFormat",
    "HubSource",
    "Json",
    "Metric",
    "MetricUse",
    "ModelError",
    "OutputError",
    "Parts",
    "PluginError",
    "Predictions",
    "Record",
    "Row",
    "Run",
    "Schedule",
    "Score",
    "SpecError",
    "Submission",
    "Suite",
    "SuiteTask",
    "TaskSpec",
    "Training",
    "UsageError",
    "VectorFormat",
    "__version__",
    "evaluate",
    "files",
    "hookimpl",
    "hookspec",
    "languages",
    "train",
]

# Where each name comes from. Nothing is imported before it is asked for: ``harness --help`` needs none of it.
_HOMES = {
    name: home
    for home, names in (
        ("harness.api", "evaluate"),
        ("harness.errors", "DataError HarnessError ModelError OutputError PluginError SpecError UsageError"),
        ("harness.formats.base", "Example Format Head HeadFormat Json Predictions VectorFormat"),
        ("harness.hooks", "hookimpl hookspec"),
        ("harness.metric", "Metric Parts Score"),
        ("harness.records", "Record"),
        ("harness.run", "Run"),
        (
            "harness.spec",
            "Encoding FilesSource HubSource MetricUse Row Schedule Submission TaskSpec Training",
        ),
        ("harness.suite", "Suite SuiteTask"),
        ("harness.training", "train"),
    )
    for name in names.split()
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'harness' has no attribute '{name}'")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    return import_module(f"harness.{name}")
