"""Everything that is shown of a set of records, put together once for all outputs. Knows no output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.records import Record
from harness.report.cells import error_note, seed_note, told
from harness.report.suites import SuiteTable, suite_tables
from harness.report.summary import TaskTable, task_tables
from harness.report.transfer import Transfer, transfers
from harness.suite import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What there is to show.

    Attributes:
        suites: Every suite of which something was scored, less those that another one contains.
        tasks: One table per task and encoding, in order of name, the main encoding first.
        transfer: Task and encoding to what its table says of transfer.
    """

    suites: tuple[SuiteTable, ...]
    tasks: tuple[TaskTable, ...]
    transfer: Mapping[tuple[str, str], Transfer]

    @property
    def main_transfer(self) -> tuple[Transfer, ...]:
        """What each task's main encoding says of transfer, in order of task."""
        places = [(table.task, table.encoding) for table in self.tasks if table.main]
        return tuple(self.transfer[place] for place in places if place in self.transfer)

    @property
    def transfer_marks(self) -> tuple[str, ...]:
        """Why the numbers of :attr:`main_transfer` must not be compared with published ones, and which."""
        marks: dict[str, list[str]] = {}
        for entry in self.main_transfer:
            for mark in entry.average.marks:
                marks.setdefault(mark, []).append(entry.task)
        return told(marks, len(self.main_transfer))

    @property
    def error_note(self) -> str:
        """What a reader must know of the errors of means; empty where no two languages of a table have the same items."""
        return error_note(
            [row[table.first] for row in table.rows.values() if table.first in row] for table in self.tasks
        )

    @property
    def seed_note(self) -> str:
        """What a reader must know of seeds; empty where there is one seed at most."""
        return seed_note(cell for table in self.tasks for cell in table.cells if set(cell.by_seed) != {None})


def summarise(records: Iterable[Record], suites: Mapping[str, Suite]) -> Tables:
    """All tables of some records.

    Args:
        records: Of one run, in any order; several seeds of one score are averaged.
        suites: By name, in the order in which they are shown; the first that has a task says which of the task's
            languages its summary is about.
    """
    tasks = tuple(task_tables(records, suites))
    return Tables(suites=suite_tables(tasks, suites), tasks=tasks, transfer=transfers(tasks, suites))
