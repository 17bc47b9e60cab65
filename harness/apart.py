"""Which texts are evaluated, and how many of them were learned all the same. Knows tasks and where their data is; knows no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness import layouts, sources
from harness.errors import DataError
from harness.languages import PIVOT
from harness.overlap import Evaluated
from harness.sources import DataLocation
from harness.spec import TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedSet:
    """One split of a task in one language, on which models are scored or chosen."""

    task: TaskSpec
    language: str
    split: str

    @property
    def name(self) -> str:
        """``task/language/split``."""
        return f"{self.task.name}/{self.language}/{self.split}"

    def texts(self, location: DataLocation) -> list[str]:
        """Every distinct passage of its examples, whether answers are there or not; raises DataError."""
        return list(dict.fromkeys(sources.passages(self.task, self.language, self.split, location)))


def evaluated_sets(
    tasks: Iterable[TaskSpec], languages: Sequence[str], location: DataLocation
) -> Iterator[EvaluatedSet]:
    """Every split but those for training, in these languages and English, that any source has.

    Of the built-in sample, which has few languages, those that are there.
    """
    wanted = {PIVOT, *languages}
    for task in tasks:
        for split in task.splits:
            for code in task.languages if not split.startswith("train") else ():
                if code in wanted and _exists(task, code, split, location):
                    yield EvaluatedSet(task=task, language=code, split=split)


def _exists(task: TaskSpec, language: str, split: str, location: DataLocation) -> bool:
    if location.kind == "sample":
        return sources.has_split(task, language, split, location)
    return layouts.known(task, language, split)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept apart from training.

    Attributes:
        evaluated: All texts of the sets.
        unread: Names of sets that are not at hand or cannot be read, so that copies of them may be learned.
    """

    evaluated: Evaluated
    unread: tuple[str, ...]


def kept_apart(tasks: Iterable[TaskSpec], languages: Sequence[str], location: DataLocation) -> Kept:
    """The evaluated texts of tasks, with English's, for it is the other side of every pair."""
    texts: list[str] = []
    unread: list[str] = []
    for entry in evaluated_sets(tasks, languages, location):
        try:
            texts += entry.texts(location)
        except DataError:
            unread.append(entry.name)
    return Kept(evaluated=Evaluated.of(texts), unread=tuple(unread))
