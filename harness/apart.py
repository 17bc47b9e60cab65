"""Which texts are evaluated, and how many of them were learned all the same. Knows tasks and where their data is; knows no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from harness import sources
from harness.errors import DataError
from harness.overlap import Evaluated
from harness.sources import DataLocation
from harness.spec import TaskSpec

_PIVOT = "en"


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
        """Every distinct passage of its examples; raises DataError."""
        examples = sources.read(self.task, self.language, self.split, location).examples
        return list(
            dict.fromkeys(text for example in examples for text in self.task.format.passages(example))
        )


def evaluated_sets(
    tasks: Iterable[TaskSpec], languages: Sequence[str], location: DataLocation
) -> Iterator[EvaluatedSet]:
    """Every split but those for training, in these languages and English, as far as it is to be had."""
    wanted = {_PIVOT, *languages}
    for task in tasks:
        for split in task.splits:
            for code in task.languages if not split.startswith("train") else ():
                if code in wanted and sources.has_split(task, code, split, location):
                    yield EvaluatedSet(task=task, language=code, split=split)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept apart from training.

    Attributes:
        evaluated: All texts of the sets.
        unread: Names of sets that cannot be read, so that copies of them may be learned.
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
        # Copies of test sets may come without their labels, which their readers refuse.
        except DataError:
            unread.append(entry.name)
    return Kept(evaluated=Evaluated.of(texts), unread=tuple(unread))
