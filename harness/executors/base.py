"""What all executors share: an event, the order in which cells are begun, how often one that died is begun again.

Knows jobs; knows no process, no cluster and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from harness.experiment import Ended, Job
from harness.recipes import prefix_id
from harness.telling import Told

# How often a cell is begun on a cluster in all, where what carried it out died and the cell did not fail of itself.
ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a cell.

    Attributes:
        job: The cell.
        told: What a listener tells, ``("started", where)``, ``("queued", where)``, or ``("again", attempt, why)`` where
            what carried it out died and another takes it up.
        ended: How it ended, None while it goes on.
    """

    job: Job
    told: Told = ()
    ended: Ended | None = None


Carry: TypeAlias = Callable[[Sequence[Job], int], Generator[Event, None, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """A place that carries out jobs.

    Attributes:
        device: The kind of device of every cell, ``cpu`` or ``cuda``.
        carry_out: From jobs, in the order in which they are begun, to what happens to them. Closing it stops what it has
            begun, which keeps what it has, unless ``farewell`` says otherwise. The second argument is the number of
            processes among which the cores of this machine were divided when the experiment was begun.
        processes: How many processes divide the cores of this machine now; 1 where each cell has cores of its own.
        farewell: What becomes of cells at work when the harness is interrupted, where they go on; empty where they stop.
    """

    device: str
    carry_out: Carry
    processes: int = 1
    farewell: str = ""


@dataclass(kw_only=True)
class Queue:
    """The cells that wait, in the order in which they are begun, and those at work."""

    waiting: list[Job]
    _at_work: dict[str, Job] = field(default_factory=dict)
    _trained: set[str] = field(default_factory=set)

    def take(self) -> Job:
        """The next cell: the first that need not wait for a training of another one at work, else the first of all."""
        return self._begun(first_free(self.waiting, self._others(), self._trained) or 0)

    def take_free(self) -> Job | None:
        """The next cell that need not wait for a training of another one at work; None where each would have to."""
        number = first_free(self.waiting, self._others(), self._trained)
        return None if number is None else self._begun(number)

    def adopt(self, job: Job) -> None:
        """A cell is at work already."""
        self.waiting.remove(job)
        self._at_work[job.id] = job

    def hear(self, event: Event) -> None:
        """Learn from an event what is trained, and who is at work no more."""
        if event.ended is not None:
            self._at_work.pop(event.job.id, None)
        # Evaluation begins when every intermediate training of a cell is done.
        if event.ended is not None or event.told[:1] == ("units",):
            self._trained.update(prefixes(event.job))

    def _others(self) -> list[Job]:
        return list(self._at_work.values())

    def _begun(self, number: int) -> Job:
        job = self.waiting.pop(number)
        self._at_work[job.id] = job
        return job


def first_free(waiting: Sequence[Job], at_work: Sequence[Job], trained: Container[str]) -> int | None:
    """The first job whose next training no job at work has before it too; None where there is none.

    Args:
        waiting: To choose from.
        at_work: What others do.
        trained: Names of the trainings that are done, see :func:`prefixes`.
    """
    theirs = {prefix for job in at_work for prefix in prefixes(job) if prefix not in trained}
    for number, job in enumerate(waiting):
        untrained = [prefix for prefix in prefixes(job) if prefix not in trained]
        if not untrained or untrained[0] not in theirs:
            return number
    return None


def prefixes(job: Job) -> list[str]:
    """Names the intermediate trainings of a job, in order."""
    stages = job.cell.setting.stages
    return [prefix_id(job.cell.model, stages[:length], job.cell.seed) for length in range(1, len(stages) + 1)]
