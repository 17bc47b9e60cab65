"""The regression gate: is a run worse than a baseline? Knows run folders and the rules of the verdict, no model.

A cell is a task in a language. It fails when the one-sided paired test, adjusted by Holm over all cells that were
tested, rejects «drop ≤ 0», and the drop is above the largest allowed one. What the gate says as a whole:

======  ==============  ========================================================================================
code    verdict         when
======  ==============  ========================================================================================
1       ``regression``  a cell fails, whatever else is the matter
4       ``undecided``   the baseline is no run folder; a cell of the baseline is missing in the run; a common cell
                        cannot be compared; or no cell has enough items
0       ``pass``        otherwise. Cells with too few items are named; cells that only the run has do not count
======  ==============  ========================================================================================
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from harness import digests, matching
from harness.catalog import Catalog
from harness.errors import HarnessError, UsageError
from harness.matching import NotComparableError, Pair, main_cells
from harness.paired import DRAWS, SAME, Comparison, compare, holm, smallest_drop
from harness.records import Record
from harness.run import Run, open_run

MAX_DROP = 0.5
ALPHA = 0.05
MIN_ITEMS = 30
REGRESSION, UNDECIDED = 1, 4
Status: TypeAlias = Literal["regression", "missing", "not comparable", "too few items", "pass", "new"]
ORDER: Mapping[Status, int] = {
    "regression": 0,
    "missing": 1,
    "not comparable": 2,
    "too few items": 3,
    "pass": 4,
    "new": 5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One task in one language.

    Attributes:
        status: ``missing`` is in the baseline only, ``new`` in the run only.
        reason: Why it was not tested; empty where it was.
        signature: Of the metric, empty where nothing was compared; likewise ``variant``.
        comparison: What the paired test found.
        adjusted_p: ``p`` adjusted by Holm over all tested cells.
        detectable: The drop, in percent points, that this test finds with 80 % power at alpha; None where the runs
            answered alike. ``detectable_adjusted`` likewise at alpha over the number of tested cells, Holm's first step.
        notes: What a reader should know about the comparison.
    """

    task: str
    language: str
    status: Status
    reason: str = ""
    signature: str = ""
    variant: str = ""
    comparison: Comparison | None = None
    adjusted_p: float | None = None
    detectable: float | None = None
    detectable_adjusted: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``task/language``."""
        return f"{self.task}/{self.language}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate says.

    Attributes:
        code: Exit code, 0, 1 or 4.
        word: ``pass``, ``regression`` or ``undecided``.
        sentence: Why, naming tasks and languages.
    """

    code: int
    word: Literal["pass", "regression", "undecided"]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A run held against a baseline.

    Attributes:
        run: Run folder; ``baseline`` that of the baseline.
        max_drop: Largest allowed drop, percent points.
        alpha: Level of the whole family of tests.
        min_items: Common items below which a cell is not tested.
        cells: Failures first, then what could not be decided, then the rest, each in order of task and language.
        obstacle: Why nothing could be compared at all; empty where something could.
    """

    run: Path
    baseline: Path
    max_drop: float
    alpha: float
    min_items: int
    cells: Sequence[Cell] = ()
    obstacle: str = ""

    @property
    def verdict(self) -> Verdict:
        """Verdict and exit code, from one function."""
        return verdict(self)

    def as_json(self) -> dict[str, Any]:
        """Everything as one JSON value; numbers of a comparison are keys of their cell, None where there is none."""
        names = [field.name for field in dataclasses.fields(Comparison)]
        cells = []
        for cell in self.cells:
            value = {
                field.name: getattr(cell, field.name)
                for field in dataclasses.fields(cell)
                if field.name != "comparison"
            }
            numbers = {name: getattr(cell.comparison, name, None) for name in names}
            cells.append({**value, "notes": list(cell.notes), **numbers})
        found = self.verdict
        return {
            "run": str(self.run),
            "baseline": str(self.baseline),
            "verdict": found.word,
            "exit_code": found.code,
            "sentence": found.sentence,
            "max_drop": self.max_drop,
            "alpha": self.alpha,
            "min_items": self.min_items,
            "cells": cells,
        }


def gate(
    run: Path,
    baseline: Path,
    catalog: Catalog,
    *,
    max_drop: float = MAX_DROP,
    alpha: float = ALPHA,
    min_items: int = MIN_ITEMS,
) -> Gate:
    """Hold a run against a baseline.

    Args:
        run: Run folder; ``baseline`` that of the baseline, which may be the same.
        catalog: Has the metrics.
        max_drop: Largest allowed drop, percent points, 0-100.
        alpha: Chance of any false alarm at all, 0.001-0.5.
        min_items: Common items below which a cell is not tested, at least 2.

    Raises:
        UsageError: A number outside its range.
        OutputError: ``run`` is not a run folder. (A baseline that is none is a verdict.)
    """
    if not (math.isfinite(max_drop) and 0 <= max_drop <= 100):
        raise UsageError(f"the largest allowed drop is {max_drop}; give percent points, 0 to 100")
    if not 0.001 <= alpha <= 0.5:
        raise UsageError(f"alpha is {alpha}; give a number from 0.001 to 0.5")
    if min_items < 2:
        raise UsageError(f"at least {min_items} items is not a limit; give 2 or more")
    opened = open_run(run)
    found = Gate(run=run, baseline=baseline, max_drop=max_drop, alpha=alpha, min_items=min_items)
    try:
        against = open_run(baseline)
    except HarnessError as error:
        return replace(found, obstacle=f"the baseline cannot be used: {error}")
    cells = _judged(_cells(opened, against, catalog, found), max_drop, alpha)
    if not any(cell.status not in ("missing", "new") for cell in cells):
        found = replace(found, obstacle="the runs have no task and language in common")
    ordered = sorted(cells, key=lambda cell: (ORDER[cell.status], cell.task, cell.language))
    return replace(found, cells=ordered)


def verdict(found: Gate) -> Verdict:
    """What the gate says and its exit code; see the table at the top of this module."""
    cells = found.cells
    failed = _having(cells, "regression")
    stuck = [*_having(cells, "missing"), *_having(cells, "not comparable")]
    few, passed = _having(cells, "too few items"), _having(cells, "pass")
    tested = len(failed) + len(passed)
    aside = f"{found.min_items} items or more are needed in {_named(few)}" if few else ""
    if failed:
        also = f"; not decided: {_named([*stuck, *few])}" if stuck or few else ""
        told = f"regression in {len(failed)} of {tested} tested cells: {_named(failed)}{also}"
        return Verdict(code=REGRESSION, word="regression", sentence=told)
    if found.obstacle:
        return Verdict(code=UNDECIDED, word="undecided", sentence=f"cannot decide: {found.obstacle}")
    if stuck:
        told = "; ".join(
            f"{text} {_named(of)}"
            for text, of in (
                ("the run lacks", _having(cells, "missing")),
                ("not comparable:", _having(cells, "not comparable")),
            )
            if of
        )
        return Verdict(code=UNDECIDED, word="undecided", sentence=f"cannot decide: {told}")
    if not passed:
        return Verdict(code=UNDECIDED, word="undecided", sentence=f"cannot decide: {aside}")
    told = f"no regression in {tested} tested cells{_blind(found, passed)}{f'; {aside}' if aside else ''}"
    return Verdict(code=0, word="pass", sentence=told)


def _blind(found: Gate, tested: Sequence[Cell]) -> str:
    """How many passed cells have too few items to show a drop of the size that matters."""
    blind = [cell for cell in tested if (cell.detectable or 0.0) > found.max_drop]
    if not blind:
        return ""
    return f" (in {len(blind)} of them there are too few items to find a drop of {found.max_drop:g} points reliably)"


def _having(cells: Iterable[Cell], status: Status) -> list[Cell]:
    return [cell for cell in cells if cell.status == status]


def _named(cells: Sequence[Cell]) -> str:
    """``tatoeba (de, sw), xnli (ur)``."""
    tasks: dict[str, list[str]] = {}
    for cell in cells:
        tasks.setdefault(cell.task, []).append(cell.language)
    return ", ".join(f"{task} ({', '.join(languages)})" for task, languages in tasks.items())


def _cells(run: Run, baseline: Run, catalog: Catalog, found: Gate) -> list[Cell]:
    """Every cell of the two runs, compared where it can be, not judged yet."""
    before, after = main_cells(baseline.records), main_cells(run.records)
    scored = {(record.task, record.language) for record in run.records}
    failures = {(unit[0], unit[1]): error for unit, error in run.failures.items()}
    # With fewer draws the smallest possible p would be above Holm's first step.
    draws = max(DRAWS, math.ceil(2 * len(before.keys() & after.keys()) / found.alpha))
    cells = []
    for task, language in sorted(before.keys() | after.keys()):
        name = task, language
        cell = Cell(task=task, language=language, status="new")
        if name not in after:
            only = "the run has it only in a variant that was not asked for last"
            gone = only if name in scored else "it is not in the run"
            cell = replace(cell, status="missing", reason=failures.get(name, gone))
        elif name in before:
            try:
                _check_single(baseline.folder, before[name])
                _check_single(run.folder, after[name])
                pair = matching.pair(baseline.folder, before[name], run.folder, after[name], catalog)
                cell = _compared(cell, pair, found.min_items, draws)
            except HarnessError as error:
                cell = replace(cell, status="not comparable", reason=str(error))
        cells.append(cell)
    return cells


def _check_single(folder: Path, records: Sequence[Record]) -> None:
    """One number per cell and seed, or it would not be known which is meant; raises NotComparableError."""
    ways = sorted({record.variant for record in records})
    if len(ways) > 1:
        raise NotComparableError(
            f"scored in {len(ways)} ways in {folder} ({', '.join(ways)}); compare run folders that hold one of them"
        )


def _compared(cell: Cell, pair: Pair, min_items: int, draws: int) -> Cell:
    seed = int(digests.of_value([cell.task, cell.language]), 16)
    cell = replace(
        cell,
        status="pass",
        signature=pair.metric.signature,
        variant=pair.variant,
        notes=pair.notes,
        comparison=compare(pair.metric, pair.baseline, pair.run, seed=seed, draws=draws),
    )
    if pair.common >= min_items:
        return cell
    # A small set is known to be small; one of which the run scored too little is not to be passed over.
    status: Status = "not comparable" if pair.baseline_items >= min_items else "too few items"
    told = f"{pair.common} common items of {pair.baseline_items}, {min_items} are needed"
    return replace(cell, status=status, reason=told)


def _judged(cells: Sequence[Cell], max_drop: float, alpha: float) -> list[Cell]:
    """The cells with their verdicts, now that all p-values are known."""
    tested = {cell.name: cell.comparison for cell in cells if cell.status == "pass" and cell.comparison}
    p = [comparison.p for comparison in tested.values()]
    adjusted = dict(zip(tested, holm(p), strict=True))
    judged = []
    for cell in cells:
        comparison = tested.get(cell.name)
        if comparison is not None:
            fails = adjusted[cell.name] <= alpha and comparison.drop > max_drop + SAME
            cell = replace(
                cell,
                status="regression" if fails else "pass",
                adjusted_p=adjusted[cell.name],
                detectable=smallest_drop(comparison, alpha),
                detectable_adjusted=smallest_drop(comparison, alpha / len(tested)),
            )
        judged.append(cell)
    return judged
