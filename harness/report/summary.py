"""From records to tables: one table per task and encoding, one per suite. Numbers only; knows no format of output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.records import Record
from harness.report.cells import Cell, Column, mean, over_metrics, over_seeds, told
from harness.report.health import Health, health_of
from harness.suite import Suite, SuiteTask

Row = Mapping[Column, Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """A plain mean over languages, column by column.

    Attributes:
        name: Suite's name, or ``languages shown``.
        values: Means by column, in percent; a column that a language lacks has none.
        languages: Those in the mean, ``of`` how many it should have.
        marks: Why it is not the suite's number although no language is missing; empty where it is.
    """

    name: str
    values: Mapping[Column, Cell]
    languages: tuple[str, ...]
    of: int
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTable:
    """The scores of one task with one way of encoding.

    Attributes:
        task: Task's name.
        encoding: Protocol, layer and pooling.
        columns: ``(view, metric)``, the main one first.
        rows: Language to cells by column.
        averages: Over all languages shown, then for each suite that has the task.
        counted: For each suite the languages that count.
        health: What the model read, by language; where several seeds differ, the first one's.
        main: Whether this encoding is the task's main one.
        own_split: Whether the split is the one whose score counts for the task.
    """

    task: str
    encoding: str
    columns: tuple[Column, ...]
    rows: Mapping[str, Row]
    averages: tuple[Average, ...]
    counted: Mapping[str, frozenset[str]]
    health: Mapping[str, Health]
    main: bool
    own_split: bool

    @property
    def first(self) -> Column:
        """The main column."""
        return self.columns[0]

    @property
    def cells(self) -> Iterable[Cell]:
        """All cells of the table."""
        return (cell for row in self.rows.values() for cell in row.values())

    def header(self, column: Column) -> str:
        """A column's title: the metric, and the view where the task has several."""
        view, metric = column
        several = len({view for view, _ in self.columns}) > 1
        return f"{metric} {view}" if several and view else metric

    @property
    def caveats(self) -> tuple[str, ...]:
        """Every caveat of the main column once, with the languages it holds for when not for all."""
        found: dict[str, list[str]] = {}
        for language, row in self.rows.items():
            for mark in (row.get(self.first) or next(iter(row.values()))).marks:
                found.setdefault(mark, []).append(language)
        return told(found, len(self.rows))

    def scores(self, languages: Iterable[str], metrics: Sequence[str]) -> dict[str, Cell]:
        """The numbers that stand for the task in a suite, by language, in the given order.

        Args:
            languages: Those of which the table lacks a number are left out.
            metrics: Of the main view, whose mean is meant; none for the main metric alone.
        """
        view, main = self.first
        columns = [(view, metric) for metric in metrics or (main,)]
        return {
            language: over_metrics([self.rows[language][column] for column in columns])
            for language in languages
            if all(column in self.rows.get(language, {}) for column in columns)
        }


def task_tables(records: Iterable[Record], suites: Mapping[str, Suite]) -> list[TaskTable]:
    """One table per task and encoding, in order of name; the main encoding of a task first."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.task, record.encoding), []).append(record)
    tables = [_table(task, encoding, group, suites) for (task, encoding), group in groups.items()]
    return sorted(tables, key=lambda table: (table.task, not table.main, table.encoding))


def _table(task: str, encoding: str, records: Sequence[Record], suites: Mapping[str, Suite]) -> TaskTable:
    by_place: dict[str, dict[Column, list[Record]]] = {}
    columns: dict[Column, None] = {}
    for record in sorted(records, key=lambda record: not record.main):
        column = (record.view, record.metric)
        columns.setdefault(column)
        by_place.setdefault(record.language, {}).setdefault(column, []).append(record)
    rows = {
        language: {column: over_seeds(found) for column, found in by_place[language].items()}
        for language in sorted(by_place)
    }
    entries = {suite.name: entry for suite in suites.values() for entry in suite.tasks if entry.task == task}
    return TaskTable(
        task=task,
        encoding=encoding,
        columns=tuple(columns),
        rows=rows,
        averages=tuple(_averages(rows, tuple(columns), entries)),
        counted={name: frozenset(entry.languages) for name, entry in entries.items()},
        health={language: health_of(next(iter(by_place[language].values()))[0].inputs) for language in rows},
        main=any(record.main for record in records),
        own_split=all(record.of_own_split for record in records),
    )


def _averages(
    rows: Mapping[str, Row], columns: Sequence[Column], entries: Mapping[str, SuiteTask]
) -> Iterable[Average]:
    """Over all languages, then over those of each suite; of suites that count the same languages only the first."""
    yield _average("languages shown", rows, columns, len(rows))
    seen: set[tuple[str, ...]] = set()
    for name, entry in entries.items():
        chosen = {language: rows[language] for language in entry.languages if language in rows}
        if chosen and entry.languages not in seen:
            seen.add(entry.languages)
            yield _average(name, chosen, columns, len(entry.languages))


def _average(name: str, rows: Mapping[str, Row], columns: Sequence[Column], of: int) -> Average:
    return Average(
        name=name,
        values={
            column: mean([row[column] for row in rows.values()])
            for column in columns
            if all(column in row for row in rows.values())
        },
        languages=tuple(rows),
        of=of,
        marks=marks_by_language(
            {
                language: [mark for cell in row.values() for mark in cell.marks]
                for language, row in rows.items()
            }
        ),
    )


def marks_by_language(marks: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Marks with the languages they hold for when not for all."""
    found: dict[str, list[str]] = {}
    for language, texts in marks.items():
        for text in dict.fromkeys(texts):
            found.setdefault(text, []).append(language)
    return told(found, len(marks))


def label(average: Average) -> str:
    """An average's row title, saying what it is the mean of, and why it is not the suite's number where it is not."""
    count = len(average.languages)
    if average.name == "languages shown":
        return f"mean of the {count} languages shown"
    if count == average.of and not average.marks:
        return f"{average.name}: mean of {count} of its {average.of} languages"
    return standing(average.name, count < average.of, [f"{count} of {average.of} languages", *average.marks])


def standing(name: str, incomplete: bool, marks: Sequence[str]) -> str:
    """The title of a mean that is not a suite's number, so that nobody takes it for one."""
    return f"{name}, {'incomplete' if incomplete else 'not comparable'}: {'; '.join(marks)}"
