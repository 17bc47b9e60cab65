"""Two runs cell by cell (task × language): what both scored, item by item, or why they cannot be compared.

Knows run folders and metrics; knows no test and no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from harness.arrays import NDArray, np
from harness.catalog import Catalog
from harness.errors import HarnessError
from harness.metric import Metric, Parts
from harness.paired import combined
from harness.records import Record, predictions_path, read_predictions

CellName: TypeAlias = tuple[str, str]
Cells: TypeAlias = Mapping[CellName, Sequence[Record]]
_TOLD = 3  # ids named in a message
_SAME = 1e-6  # percent points; a recorded value that differs from its predictions by more is not theirs


class NotComparableError(HarnessError):
    """Two sets of predictions that must not be compared."""

    exit_code = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One cell as both runs scored it.

    Attributes:
        metric: The main metric.
        variant: Protocol, encoding and view, the same in both.
        baseline: Its parts over the common items, each of shape ``(common,)``, mean over seeds; ``run`` likewise.
        common: Items that both scored; ``baseline_items`` those of the baseline.
        notes: What a reader should know about the comparison.
    """

    metric: Metric
    variant: str
    baseline: Parts
    run: Parts
    common: int
    baseline_items: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Side:
    """One run's predictions of a cell, mean over seeds; gold answers are canonical JSON texts by id."""

    gold: Mapping[str, str]
    parts: Parts


def main_cells(records: Iterable[Record]) -> dict[CellName, list[Record]]:
    """The main records by task and language, those of several seeds together."""
    cells: dict[CellName, list[Record]] = {}
    for record in records:
        if record.main:
            cells.setdefault((record.task, record.language), []).append(record)
    return cells


def pair(
    baseline_folder: Path,
    baseline: Sequence[Record],
    run_folder: Path,
    run: Sequence[Record],
    catalog: Catalog,
) -> Pair:
    """The two sides of a cell over the items that both scored.

    Args:
        baseline_folder: Run folder of the baseline; ``run_folder`` that of the run.
        baseline: Main records of the cell in the baseline, one per seed; ``run`` those in the run.
        catalog: Has the metric.

    Raises:
        NotComparableError: Another number was measured, or on other items, or the gold answers differ.
        UnknownNameError: Nobody provides the metric.
        OutputError: Predictions are missing or damaged.
    """
    metric = _one_number(baseline, run, catalog)
    notes = [*_same_data(baseline, run), *_notes(baseline, run)]
    before, after = _side(baseline_folder, baseline, metric), _side(run_folder, run, metric)
    common = [identity for identity in before.gold if identity in after.gold]
    if not common:
        raise NotComparableError("the runs have no item in common")
    other = [identity for identity in common if before.gold[identity] != after.gold[identity]]
    if other:
        told = ", ".join(repr(identity) for identity in other[:_TOLD])
        raise NotComparableError(
            f"the gold answers of {len(other)} of {len(common)} items differ (ids {told})"
        )
    if len(common) < max(len(before.gold), len(after.gold)):
        notes.append(
            f"{len(common)} common items, {len(before.gold)} in the baseline, {len(after.gold)} in the run"
        )
    return Pair(
        metric=metric,
        variant=run[0].variant,
        baseline=_chosen(before, common),
        run=_chosen(after, common),
        common=len(common),
        baseline_items=len(before.gold),
        notes=tuple(notes),
    )


def _one_number(baseline: Sequence[Record], run: Sequence[Record], catalog: Catalog) -> Metric:
    """The metric, if all records are of one number, and it is the one that the installed metric computes."""
    for told, values in (
        ("encoding and view", [record.variant for record in (*baseline, *run)]),
        ("metric", [record.signature for record in (*baseline, *run)]),
        ("split", [record.split for record in (*baseline, *run)]),
        ("version of the task", [str(record.task_version) for record in (*baseline, *run)]),
    ):
        if len(set(values)) > 1:
            before = ", ".join(sorted(set(values[: len(baseline)])))
            after = ", ".join(sorted(set(values[len(baseline) :])))
            raise NotComparableError(f"{told}: {before} in the baseline, {after} in the run")
    for side, records in (("baseline", baseline), ("run", run)):
        if len({record.training for record in records}) > 1:
            raise NotComparableError(f"seeds: those in the {side} are not of one training")
    first = baseline[0]
    metric = catalog.metric(first.metric)
    if metric.signature != first.signature:
        raise NotComparableError(
            f"metric: {first.signature} in both runs, the installed {metric.name} is {metric.signature}"
        )
    return metric


def _same_data(baseline: Sequence[Record], run: Sequence[Record]) -> Iterable[str]:
    """A note where the data differ but the items do not; refuses where both do, or where a limit chose other items."""
    both = (*baseline, *run)
    items = {record.items for record in both}
    if len(items) > 1 and any(record.limited is not None for record in both):
        limits = sorted({"all" if record.limited is None else str(record.limited) for record in both})
        raise NotComparableError(
            f"a limited run compares only on the same items (limits: {', '.join(limits)})"
        )
    if len({record.data for record in both}) > 1:
        if len(items) > 1:
            raise NotComparableError("both the data and the items differ")
        yield "the fingerprints of the data differ, ids are the same"


def _notes(baseline: Sequence[Record], run: Sequence[Record]) -> Iterable[str]:
    seeds = [", ".join(sorted(str(record.seed) for record in side)) for side in (baseline, run)]
    if seeds[0] != seeds[1]:
        yield f"seeds {seeds[0]} in the baseline, {seeds[1]} in the run"
    before = {caveat for record in baseline for caveat in record.caveats}
    after = {caveat for record in run for caveat in record.caveats}
    yield from (f"only in the baseline: {caveat}" for caveat in sorted(before - after))
    yield from (f"only in the run: {caveat}" for caveat in sorted(after - before))


def _side(folder: Path, records: Sequence[Record], metric: Metric) -> _Side:
    """The items that every seed has, with the mean of their parts over seeds."""
    sets = [_read(folder, record, metric) for record in records]
    first = sets[0]
    shared = [identity for identity in first.gold if all(identity in other.gold for other in sets[1:])]
    for other in sets[1:]:
        if any(first.gold[identity] != other.gold[identity] for identity in shared):
            raise NotComparableError(f"the gold answers differ between the seeds of {folder}")
    chosen = [_chosen(side, shared) for side in sets]
    names = dict.fromkeys(name for side in chosen for name in side)
    nothing = np.zeros(len(shared))
    parts = {name: np.mean([side.get(name, nothing) for side in chosen], axis=0) for name in names}
    return _Side({identity: first.gold[identity] for identity in shared}, parts)


def _read(folder: Path, record: Record, metric: Metric) -> _Side:
    path = predictions_path(folder, record.task, record.variant, record.seed, record.language)
    stored = read_predictions(path)
    parts = stored.parts.get(metric.name)
    if not parts:
        raise NotComparableError(f"{path} has no per-item parts of the metric '{metric.name}'")
    if not stored.ids:
        raise NotComparableError(f"{path} has no item")
    value = 100 * combined(metric, {name: float(np.mean(part)) for name, part in parts.items()})
    if not math.isclose(value, record.value, rel_tol=0, abs_tol=_SAME):
        raise NotComparableError(f"{path} gives {value:.4f}, but {record.value:.4f} is recorded")
    return _Side(dict(zip(stored.ids, stored.gold, strict=True)), parts)


def _chosen(side: _Side, ids: Sequence[str]) -> Parts:
    """The parts of some items, in their order."""
    if len(ids) == len(side.gold) and all(map(str.__eq__, ids, side.gold)):
        return side.parts
    place = {identity: index for index, identity in enumerate(side.gold)}
    chosen: NDArray[np.int64] = np.array([place[identity] for identity in ids], dtype=np.int64)
    return {name: part[chosen] for name, part in side.parts.items()}
