"""A run as a suite sees it: a score per task, averages of groups, the overall number. Knows tables; no output.

A task's score is the plain mean over the suite's languages, a group's over its tasks, the overall one over all tasks
(not over groups), as XTREME's evaluate.py does. Each is shown also where it is not the suite's number; then its marks
say why, and its title never is the suite's name alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.report.cells import Cell, mean, told
from harness.report.summary import TaskTable, marks_by_language, standing
from harness.suite import Suite, SuiteTask


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScore:
    """A task's score in a suite.

    Attributes:
        task: Task's name; ``group`` as the suite has it.
        metrics: Whose mean the score is; the main metric where the suite names none.
        score: Percent; None where nothing of it was scored.
        languages: Those in the mean, ``of`` how many it should have.
        marks: Why it is not the suite's number, missing languages left out; empty where nothing speaks against it.
    """

    task: str
    group: str
    metrics: tuple[str, ...]
    score: Cell | None
    languages: tuple[str, ...]
    of: int
    marks: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether no language is missing."""
        return len(self.languages) == self.of

    @property
    def counts(self) -> bool:
        """Whether it is the suite's number."""
        return self.complete and not self.marks

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it is not the suite's number, missing languages among them."""
        missing = () if self.complete else (f"{len(self.languages)} of {self.of} languages",)
        return (*missing, *self.marks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """A mean over tasks.

    Attributes:
        name: Group's name, or ``overall``.
        score: Percent; None where no task was scored.
        tasks: Those in the mean, ``of`` how many it should have.
        reasons: Why it is not the suite's number; empty where it is.
    """

    name: str
    score: Cell | None
    tasks: tuple[str, ...]
    of: int
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTable:
    """All of a suite, whatever was scored of it.

    Attributes:
        name: As on the command line; ``title`` one line.
        scores: Its tasks in order.
        groups: Means over the tasks of each group; none where the suite has one group only.
        overall: The mean over its tasks.
        notes: The suite's own.
    """

    name: str
    title: str
    scores: tuple[TaskScore, ...]
    groups: tuple[Total, ...]
    overall: Total
    notes: tuple[str, ...]

    @property
    def brief(self) -> bool:
        """Whether too little of it was scored to be worth a table: less than half of its tasks."""
        return 2 * len(self.overall.tasks) < self.overall.of


def suite_tables(tables: Sequence[TaskTable], suites: Mapping[str, Suite]) -> tuple[SuiteTable, ...]:
    """One table per suite of which something was scored in a task's main encoding, on the task's own split if it was there.

    A suite that another one shown in full contains word for word (``xtreme-qa`` in ``xtreme``) is left out.
    """
    main = _main_tables(tables)
    found = [table for suite in suites.values() if (table := _suite_table(suite, main)).overall.tasks]
    shown_whole = [table.name for table in found if not table.brief]
    return tuple(
        table
        for table in found
        if not any(
            other != table.name and set(suites[table.name].tasks) < set(suites[other].tasks)
            for other in shown_whole
        )
    )


def _main_tables(tables: Sequence[TaskTable]) -> dict[str, list[TaskTable]]:
    """The tables that may stand for each task: those of its own split, of others only where there are none."""
    main: dict[str, list[TaskTable]] = {}
    for table in tables:
        if table.main:
            main.setdefault(table.task, []).append(table)
    return {task: [table for table in found if table.own_split] or found for task, found in main.items()}


def _suite_table(suite: Suite, tables: Mapping[str, Sequence[TaskTable]]) -> SuiteTable:
    scores = tuple(_task_score(entry, tables.get(entry.task, ())) for entry in suite.tasks)
    groups = {score.group: [other for other in scores if other.group == score.group] for score in scores}
    totals = tuple(_total(name, members) for name, members in groups.items())
    return SuiteTable(
        name=suite.name,
        title=suite.title,
        scores=scores,
        groups=totals if len(totals) > 1 else (),
        overall=_total("overall", scores),
        notes=suite.notes,
    )


def _task_score(entry: SuiteTask, tables: Sequence[TaskTable]) -> TaskScore:
    """The score by the last of the tables that may stand for a task; where there are several, it says so."""
    table = tables[-1] if tables else None
    several = (
        (f"{len(tables)} variants count in this run, this is {tables[-1].encoding}",)
        if len(tables) > 1
        else ()
    )
    cells = table.scores(entry.languages, entry.metrics) if table else {}
    main = (table.first[1],) if table else ()
    seeds = sorted({cell.seeds for cell in cells.values()})
    unequal = (f"{seeds[0]} to {seeds[-1]} seeds by language",) if len(seeds) > 1 else ()
    return TaskScore(
        task=entry.task,
        group=entry.group,
        metrics=entry.metrics or main,
        score=mean(list(cells.values())) if cells else None,
        languages=tuple(cells),
        of=len(entry.languages),
        marks=(
            *marks_by_language({language: cell.marks for language, cell in cells.items()}),
            *unequal,
            *several,
        ),
    )


def _total(name: str, scores: Sequence[TaskScore]) -> Total:
    cells = {score.task: score.score for score in scores if score.score is not None}
    marks: dict[str, list[str]] = {}
    for score in scores:
        if score.score is not None:
            for mark in [*([] if score.complete else ["languages missing"]), *score.marks]:
                marks.setdefault(mark, []).append(score.task)
    missing = [] if len(cells) == len(scores) else [f"{len(cells)} of {len(scores)} tasks"]
    return Total(
        name=name,
        score=mean(list(cells.values())) if cells else None,
        tasks=tuple(cells),
        of=len(scores),
        reasons=(*missing, *told(marks, len(cells))),
    )


def title_of(table: SuiteTable) -> str:
    """The suite's name where its overall number is its own, otherwise with the reasons why it is not."""
    if not table.overall.reasons:
        return table.name
    return standing(table.name, _incomplete(table), table.overall.reasons)


def _incomplete(table: SuiteTable) -> bool:
    return not all(score.complete for score in table.scores)


def total_label(table: SuiteTable, total: Total) -> str:
    """The row title of a mean over tasks."""
    count = f"{len(total.tasks)} of {total.of} tasks"
    if total.reasons:
        return f"{total.name}, not {table.name}'s number: mean of {count}"
    return f"{total.name}: mean of {count}"


def brief_line(table: SuiteTable) -> str:
    """A suite of which little was scored, in one line."""
    done = [score for score in table.scores if score.score is not None]
    told_scores = ", ".join(_brief(score) for score in done)
    return f"{table.name}: {len(done)} of its {len(table.scores)} tasks, no overall number; {told_scores}"


def _brief(score: TaskScore) -> str:
    value = "" if score.score is None else f"{score.score.value:.1f}"
    return f"{score.task} {value}" + (f" ({'; '.join(score.reasons)})" if score.reasons else "")
