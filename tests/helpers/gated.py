"""Run folders made by hand, of whose cells everything is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from harness_metrics.accuracy import ACCURACY
from harness_metrics.mining import MINING
from numpy.typing import NDArray

from harness import Json, Metric, Predictions, Record, digests
from harness.gate import Gate, Status
from harness.records import predictions_path, write_predictions
from harness.run import RunWriter
from harness.statistics import score

F1 = MINING[0]


N = 200


Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One cell of a run made by hand: predictions, and what differs from the usual record."""

    task: str = "xnli"
    language: str = "de"
    gold: Sequence[Json]
    values: Sequence[Json]
    ids: Sequence[str] = ()
    metric: Metric = ACCURACY
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def predictions(self) -> Predictions:
        """As a format gives them."""
        ids = self.ids or [f"id-{number}" for number in range(len(self.gold))]
        return Predictions(view="", ids=ids, gold=self.gold, values=self.values)


def record_of(scored: Scored) -> Record:
    """The record of a cell."""
    found = score(scored.metric, scored.gold, scored.values)
    usual = Record(
        run="0123456789abcdef",
        task=scored.task,
        task_version=1,
        variant="xtreme.head",
        view="",
        language=scored.language,
        split="test",
        metric=scored.metric.name,
        signature=scored.metric.signature,
        value=found.value,
        stderr=found.stderr,
        n=found.n,
        higher_is_better=scored.metric.higher_is_better,
        main=True,
        limited=None,
        items=digests.of_lines(scored.predictions.ids)[:16],
        caveats=(),
        facts={},
        inputs={},
        trained={},
        model="m",
        revision=None,
        weights="w",
        dtype="float32",
        recipe="r",
        seed=None,
        source="s",
        data="d",
        plugin="p",
        distribution="d",
        version="1",
    )
    return replace(usual, **scored.record)


def write_run(
    folder: Path, scored: Sequence[Scored], failed: Mapping[tuple[str, str], str] | None = None
) -> Path:
    """A run folder with these cells, and failed ones with their errors."""
    units = []
    with RunWriter(folder, {"model": "m"}, "0123456789abcdef", "missing") as writer:
        for one in scored:
            record = record_of(one)
            path = predictions_path(folder, one.task, record.variant, record.seed, one.language)
            parts = one.metric.parts(one.gold, one.values)
            write_predictions(path, one.predictions, {one.metric.name: parts})
            writer.add([record])
            units.append(
                {
                    "task": one.task,
                    "language": one.language,
                    "seed": record.seed,
                    "status": "done",
                    "error": "",
                }
            )
        for (task, language), error in (failed or {}).items():
            units.append(
                {"task": task, "language": language, "seed": None, "status": "failed", "error": error}
            )
        needed = ("run", "status", "identity", "units", "model", "versions", "hardware", "data", "started")
        manifest: dict[str, Any] = {key: {} for key in needed}
        manifest.update(schema=1, run="0123456789abcdef", status="complete", units=units)
        writer.write_manifest(manifest)
    return folder


def labels(n: int = N, seed: int = 1, **others: Any) -> Scored:
    """A cell of three labels, seven in ten right."""
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, 3, n).tolist()
    values = np.where(generator.random(n) < 0.7, gold, 3).tolist()
    return Scored(gold=gold, values=values, **others)


def damaged(scored: Scored, share: float, seed: int = 2) -> Scored:
    """The cell with a share of its predictions made wrong."""
    wrong = np.random.default_rng(seed).random(len(scored.values)) < share
    return replace(
        scored, values=[9 if bad else value for bad, value in zip(wrong, scored.values, strict=True)]
    )


def pairs(n: int = N, seed: int = 1, found: float = 0.8, **others: Any) -> Scored:
    """A cell of mined pairs."""
    generator = np.random.default_rng(seed)
    gold = [["t"] if has else [] for has in np.random.default_rng(0).random(n) < 0.6]
    values = [
        [{"target": "t", "score": 1.0, "accepted": True}]
        if generator.random() < (found if answer else 0.1)
        else []
        for answer in gold
    ]
    return Scored(gold=gold, values=values, metric=F1, **others)


Compare = Callable[..., Gate]


def statuses(found: Gate) -> dict[str, Status]:
    """Cell to status."""
    return {cell.name: cell.status for cell in found.cells}
