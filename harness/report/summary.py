"""From records to tables: one table per task and encoding, with averages. Numbers only; knows no format of output."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.records import Record
from harness.suite import Suite

Column = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """A plain mean over languages.

    Attributes:
        name: Suite's name, or ``languages shown``.
        values: Mean and its standard error by column, in percent.
        languages: Number of languages in the mean, ``of`` how many it should have.
    """

    name: str
    values: Mapping[Column, tuple[float, float]]
    languages: int
    of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTable:
    """The scores of one task with one way of encoding.

    Attributes:
        task: Task's name.
        encoding: Protocol, layer and pooling.
        columns: ``(view, metric)``, the main one first.
        rows: Language to records by column.
        averages: Over all languages shown, then for each suite that has the task.
        counted: For each suite the languages that count.
        main: Whether this encoding is the task's main one.
    """

    task: str
    encoding: str
    columns: tuple[Column, ...]
    rows: Mapping[str, Mapping[Column, Record]]
    averages: tuple[Average, ...]
    counted: Mapping[str, frozenset[str]]
    main: bool

    @property
    def first(self) -> Column:
        """The main column."""
        return self.columns[0]

    def header(self, column: Column) -> str:
        """A column's title: the metric, and the view where the task has several."""
        view, metric = column
        several = len({view for view, _ in self.columns}) > 1
        return f"{metric} {view}" if several and view else metric

    @property
    def caveats(self) -> tuple[str, ...]:
        """Every caveat of the main column's records, once, with the languages it holds for when not for all."""
        languages: dict[str, list[str]] = {}
        for language, row in self.rows.items():
            record = row.get(self.first) or next(iter(row.values()))
            limited = [f"limited to {record.limited} items"] if record.limited is not None else []
            for caveat in [*record.caveats, *limited]:
                languages.setdefault(caveat, []).append(language)
        return tuple(
            caveat if len(codes) == len(self.rows) else f"{caveat} ({', '.join(codes)})"
            for caveat, codes in languages.items()
        )


def summarise(records: Iterable[Record], suites: Mapping[str, Suite]) -> list[TaskTable]:
    """One table per task and encoding, in order of name; the main encoding of a task first."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.task, encoding_of(record)), []).append(record)
    tables = [_table(task, encoding, group, suites) for (task, encoding), group in groups.items()]
    return sorted(tables, key=lambda table: (table.task, not table.main, table.encoding))


def encoding_of(record: Record) -> str:
    """Protocol, layer and pooling: a variant without its view."""
    return ".".join(record.variant.split(".")[:3])


def view_of(record: Record) -> str:
    """The view of a variant, ``""`` where the task has only one."""
    return ".".join(record.variant.split(".")[3:])


def _table(task: str, encoding: str, records: Sequence[Record], suites: Mapping[str, Suite]) -> TaskTable:
    rows: dict[str, dict[Column, Record]] = {}
    columns: dict[Column, None] = {}
    for record in sorted(records, key=lambda record: not record.main):
        column = (view_of(record), record.metric)
        columns.setdefault(column)
        rows.setdefault(record.language, {})[column] = record
    ordered = {language: rows[language] for language in sorted(rows)}
    counted = {
        suite.name: frozenset(entry.languages)
        for suite in suites.values()
        for entry in suite.tasks
        if entry.task == task
    }
    averages = [_average("languages shown", list(ordered.values()), tuple(columns), len(ordered))]
    for name, languages in counted.items():
        usable = [
            row
            for language, row in ordered.items()
            if language in languages and all(record.comparable for record in row.values())
        ]
        if usable:
            averages.append(_average(name, usable, tuple(columns), len(languages)))
    return TaskTable(
        task=task,
        encoding=encoding,
        columns=tuple(columns),
        rows=ordered,
        averages=tuple(averages),
        counted=counted,
        main=any(record.main for record in records),
    )


def _average(
    name: str, rows: Sequence[Mapping[Column, Record]], columns: Sequence[Column], of: int
) -> Average:
    values = {}
    for column in columns:
        records = [row[column] for row in rows if column in row]
        if len(records) == len(rows):
            mean = math.fsum(record.value for record in records) / len(records)
            error = math.sqrt(math.fsum(record.stderr**2 for record in records)) / len(records)
            values[column] = (mean, error)
    return Average(name=name, values=values, languages=len(rows), of=of)


def label(average: Average) -> str:
    """An average's row title, saying what it is the mean of."""
    if average.name == "languages shown":
        return f"mean of the {average.languages} languages shown"
    part = "" if average.languages == average.of else ", incomplete"
    return f"{average.name}: mean of {average.languages} of its {average.of} languages{part}"
