"""What a sequence of phases forgets: dev scores of every task learned so far, after each phase. Knows lineages only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.experiment.board import mean
from harness.report.experiment.layout import Experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """One task in one sequence.

    Attributes:
        phases: What each phase learned, e.g. ``mnli`` or ``mnli + qqp``.
        task: Its dev score; ``metric`` which. Percent, or nats for a loss (per hidden token or per pair).
        values: After each phase, mean over seeds; None before the task was learned and where nothing was measured.
        drop: By how much the last phase leaves it worse than its best phase, mean over seeds; never negative.
        seeds: That were measured.
    """

    model: str
    setting: str
    phases: tuple[str, ...]
    task: str
    metric: str
    higher_is_better: bool
    values: tuple[float | None, ...]
    drop: float | None
    seeds: tuple[int, ...]


def forgetting(experiment: Experiment) -> list[Forgotten]:
    """One entry per model, sequential setting (two phases or more), task and metric."""
    found = []
    for model in experiment.models:
        for setting in experiment.settings:
            lineages = {
                cell.seed: cell.lineage
                for cell in experiment.of(model, setting.name)
                if len(cell.lineage) > 1
            }
            length = max(map(len, lineages.values()), default=0)
            whole = {seed: phases for seed, phases in lineages.items() if len(phases) == length}
            if whole:
                found += _of_setting(model, setting.name, whole)
    return found


def phase_name(phase: Mapping[str, Any]) -> str:
    """The tasks of a phase, e.g. ``mnli + qqp``."""
    return " + ".join(dict.fromkeys(str(course.get("task", "?")) for course in phase.get("courses") or ()))


def _of_setting(
    model: str, setting: str, lineages: Mapping[int, Sequence[Mapping[str, Any]]]
) -> list[Forgotten]:
    phases = tuple(phase_name(phase) or "?" for phase in next(iter(lineages.values())))
    tables = {seed: _table(lineage) for seed, lineage in lineages.items()}
    rows = dict.fromkeys(row for table in tables.values() for row in table)
    found = []
    for task, metric, higher in rows:
        by_seed = {
            seed: table[task, metric, higher]
            for seed, table in tables.items()
            if (task, metric, higher) in table
        }
        drops = [drop for values in by_seed.values() if (drop := _drop(values, higher)) is not None]
        found.append(
            Forgotten(
                model=model,
                setting=setting,
                phases=phases,
                task=task,
                metric=metric,
                higher_is_better=higher,
                values=tuple(
                    _mean([values[place] for values in by_seed.values()]) for place in range(len(phases))
                ),
                drop=mean(drops) if drops else None,
                seeds=tuple(sorted(by_seed)),
            )
        )
    return found


def _table(lineage: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, bool], list[float | None]]:
    """Task, metric and direction to its value after each phase."""
    table: dict[tuple[str, str, bool], list[float | None]] = {}
    for place, phase in enumerate(lineage):
        for entry in phase.get("dev") or ():
            value = entry.get("value")
            key = (
                str(entry.get("task")),
                str(entry.get("metric", "")),
                bool(entry.get("higher_is_better", True)),
            )
            if isinstance(value, int | float) and math.isfinite(value):
                table.setdefault(key, [None] * len(lineage))[place] = float(value)
    return table


def _drop(values: Sequence[float | None], higher: bool) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < 2 or values[-1] is None:
        return None
    return max(known) - known[-1] if higher else known[-1] - min(known)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None
