"""One number of a table: scores of one language over seeds, and means over languages. Knows no suite and no output.

Two spreads are kept apart. The *item error* says how far a number could move with other items of the same kind. The
*seed deviation* says how far it moves when the same head is trained again with another seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.records import Record

Seed = int | None
Column = tuple[str, str]

# With fewer, a standard deviation over seeds is a guess: with 2 its 95 % interval spans a factor of 70.
ENOUGH_SEEDS = 3

# More names than these are not listed in a line of text.
FEW = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A score of one language, or a mean of such scores, in percent.

    Attributes:
        value: Mean over seeds.
        stderr: Standard error over items, percent points: the root mean square over seeds; see :func:`mean` for means.
        by_seed: Value by seed; ``{None: value}`` where nothing was trained. Empty where seeds cannot be matched.
        n: Items per seed; 0 for a mean over languages.
        items: Digest of the ids of its items, ``""`` for a mean over languages.
        marks: Why the number must not be compared with published ones, without repetition.
        higher_is_better: Direction.
    """

    value: float
    stderr: float
    by_seed: Mapping[Seed, float]
    n: int = 0
    items: str = ""
    marks: tuple[str, ...] = ()
    higher_is_better: bool = True

    @property
    def seeds(self) -> int:
        """Number of seeds."""
        return max(1, len(self.by_seed))

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation over seeds in percent points, None with fewer than 2."""
        return statistics.stdev(self.by_seed.values()) if len(self.by_seed) > 1 else None


def marks_of(record: Record) -> tuple[str, ...]:
    """Why a record must not be compared with published numbers."""
    limited = () if record.limited is None else (f"limited to {record.limited} items",)
    return (*record.caveats, *limited)


def over_seeds(records: Sequence[Record]) -> Cell:
    """The cell of one task, variant, metric and language from its records, one per seed.

    It is marked where these are not seeds of one training, as a head that the model carries and a new one are not.
    """
    trainings = len({record.training for record in records})
    mixed = (f"{trainings} different trainings are averaged as if they were seeds of one",)
    return Cell(
        value=math.fsum(record.value for record in records) / len(records),
        stderr=math.sqrt(math.fsum(record.stderr**2 for record in records) / len(records)),
        by_seed={record.seed: record.value for record in records},
        n=records[0].n,
        items=_common(record.items for record in records),
        marks=unique(
            [*(mark for record in records for mark in marks_of(record)), *(mixed if trainings > 1 else ())]
        ),
        higher_is_better=records[0].higher_is_better,
    )


def over_metrics(cells: Sequence[Cell]) -> Cell:
    """The mean of several metrics of one language, e.g. of F1 and exact match.

    The metrics are of the same items, so their errors do not cancel: the item error is the mean of theirs, which is an
    upper bound.
    """
    return Cell(
        value=math.fsum(cell.value for cell in cells) / len(cells),
        stderr=math.fsum(cell.stderr for cell in cells) / len(cells),
        by_seed=_matched(cells),
        n=cells[0].n,
        items=_common(cell.items for cell in cells),
        marks=unique(mark for cell in cells for mark in cell.marks),
        higher_is_better=cells[0].higher_is_better,
    )


def mean(cells: Sequence[Cell]) -> Cell:
    """The plain mean of numbers of languages or tasks, each counting alike.

    What was measured on other items is independent. Languages of a parallel test set have the same items, whose errors
    do not cancel: of these the item error is the mean of theirs, which is an upper bound. Languages that share a part of
    their items (MLQA's) count as independent, so that the error of their mean is rather too small.

    Where every number that was trained has the same seeds, the mean has a value per seed, and so a deviation.
    """
    errors: dict[str, float] = {}
    for number, cell in enumerate(cells):
        key = cell.items or f"of cell {number} alone"
        errors[key] = errors.get(key, 0.0) + cell.stderr
    return Cell(
        value=math.fsum(cell.value for cell in cells) / len(cells),
        stderr=math.hypot(*errors.values()) / len(cells),
        by_seed=_matched(cells),
        marks=unique(mark for cell in cells for mark in cell.marks),
        higher_is_better=cells[0].higher_is_better,
    )


def difference(one: Cell, other: Cell) -> Cell:
    """``one - other``, its error as if their items were independent; where they are the same it is rather smaller."""
    seeds = _matched([one, other])
    return Cell(
        value=one.value - other.value,
        stderr=math.hypot(one.stderr, other.stderr),
        by_seed={seed: _at(one, seed) - _at(other, seed) for seed in seeds},
        marks=unique([*one.marks, *other.marks]),
    )


def _common(items: Iterable[str]) -> str:
    """The digest of all, ``""`` where they differ."""
    found = set(items)
    return found.pop() if len(found) == 1 else ""


def _matched(cells: Sequence[Cell]) -> dict[Seed, float]:
    """Means by seed where all trained cells have the same seeds; untrained ones count alike for every seed."""
    seeds = {frozenset(cell.by_seed) for cell in cells if set(cell.by_seed) != {None}}
    if len(seeds) > 1:
        return {}
    common: Iterable[Seed] = next(iter(seeds), frozenset[Seed]([None]))
    return {
        seed: math.fsum(_at(cell, seed) for cell in cells) / len(cells)
        for seed in sorted(common, key=lambda seed: -1 if seed is None else seed)
    }


def _at(cell: Cell, seed: Seed) -> float:
    return cell.by_seed.get(seed, cell.value)


def unique(texts: Iterable[str]) -> tuple[str, ...]:
    """Each text once, in order."""
    return tuple(dict.fromkeys(texts))


def told(marks: Mapping[str, Sequence[str]], of: int) -> tuple[str, ...]:
    """Marks with what they hold for: ``mark (de, fr)``, ``mark (30 of 36)``, or the mark alone where it is all of them."""
    return tuple(
        mark if len(names) == of else f"{mark} ({_some(names, of)})" for mark, names in marks.items()
    )


def _some(names: Sequence[str], of: int) -> str:
    return ", ".join(names) if len(names) <= FEW else f"{len(names)} of {of}"


def error_note(groups: Iterable[Sequence[Cell]]) -> str:
    """What a reader must know of the errors of means over groups of cells; empty where all have items of their own."""
    known = ([cell.items for cell in cells if cell.items] for cells in groups)
    shared = any(len(set(items)) < len(items) for items in known)
    return (
        "± of a mean over languages with the same items is an upper bound: their errors go together"
        if shared
        else ""
    )


def seed_note(cells: Iterable[Cell]) -> str:
    """What a reader must know of the seeds behind some cells; empty where there is one seed at most."""
    counts = sorted({cell.seeds for cell in cells})
    if not counts or counts[-1] < 2:
        return ""
    number = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    note = f"means over {number} seeds, sd: standard deviation over seeds"
    if counts[0] < ENOUGH_SEEDS:
        note += f" (not estimated well from fewer than {ENOUGH_SEEDS})"
    return note
