"""Folders in a benchmark's submission layout, scored by a suite.

Knows ``FOLDER/<task>/test-<language>.<suffix>`` and what a task's ``Submission`` says; knows no task by name and no model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import files
from harness.catalog import Catalog
from harness.errors import DataError, UsageError
from harness.formats.base import Json
from harness.languages import canonical
from harness.spec import Submission, TaskSpec
from harness.statistics import score
from harness.suite import Suite, SuiteTask

# Instead of a language code: every language that has labels.
AVAILABLE = "available"
# What XTREME's evaluate.py calls its metrics.
_SHORT = ("accuracy", "f1", "exact_match", "precision", "recall")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricScores:
    """One metric of a task, in percent: the plain mean over the suite's languages, and each language."""

    average: float
    languages: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScores:
    """A task's score in percent, and the metrics by the short names that :func:`short_names` gives.

    Attributes:
        score: Mean of the averages that make the score.
        metrics: By short name.
        languages: Number of languages scored, ``of`` how many the suite has.
    """

    score: float
    metrics: Mapping[str, MetricScores]
    languages: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteScores:
    """A folder scored by a suite, in percent.

    Attributes:
        suite: Suite's name.
        overall: Plain mean over all tasks of the suite; None where a task or one of its languages is missing.
        groups: Plain mean over the tasks of each group, likewise.
        tasks: By task's name, in the suite's order.
        missing: Tasks that were not scored, for their folder is not there or has none of the languages asked for.
        unanswered: What was not answered and so counts as wrong, one line per file.
    """

    suite: str
    overall: float | None
    groups: Mapping[str, float | None]
    tasks: Mapping[str, TaskScores]
    missing: tuple[str, ...]
    unanswered: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """``{"suite", "overall", "groups", "tasks": {task: {"score", "metrics": {metric: {"average", "languages"}}}}}``."""
        return {
            "suite": self.suite,
            "overall": self.overall,
            "groups": dict(self.groups),
            "tasks": {
                task: {
                    "score": scores.score,
                    "metrics": {
                        name: {"average": metric.average, "languages": dict(metric.languages)}
                        for name, metric in scores.metrics.items()
                    },
                }
                for task, scores in self.tasks.items()
            },
        }


def score_folder(
    predictions: Path, labels: Path, suite: Suite, catalog: Catalog, languages: Sequence[str] = ()
) -> SuiteScores:
    """Score a folder of predictions as the benchmark does.

    A task whose folder is missing on either side is left out, and then there is no overall and no mean of its group.

    Args:
        predictions: Folder with a folder for each task.
        labels: Likewise, with the gold answers.
        suite: Tasks and languages that count.
        catalog: Where tasks and metrics are known.
        languages: Codes of those that are scored, or ``available`` for those that have labels; empty for the suite's.

    Raises:
        DataError: A file is missing or malformed, or does not fit its labels; no task of the suite is there.
        UsageError: A task of the suite has no submission layout, or a language code is not known.
    """
    for folder in (predictions, labels):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; give one that holds <task>/test-<language> files")
    unanswered: list[str] = []
    tasks: dict[str, TaskScores] = {}
    for entry in suite.tasks:
        if (predictions / entry.task).is_dir() and (labels / entry.task).is_dir():
            chosen = _languages(entry, labels, layout_of(catalog.task(entry.task)), languages)
            if chosen:
                tasks[entry.task] = _score_task(predictions, labels, entry, chosen, catalog, unanswered)
    if not tasks:
        names = ", ".join(entry.task for entry in suite.tasks)
        raise DataError(
            f"nothing of the suite '{suite.name}' is in both {predictions} and {labels}; its folders are called {names}"
        )
    groups: dict[str, list[float | None]] = {}
    for entry in suite.tasks:
        found = tasks.get(entry.task)
        whole = found is not None and found.languages == found.of
        groups.setdefault(entry.group, []).append(found.score if found and whole else None)
    return SuiteScores(
        suite=suite.name,
        overall=_mean(value for values in groups.values() for value in values),
        groups={name: _mean(values) for name, values in groups.items()},
        tasks=tasks,
        missing=tuple(entry.task for entry in suite.tasks if entry.task not in tasks),
        unanswered=tuple(unanswered),
    )


def _languages(entry: SuiteTask, labels: Path, layout: Submission, asked: Sequence[str]) -> tuple[str, ...]:
    """The languages of a suite's task that are scored."""
    if not asked:
        return entry.languages
    codes = {canonical(code) for code in asked if code != AVAILABLE}
    if AVAILABLE in asked:
        codes |= {
            code
            for code in entry.languages
            if files.find(submission_path(labels, entry.task, code, layout.suffix))
        }
    return tuple(code for code in entry.languages if code in codes)


def _mean(values: Iterable[float | None]) -> float | None:
    """The plain mean; None where a value is missing."""
    given = list(values)
    known = [value for value in given if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(given) else None


def short_names(task: TaskSpec, entry: SuiteTask) -> dict[str, str]:
    """Which metrics are shown for a task, by name, and what they are called.

    These are the metrics that make the task's score, and those of the main metric's view and family that XTREME's
    evaluate.py has too: with ``tag_f1`` come ``tag_precision`` and ``tag_recall``, shown as f1, precision and recall.
    """
    family = _family(task.main.metric)
    metrics = list(entry.metrics or (task.main.metric,))
    metrics += [
        use.metric
        for use in task.metrics
        if use.view == task.main.view and _family(use.metric) == family and use.metric not in metrics
    ]
    return {name: name.removeprefix(f"{family}_") if _family(name) == family else name for name in metrics}


def _family(metric: str) -> str:
    """A metric's name without what XTREME calls it; the whole name where it is none of those."""
    found = re.fullmatch(rf"(?:(.+)_)?(?:{'|'.join(_SHORT)})", metric)
    return (found[1] or "") if found else metric


def _score_task(
    predictions: Path,
    labels: Path,
    entry: SuiteTask,
    languages: Sequence[str],
    catalog: Catalog,
    unanswered: list[str],
) -> TaskScores:
    task = catalog.task(entry.task)
    names = short_names(task, entry)
    values: dict[str, dict[str, float]] = {name: {} for name in names}
    layout = layout_of(task)
    for language in languages:
        where, truth = (
            _existing(folder, entry.task, language, layout.suffix) for folder in (predictions, labels)
        )
        gold, said = _fitting(where, truth, language, layout, unanswered)
        try:
            for name in names:
                values[name][language] = score(catalog.metric(name), gold, said).value
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
    scores = {
        name: MetricScores(average=math.fsum(mine.values()) / len(mine), languages=mine)
        for name, mine in values.items()
    }
    counted = entry.metrics or (task.main.metric,)
    return TaskScores(
        score=math.fsum(scores[name].average for name in counted) / len(counted),
        metrics={names[name]: found for name, found in scores.items()},
        languages=len(languages),
        of=len(entry.languages),
    )


def layout_of(task: TaskSpec) -> Submission:
    """A task's layout; raises UsageError where it has none."""
    if task.submission is None:
        raise UsageError(f"the task '{task.name}' has no submission layout")
    return task.submission


def _existing(folder: Path, task: str, language: str, suffix: str) -> Path:
    path = submission_path(folder, task, language, suffix)
    found = files.find(path)
    if found is None:
        raise DataError(
            f"{path}: no such file; {task} needs one for each of its languages (--languages chooses, or takes those available)"
        )
    return found


def submission_path(folder: Path, task: str, language: str, suffix: str) -> Path:
    """Where the answers of one task and language lie."""
    return folder / task / f"test-{language}.{suffix}"


def _fitting(
    predictions: Path, labels: Path, language: str, layout: Submission, unanswered: list[str]
) -> tuple[list[Json], list[Json]]:
    """Gold answers and predictions of one language in the order of the labels.

    Raises:
        DataError: The labels are empty, or the predictions are for other items.
    """
    gold, said = layout.read_labels(labels, language), layout.read_predictions(predictions, language)
    if not gold:
        raise DataError(f"{labels}: holds no label")
    absent = [identity for identity in gold if identity not in said]
    strange = [identity for identity in said if identity not in gold]
    if layout.complete and (absent or strange):
        raise DataError(
            f"{predictions}: {len(said)} items where {labels} has {len(gold)}; give one prediction for each label"
        )
    if strange:
        raise DataError(
            f"{predictions}: {len(strange)} of {len(said)} ids are not in {labels}, the first is {strange[0]!r}"
        )
    if absent:
        unanswered.append(
            f"{predictions}: {len(absent)} of {len(gold)} items of {labels} are not answered and count as wrong, "
            f"the first is {absent[0]!r}"
        )
    return list(gold.values()), [said.get(identity, layout.absent) for identity in gold]
