"""Whether a checkpoint has learned texts on which it is evaluated: its lineage read again and held against the data.

Knows lineages, training sets and evaluation sets; knows no model and imports no torch. What counts as a copy,
:mod:`harness.overlap` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.apart import EvaluatedSet, evaluated_sets
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint
from harness.errors import DataError, HarnessError, UsageError
from harness.learned import courses_of, taught_again
from harness.overlap import Evaluated
from harness.sources import DataLocation
from harness.spec import TaskSpec
from harness.taughtsets import TaughtSets


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Texts of a training set that occur in an evaluated set.

    Attributes:
        learned: The training set; ``evaluated`` the other one, ``task/language/split``.
        texts: How many texts of the training set these are.
        example: The first of them.
    """

    learned: str
    evaluated: str
    texts: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """What was looked for where, and what was found.

    Attributes:
        learned: Training set to the number of its texts.
        evaluated: Evaluated set to the number of its distinct texts.
        unread: Evaluated sets that could not be looked at, with the reason.
        forgotten: Training sets that could not be read again, with the reason.
        leaks: What was found; none is what one hopes for.
    """

    learned: Mapping[str, int]
    evaluated: Mapping[str, int]
    unread: Mapping[str, str]
    forgotten: Mapping[str, str]
    leaks: tuple[Leak, ...]

    @property
    def verdict(self) -> tuple[int, str]:
        """Exit code and sentence: 0 nothing found, 1 something found, 4 not all that was learned could be looked at."""
        where = f"{sum(self.learned.values())} learned and {sum(self.evaluated.values())} evaluated texts"
        left = f"; {len(self.unread)} evaluated sets are not at hand or cannot be read" if self.unread else ""
        if self.leaks:
            found = sum(leak.texts for leak in self.leaks)
            return 1, f"leakage: {found} times a learned text is evaluated, among {where}{left}"
        if self.forgotten:
            names = ", ".join(self.forgotten)
            return 4, f"cannot decide: {names} could not be read again; no leakage among {where}{left}"
        if not self.learned:
            told = "the checkpoint has no training.json of this harness, so nothing tells what it learned"
            return 4, f"cannot decide: {told}; give one that harness train or harness eval made"
        if not self.evaluated:
            return 4, f"cannot decide: no evaluated set could be read{left}"
        return 0, f"no leakage among {where}{left}"


def leakage(
    checkpoint: Checkpoint,
    tasks: Sequence[TaskSpec],
    languages: Sequence[str],
    location: DataLocation,
    catalog: Catalog,
) -> Leakage:
    """Hold everything that the trainings of a checkpoint learned against the evaluated sets of tasks.

    Nothing is read where the checkpoint does not tell what it learned.

    Args:
        checkpoint: With its lineage.
        tasks: Whose splits other than for training count.
        languages: Of these; empty for every language.
        location: Where training sets and evaluated sets are.
        catalog: Where the tasks that were learned are found.

    Raises:
        UsageError: A language that none of the tasks has.
    """
    _check_languages(tasks, languages)
    if next(courses_of(checkpoint), None) is None:
        return Leakage(learned={}, evaluated={}, unread={}, forgotten={}, leaks=())
    codes = languages or tuple({code for task in tasks for code in task.languages})
    unread: dict[str, str] = {}
    forgotten: dict[str, str] = {}
    texts = _evaluated_texts(evaluated_sets(tasks, codes, location), location, unread)
    together = Evaluated.of(text for mine in texts.values() for text in mine)
    learned: dict[str, int] = {}
    leaks: list[Leak] = []
    for name, mine in _learned_texts(checkpoint, location, catalog, forgotten).items():
        learned[name] = len(mine)
        bad = together.leaks(mine)
        hit = [text for text, leaked in zip(mine, bad.tolist(), strict=True) if leaked]
        leaks += _found(name, hit, texts) if hit else []
    counts = {entry: len(mine) for entry, mine in texts.items()}
    return Leakage(learned=learned, evaluated=counts, unread=unread, forgotten=forgotten, leaks=tuple(leaks))


def _check_languages(tasks: Sequence[TaskSpec], languages: Sequence[str]) -> None:
    for code in languages:
        if not any(code in task.languages for task in tasks):
            raise UsageError(f"--languages {code}: none of {', '.join(task.name for task in tasks)} has it")


def _evaluated_texts(
    sets: Iterable[EvaluatedSet], location: DataLocation, unread: dict[str, str]
) -> Mapping[str, Sequence[str]]:
    found: dict[str, Sequence[str]] = {}

    for entry in sets:
        try:
            found[entry.name] = entry.texts(location)
        except DataError as error:
            unread[entry.name] = str(error)
    return found


def _learned_texts(
    checkpoint: Checkpoint, location: DataLocation, catalog: Catalog, forgotten: dict[str, str]
) -> Mapping[str, Sequence[str]]:
    """The distinct texts of every course, both sides of pairs; translations count as what they translate."""
    sets = TaughtSets(location=location)
    found: dict[str, Sequence[str]] = {}
    for course in courses_of(checkpoint):
        name = str(course.get("from", "something"))
        try:
            learn = taught_again(catalog.task(course["task"]), course["learn"], catalog)
            if sets.counted(learn).data != course["learned"]:
                raise DataError(f"{name}: the data is not what was learned; give the same --data")
            every = [text for example in sets.examples(learn) for text in learn.task.format.passages(example)]
            found[name] = list(dict.fromkeys([*found.get(name, ()), *every]))
        except (HarnessError, KeyError, TypeError) as error:
            forgotten[name] = (
                str(error) if isinstance(error, HarnessError) else "training.json says too little"
            )
    return found


def _found(name: str, hit: Sequence[str], texts: Mapping[str, Sequence[str]]) -> list[Leak]:
    """The evaluated sets in which leaked texts occur."""
    leaks = []
    for evaluated, mine in texts.items():
        bad = Evaluated.of(mine).leaks(hit)
        if bad.any():
            first = hit[int(bad.argmax())]
            leaks.append(Leak(learned=name, evaluated=evaluated, texts=int(bad.sum()), example=first[:120]))
    return leaks
