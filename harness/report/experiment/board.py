"""Every score of an experiment in one place: model × setting × seed × target × language. Knows records; tests nothing.

A target's score is the one that a suite gives it: the plain mean over the suite's languages of the suite's metrics. All
numbers are percent.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.records import Record
from harness.report.experiment.layout import CellRun, Experiment
from harness.report.summary import task_tables
from harness.report.transfer import ENGLISH, Transfer, transfer
from harness.suite import Suite

# The split on which an intermediate task may be chosen; records of it do not count where there are others.
DEV = "dev"
ENOUGH_SEEDS = 3
SEEDS_NOT_ESTIMATED = (
    f"with fewer than {ENOUGH_SEEDS} seeds seed variance is not estimated; ranges are shown as they are"
)

Place = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One target in one cell.

    Attributes:
        scores: Percent by language.
        basis: The suite whose languages and metrics are meant, or ``languages shown``; ``of`` how many it counts.
        metrics: Whose mean a score is.
        marks: Why the number must not be compared with published ones.
        records: The main record of each language, which says where its predictions lie.
        cell: Where it comes from.
    """

    scores: Mapping[str, float]
    basis: str
    of: int
    metrics: tuple[str, ...]
    marks: tuple[str, ...]
    higher_is_better: bool
    records: Mapping[str, Record]
    cell: CellRun

    @property
    def value(self) -> float:
        """The plain mean over languages."""
        return mean(self.scores.values())

    def over(self, languages: Iterable[str]) -> float:
        """The plain mean over some languages."""
        return mean(self.scores[language] for language in languages)

    @property
    def trained(self) -> bool:
        """Whether the target itself was learned, so that a seed decided on the number."""
        return any(record.seed is not None for record in self.records.values())

    @property
    def seeded(self) -> bool:
        """Whether anything at all was learned for it, the intermediate tasks among it."""
        return self.trained or bool(self.cell.lineage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """All scores.

    Attributes:
        targets: In the order of the recipe where it names tasks, else in that of the suite.
        scored: ``(model, setting, target)`` to seed to score.
        dev: Likewise the target on the dev split, where English was scored on one that is not the test set.
        dev_is_test: Targets whose English dev set has the same rows as their English test set.
    """

    targets: Sequence[str]
    scored: Mapping[Place, Mapping[int, Scored]]
    dev: Mapping[Place, Mapping[int, Scored]]
    dev_is_test: frozenset[str] = frozenset()

    def at(self, model: str, setting: str, target: str) -> Mapping[int, Scored]:
        """Scores by seed; empty where there is none."""
        return self.scored.get((model, setting, target), {})


def shared_languages(scored: Iterable[Scored]) -> list[str]:
    """The languages that all have, in the order of the first; none of nothing."""
    first, *others = [one.scores for one in scored] or [{}]
    return [code for code in first if all(code in other for other in others)]


def mean(values: Iterable[float]) -> float:
    """The plain mean; of nothing, ``nan``."""
    found = list(values)
    return math.fsum(found) / len(found) if found else math.nan


def deviation(values: Sequence[float]) -> float | None:
    """The sample standard deviation over seeds, None with fewer than three."""
    return statistics.stdev(values) if len(values) >= ENOUGH_SEEDS else None


def board(experiment: Experiment, suites: Mapping[str, Suite]) -> Board:
    """All scores of an experiment.

    Args:
        experiment: As read.
        suites: The first that has a task says which languages and metrics count.
    """
    held_out = _with_split_of_record(experiment)
    same = _dev_is_test(experiment)
    scored: dict[Place, dict[int, Scored]] = {}
    dev: dict[Place, dict[int, Scored]] = {}
    for cell in experiment.cells:
        main = [record for record in cell.records if record.split != DEV or record.task not in held_out]
        for found, records in _targets(main, suites):
            place = (cell.model, cell.setting, found.task)
            scored.setdefault(place, {})[cell.seed] = _scored(found, records, cell)
        chosen = [
            record
            for record in cell.records
            if record.split == DEV and record.task in held_out and record.task not in same
        ]
        for found, records in _targets(chosen, suites):
            if ENGLISH in found.scores:
                place = (cell.model, cell.setting, found.task)
                dev.setdefault(place, {})[cell.seed] = _scored(found, records, cell)
    return Board(
        targets=_ordered(experiment, suites, scored), scored=scored, dev=dev, dev_is_test=frozenset(same)
    )


def _with_split_of_record(experiment: Experiment) -> set[str]:
    """Tasks that were scored on another split than dev somewhere, so that dev is for choosing only."""
    return {record.task for cell in experiment.cells for record in cell.records if record.split != DEV}


def _dev_is_test(experiment: Experiment) -> set[str]:
    """Tasks of which English dev has the rows of the English test set, so that choosing on it is choosing on the result.

    Told by the fingerprint of the rows. Ids would not do: two different splits may both count theirs from 1.
    """
    fingerprints: dict[bool, set[tuple[str, str]]] = {True: set(), False: set()}
    for cell in experiment.cells:
        for record in cell.records:
            if record.language == ENGLISH:
                fingerprints[record.split == DEV].add((record.task, record.data))
    return {task for task, _ in fingerprints[True] & fingerprints[False]}


def main_records(cell: CellRun, task: str) -> list[Record]:
    """The records of a task that count in a cell: those of the split of record, dev only where there is no other."""
    own = [record for record in cell.records if record.task == task]
    return [record for record in own if record.split != DEV] or own


def _targets(
    records: Sequence[Record], suites: Mapping[str, Suite]
) -> Iterable[tuple[Transfer, dict[str, Record]]]:
    for table in task_tables(records, suites):
        found = transfer(table, suites) if table.main else None
        if found is None:
            continue
        view, metric = table.first
        places = {
            record.language: record
            for record in records
            if (record.task, record.encoding, record.view, record.metric)
            == (table.task, table.encoding, view, metric)
        }
        yield found, places


def _scored(found: Transfer, records: Mapping[str, Record], cell: CellRun) -> Scored:
    return Scored(
        scores={language: score.value for language, score in found.scores.items()},
        basis=found.basis,
        of=found.of,
        metrics=found.metrics,
        marks=found.average.marks,
        higher_is_better=found.average.higher_is_better,
        records=records,
        cell=cell,
    )


def _ordered(
    experiment: Experiment, suites: Mapping[str, Suite], scored: Mapping[Place, object]
) -> list[str]:
    there = {target for _, _, target in scored}
    named = [str(name) for name in experiment.recipe.get("targets") or ()]
    suite_order = [entry.task for suite in suites.values() for entry in suite.tasks]
    ordered = dict.fromkeys([*named, *suite_order, *sorted(there)])
    return [target for target in ordered if target in there]
