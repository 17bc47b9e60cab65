"""What a task's scores say of transfer: English against the others, and means by kind of language. Knows no output.

Means by family, script and resource class leave English out: its score is that of the training language and says
nothing about transfer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness import typology
from harness.report.cells import Cell, difference, mean
from harness.report.summary import TaskTable
from harness.suite import Suite, SuiteTask
from harness.typology import Typology

ENGLISH = "en"
NO_ENGLISH = "no English here (in retrieval it is the other side of every pair), so there is no gap"
DIMENSIONS: Mapping[str, Callable[[Typology], str]] = {
    "family": lambda entry: entry.family,
    "script": lambda entry: entry.script_name,
    "resources": lambda entry: f"class {entry.resources}",
}
TITLES: Mapping[str, str] = {
    "family": "language family",
    "script": "script",
    "resources": "resource class",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The mean over the languages of one kind, English left out.

    Attributes:
        name: E.g. ``Uralic``, ``Cyrillic`` or ``class 3``.
        score: Percent.
        languages: Those in the mean.
    """

    name: str
    score: Cell
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How well a task is transferred.

    Attributes:
        task: Task's name; ``encoding`` as in its table.
        basis: The suite whose languages and metrics are meant, or ``languages shown``.
        metrics: Whose mean each number is.
        scores: Percent by language, English included where it is there.
        of: How many languages the basis has.
        average: Mean over all of them.
        english: English's number, None where the task has none.
        others: Mean over the other languages, None where there are none.
        gap: English minus others, in percent points; None without one of them.
        worst: The language with the worst score, English left out unless it is alone.
        groups: Dimension (``family``, ``script``, ``resources``) to means.
        unplaced: Languages that the table of languages does not have.
    """

    task: str
    encoding: str
    basis: str
    metrics: tuple[str, ...]
    scores: Mapping[str, Cell]
    of: int
    average: Cell
    english: Cell | None
    others: Cell | None
    gap: Cell | None
    worst: str
    groups: Mapping[str, tuple[Group, ...]]
    unplaced: tuple[str, ...]

    @property
    def over(self) -> str:
        """What the numbers are the mean of, in words."""
        count = len(self.scores)
        if self.basis == "languages shown":
            languages = f"the {count} languages shown"
        else:
            missing = "" if count == self.of else f"{count} of "
            languages = f"{missing}{self.basis}'s {self.of} languages"
        return f"mean of {' and '.join(self.metrics)} over {languages}"


def transfer(table: TaskTable, suites: Mapping[str, Suite]) -> Transfer | None:
    """What the table says of transfer, in the languages and metrics of the first suite that counts any of them.

    None where no language has the main number.
    """
    basis, metrics, scores, of = _basis(table, suites)
    if not scores:
        return None
    others = {language: cell for language, cell in scores.items() if language != ENGLISH}
    english = scores.get(ENGLISH)
    rest = mean(list(others.values())) if others else None
    return Transfer(
        task=table.task,
        encoding=table.encoding,
        basis=basis,
        metrics=metrics,
        scores=scores,
        of=of,
        average=mean(list(scores.values())),
        english=english,
        others=rest,
        gap=difference(english, rest) if english and rest else None,
        worst=_worst(others or scores),
        groups={name: _groups(others, name) for name in DIMENSIONS},
        unplaced=tuple(language for language in others if typology.find(language) is None),
    )


def _basis(
    table: TaskTable, suites: Mapping[str, Suite]
) -> tuple[str, tuple[str, ...], Mapping[str, Cell], int]:
    main = (table.first[1],)
    for name, entry in _entries(table.task, suites):
        if scores := table.scores(entry.languages, entry.metrics):
            return name, entry.metrics or main, dict(sorted(scores.items())), len(entry.languages)
    shown = table.scores(table.rows, ())
    return "languages shown", main, shown, len(shown)


def _entries(task: str, suites: Mapping[str, Suite]) -> Iterable[tuple[str, SuiteTask]]:
    for suite in suites.values():
        for entry in suite.tasks:
            if entry.task == task:
                yield suite.name, entry


def _worst(scores: Mapping[str, Cell]) -> str:
    """The worst language; the first by code of equal ones."""
    return min(
        sorted(scores),
        key=lambda code: scores[code].value if scores[code].higher_is_better else -scores[code].value,
    )


def _groups(scores: Mapping[str, Cell], dimension: str) -> tuple[Group, ...]:
    """Means by the value of one dimension: classes from most to least data, the rest by name."""
    members: dict[str, list[str]] = {}
    for language in scores:
        entry = typology.find(language)
        if entry is not None:
            members.setdefault(DIMENSIONS[dimension](entry), []).append(language)
    return tuple(
        Group(name=name, score=mean([scores[code] for code in members[name]]), languages=tuple(members[name]))
        for name in sorted(members, reverse=dimension == "resources")
    )


def transfers(tables: Sequence[TaskTable], suites: Mapping[str, Suite]) -> dict[tuple[str, str], Transfer]:
    """Task and encoding to what its table says of transfer."""
    found = ((table, transfer(table, suites)) for table in tables)
    return {(table.task, table.encoding): value for table, value in found if value is not None}
