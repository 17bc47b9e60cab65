"""What a sequence of phases forgets: dev scores of every task learned so far, after each phase. Knows lineages only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from harness.report.experiment.board import mean
from harness.report.experiment.layout import Experiment

# Task, metric, whether higher is better, and what it was measured on: only where all agree are two scores of one thing.
Row: TypeAlias = tuple[str, str, bool, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """One task in one sequence.

    Attributes:
        phases: What each phase learned, e.g. ``mnli`` or ``mnli + qqp``.
        task: Its dev score; ``metric`` which. Percent, or nats for a loss (per hidden token or per pair).
        held_out: On what: split, languages and limit; empty where the lineage does not tell.
        values: After each phase, mean over seeds; None before the task was learned and where nothing was measured.
        drop: By how much the last phase leaves it worse than its best phase, mean over seeds; never negative. None where
            no other phase was measured on the same examples.
        seeds: That were measured.
    """

    model: str
    setting: str
    phases: tuple[str, ...]
    task: str
    metric: str
    higher_is_better: bool
    held_out: str
    values: tuple[float | None, ...]
    drop: float | None
    seeds: tuple[int, ...]


def forgetting(experiment: Experiment) -> list[Forgotten]:
    """One entry per model, sequential setting (two phases or more), task, metric and held-out examples."""
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
    for row in rows:
        task, metric, higher, held_out = row
        by_seed = {seed: table[row] for seed, table in tables.items() if row in table}
        drops = [drop for values in by_seed.values() if (drop := _drop(values, higher)) is not None]
        found.append(
            Forgotten(
                model=model,
                setting=setting,
                phases=phases,
                task=task,
                metric=metric,
                higher_is_better=higher,
                held_out=held_out,
                values=tuple(
                    _mean([values[place] for values in by_seed.values()]) for place in range(len(phases))
                ),
                drop=mean(drops) if drops else None,
                seeds=tuple(sorted(by_seed)),
            )
        )
    return found


def _table(lineage: Sequence[Mapping[str, Any]]) -> dict[Row, list[float | None]]:
    """What was measured to its value after each phase."""
    table: dict[Row, list[float | None]] = {}
    for place, phase in enumerate(lineage):
        for entry in phase.get("dev") or ():
            value = entry.get("value")
            key = (
                str(entry.get("task")),
                str(entry.get("metric", "")),
                bool(entry.get("higher_is_better", True)),
                _held_out(entry),
            )
            if isinstance(value, int | float) and math.isfinite(value):
                table.setdefault(key, [None] * len(lineage))[place] = float(value)
    return table


def _held_out(entry: Mapping[str, Any]) -> str:
    """The examples of a dev score in words, the same for the same examples."""
    languages, limit = sorted(map(str, entry.get("languages") or ())), entry.get("limit")
    told = [str(entry.get("split") or ""), " ".join(languages), "" if limit is None else f"{limit} at most"]
    return ", ".join(text for text in told if text)


def _drop(values: Sequence[float | None], higher: bool) -> float | None:
    known = [value for value in values if value is not None]
    if len(known) < 2 or values[-1] is None:
        return None
    return max(known) - known[-1] if higher else known[-1] - min(known)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return mean(known) if known else None
