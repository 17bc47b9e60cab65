"""Folders of experiments made by hand, cell by cell, for tests of their report."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness_metrics.accuracy import ACCURACY

from harness import Metric, Predictions, Record, Suite, SuiteTask, digests
from harness.records import predictions_path, write_predictions, write_records
from harness.report.experiment import (
    Findings,
)
from harness.report.experiment.layout import MANIFEST
from harness.report.experiment.matrix import Effect
from harness.statistics import score

N = 40
SUITE = Suite(
    name="small",
    title="A small suite",
    tasks=(
        SuiteTask(task="xnli", languages=("en", "de", "sw"), group="classification"),
        SuiteTask(task="tatoeba", languages=("de", "ja"), group="retrieval"),
    ),
    citation="@misc{small}",
)
Make = Callable[..., Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One language of one target: which items are right."""

    right: Sequence[bool]
    task: str = "xnli"
    language: str = "de"
    split: str = "test"
    metric: Metric = ACCURACY
    ids: Sequence[str] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


def first(count: int, n: int = N, **others: Any) -> Answers:
    """The first ``count`` of ``n`` items right."""
    return Answers(right=[place < count for place in range(n)], **others)


@dataclass(slots=True, kw_only=True)
class Folder:
    """Writes an experiment folder cell by cell."""

    path: Path
    make: Make
    settings: list[dict[str, Any]] = field(default_factory=list)
    cells: list[dict[str, Any]] = field(default_factory=list)
    recipe: dict[str, Any] = field(
        default_factory=lambda: {"name": "small", "title": "Small", "question": "Why?"}
    )

    def setting(self, name: str, **axes: str) -> None:
        """A setting; ``baseline`` is the one without stages."""
        stages = [] if name == "baseline" else [{"tasks": [name]}]
        self.settings.append({"name": name, "axes": axes, "stages": stages})

    def cell(
        self,
        setting: str,
        answers: Iterable[Answers],
        *,
        seed: int = 0,
        model: str = "enc",
        lineage: Sequence[Mapping[str, Any]] = (),
        **facts: Any,
    ) -> Path:
        """One cell with its run folder; an unknown setting is added."""
        if setting not in [known["name"] for known in self.settings]:
            self.setting(setting)
        identity = f"cell-{len(self.cells)}"
        folder = self.path / "runs" / identity
        records = [self._scored(folder, one, seed) for one in answers]
        write_records(folder / "records.jsonl", records)
        needed = ("run", "identity", "model", "versions", "hardware", "data", "started")
        manifest = {
            **dict.fromkeys(needed, ""),
            "schema": 1,
            "status": "done",
            "units": facts.pop("units", []),
        }
        (folder / "run.json").write_text(json.dumps(manifest), encoding="utf-8")
        (folder / "lineage.json").write_text(json.dumps(lineage), encoding="utf-8")
        usual = {
            "id": identity,
            "model": model,
            "setting": setting,
            "seed": seed,
            "folder": f"runs/{identity}",
        }
        self.cells.append({**usual, "status": "done", "error": "", "seconds": 2.0, **facts})
        return folder

    def _scored(self, folder: Path, one: Answers, seed: int) -> Record:
        gold: list[Any] = [0] * len(one.right)
        values: list[Any] = [0 if right else 1 for right in one.right]
        found = score(one.metric, gold, values)
        usual: dict[str, Any] = {
            "task": one.task,
            "language": one.language,
            "split": one.split,
            "metric": one.metric.name,
            "signature": one.metric.signature,
            "value": found.value,
            "stderr": found.stderr,
            "n": found.n,
            "higher_is_better": one.metric.higher_is_better,
            "seed": None if one.task == "tatoeba" else seed,
            "variant": f"xtreme.{one.split}",
            "data": f"{one.task} {one.split}",
        }
        ids = one.ids or [f"{one.language}-{place}" for place in range(len(gold))]
        record = self.make(**{**usual, "items": digests.of_value(list(ids)), **one.record})
        path = predictions_path(folder, record.task, record.variant, record.seed, record.language)
        predictions = Predictions(view="", ids=ids, gold=gold, values=values)
        write_predictions(path, predictions, {one.metric.name: one.metric.parts(gold, values)})
        return record

    def write(self, **changes: Any) -> Path:
        """``experiment.json`` of all that was added."""
        manifest = {
            "schema": 1,
            "kind": "experiment",
            "recipe": self.recipe,
            "settings": self.settings,
            "models": [{"name": name} for name in dict.fromkeys(cell["model"] for cell in self.cells)],
            "cells": self.cells,
            "started": "2020-01-01T00:00:00Z",
            "finished": "2020-01-01T01:00:00Z",
            "seconds": 3600.0,
            "versions": {"harness": "0"},
            "hardware": {"cores": 2},
        }
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / MANIFEST).write_text(json.dumps({**manifest, **changes}), encoding="utf-8")
        return self.path


def languages_right(task: str = "xnli", **right: int) -> list[Answers]:
    """Several languages of one target, so many items right in each."""
    return [first(count, task=task, language=language) for language, count in right.items()]


def effect_of(found: Findings, setting: str, target: str = "xnli", model: str = "enc") -> Effect:
    """One cell of the matrix that must be there."""
    effect = found.matrix.at(model, setting, target)
    assert effect is not None
    return effect


def phase_of(task: str, dev: Sequence[tuple[str, float]], **facts: Any) -> dict[str, Any]:
    """A training of a lineage, with what was scored on dev after it."""
    entries = [
        {
            "task": name,
            "metric": "masked_lm_loss" if name == "mlm" else "accuracy",
            "value": value,
            "n": 10,
            "higher_is_better": name != "mlm",
        }
        for name, value in dev
    ]
    courses = [
        {
            "task": task,
            "from": task,
            "language": "en",
            "examples": 100,
            "weight": 1.0,
            "share": 1.0,
            "steps": 5,
        }
    ]
    usual = {
        "schema": 2,
        "kind": "intermediate",
        "parent": {"name": "enc", "weights": "w"},
        "courses": courses,
    }
    return {**usual, "key": f"{task}-{len(dev)}", "seed": 0, "steps": 5, "dev": entries, **facts}


def number_of(**changes: Any) -> dict[str, Any]:
    """A published number."""
    usual = {"model": "big", "task": "xnli", "metric": "accuracy", "value": 80.0, "source": "a paper"}
    return {**usual, **changes}
