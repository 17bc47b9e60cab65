"""What the cells of an experiment are doing, on standard error: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from harness.cli.progress import waits
from harness.executors import Event
from harness.executors.base import ATTEMPTS
from harness.experiment import Job

Show: TypeAlias = Callable[[Event], None]


@contextlib.contextmanager
def shown(jobs: Sequence[Job]) -> Iterator[Show]:
    """A function that shows what happens to cells."""
    if not sys.stderr.isatty():
        yield _Lines(len(jobs))
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with progress:
        yield _Table(progress, len(jobs))


@dataclass(slots=True)
class _Complaints:
    """Tells of each cell's failures the first of every kind: a training that fails does so for all languages."""

    _told: set[tuple[str, str]] = field(default_factory=set)

    def new(self, job: Job, name: str, error: str) -> bool:
        """Whether this was not told before of another unit of the same cell."""
        kind = job.id, error.removeprefix(f"{name}: ")
        if kind in self._told:
            return False
        self._told.add(kind)
        return True


class _Lines:
    """One line when a cell begins and one when it ends, for logs."""

    def __init__(self, count: int) -> None:
        self._count, self._ended = count, 0
        self._complaints = _Complaints()

    def __call__(self, event: Event) -> None:
        match event.told:
            case ("started", device):
                click.echo(f"harness: {event.job.cell.title}: started on {device}", err=True)
            case ("queued", where):
                click.echo(f"harness: {event.job.cell.title}: queued as {where}", err=True)
            case ("again", attempt, why):
                click.echo(f"harness: {event.job.cell.title}: {_again(attempt, why)}", err=True)
            case ("waiting", name, key):
                click.echo(f"harness:   {event.job.cell.title}: {waits(name, key)}", err=True)
            case ("training", name, steps, done):
                before = f", {done} done before" if done else ""
                click.echo(f"harness:   {event.job.cell.title}: {name}: {steps} steps{before}", err=True)
            case ("failed", name, error) if self._complaints.new(event.job, name, error):
                click.echo(f"harness:   {event.job.cell.title}: {name} failed: {error}", err=True)
        if event.ended is not None:
            self._ended += 1
            click.echo(f"harness: {_end(event)} ({self._ended} of {self._count})", err=True)


def _end(event: Event) -> str:
    ended = event.ended
    assert ended is not None
    error = f": {ended.error}" if ended.error else ""
    return f"{event.job.cell.title}: {ended.status} after {ended.seconds:.1f} s{error}"


def _again(attempt: int, why: str) -> str:
    return f"begun again, attempt {attempt} of {ATTEMPTS}: {why}"


class _Table:
    """A line for each cell that is at work, and one for all."""

    def __init__(self, progress: Progress, count: int) -> None:
        self._progress = progress
        self._all = progress.add_task("cells", total=count)
        self._rows: dict[str, TaskID] = {}
        self._complaints = _Complaints()

    def __call__(self, event: Event) -> None:
        title, job = event.job.cell.title, event.job.id
        row = self._rows.get(job)
        match event.told:
            case ("started", _device) if row is None:
                self._rows[job] = self._progress.add_task(title, total=None)
            case ("again", attempt, why):
                self._say(f"{title}: {_again(attempt, why)}", "yellow")
            case ("waiting", name, _key) if row is not None:
                self._progress.reset(row, total=None, description=f"{title}: another process trains {name}")
            case ("training", name, steps, done) if row is not None:
                self._progress.reset(
                    row, total=steps, completed=done, description=f"{title}: train on {name}"
                )
            case ("step", step) if row is not None:
                self._progress.update(row, completed=step)
            case ("units", count) if row is not None:
                self._progress.reset(row, total=count, description=f"{title}: evaluate")
            case ("unit", _name) if row is not None:
                self._progress.advance(row)
            case ("failed", name, error) if self._complaints.new(event.job, name, error):
                self._say(f"{title}: {name} failed: {error}", "red")
        if event.ended is not None:
            self._progress.advance(self._all)
            if row is not None:
                self._progress.remove_task(self._rows.pop(job))
            self._say(_end(event), None if event.ended.status == "done" else "red")

    def _say(self, text: str, style: str | None) -> None:
        self._progress.console.print(text, style=style, highlight=False, markup=False)
