"""Progress of a run on standard error: bars on a terminal, one line per unit elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from harness.curriculum import Phase
from harness.plan import Plan, Unit
from harness.progress import Listener, Silent
from harness.records import Record
from harness.wording import counted

if TYPE_CHECKING:
    from harness.engine.session import Compute

# Between two lines about a training in a log.
_EVERY_SECONDS = 30.0


@contextlib.contextmanager
def listener(*, quiet: bool = False) -> Iterator[Listener]:
    """A listener for this terminal, or for nobody."""
    if quiet:
        yield Silent()
        return
    if not sys.stderr.isatty():
        yield Lines()
        return
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with progress:
        yield Bars(progress)


def say_of(compute: Compute) -> None:
    """What somebody who asked for a dtype should know before the hours that it takes."""
    from harness.engine.hardware import remark_on

    remark = remark_on(compute.dtype, compute.device)
    if remark:
        click.echo(f"harness: {remark}", err=True)


class Lines:
    """One line per step, for logs."""

    def __init__(self) -> None:
        self._steps = 0
        self._told = 0.0

    def planned(self, plan: Plan, pending: int) -> None:
        """See :class:`harness.progress.Listener`."""
        kept = len(plan.units) - pending - sum(bool(unit.error) for unit in plan.units)
        click.echo(f"harness: {counted(pending, 'unit')} to compute, {kept} done before", err=True)

    def encoding(self, unit: Unit, texts: int) -> None:
        """See :class:`harness.progress.Listener`."""

    def encoded(self, texts: int) -> None:
        """See :class:`harness.progress.Listener`."""

    def waiting(self, phase: Phase) -> None:
        """See :class:`harness.progress.Listener`."""
        click.echo(f"harness: {waits(phase.name, phase.key)}", err=True)

    def training(self, phase: Phase, steps: int, done: int) -> None:
        """See :class:`harness.progress.Listener`."""
        before = f", {done} done before" if done else ""
        click.echo(f"harness: {_verb(phase)} on {_learned(phase)}: {steps} steps{before}", err=True)
        self._steps, self._told = steps, time.monotonic()

    def trained(self, step: int, loss: float) -> None:
        """See :class:`harness.progress.Listener`."""
        if time.monotonic() - self._told > _EVERY_SECONDS:
            click.echo(f"harness:   step {step} of {self._steps}, loss {loss:.4f}", err=True)
            self._told = time.monotonic()

    def selected(self, step: int, score: float) -> None:
        """See :class:`harness.progress.Listener`."""
        click.echo(f"harness:   step {step} of {self._steps}, selection score {score:.2f}", err=True)

    def finished(self, unit: Unit, records: Sequence[Record]) -> None:
        """See :class:`harness.progress.Listener`."""
        click.echo(f"harness: {unit.name} {_score(records)}", err=True)

    def failed(self, unit: Unit, error: str) -> None:
        """See :class:`harness.progress.Listener`."""
        click.echo(f"harness: {unit.name} failed: {error}", err=True)


class Bars:
    """Three bars: texts of the unit at hand, steps of a training, units of the run."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._units = progress.add_task("units", total=None)
        self._texts = progress.add_task("texts", total=None)
        self._steps = progress.add_task("steps", total=None, visible=False)

    def planned(self, plan: Plan, pending: int) -> None:
        """See :class:`harness.progress.Listener`."""
        self._progress.update(self._units, total=pending)

    def encoding(self, unit: Unit, texts: int) -> None:
        """See :class:`harness.progress.Listener`."""
        self._progress.reset(self._texts, total=texts, description=f"encode {unit.name}")

    def encoded(self, texts: int) -> None:
        """See :class:`harness.progress.Listener`."""
        self._progress.advance(self._texts, texts)

    def waiting(self, phase: Phase) -> None:
        """See :class:`harness.progress.Listener`."""
        self._progress.console.print(waits(phase.name, phase.key), highlight=False, markup=False)

    def training(self, phase: Phase, steps: int, done: int) -> None:
        """See :class:`harness.progress.Listener`."""
        self._progress.reset(
            self._steps,
            total=steps,
            completed=done,
            visible=True,
            description=f"{_verb(phase)} on {_learned(phase)}",
        )

    def trained(self, step: int, loss: float) -> None:
        """See :class:`harness.progress.Listener`."""
        self._progress.update(self._steps, completed=step)

    def selected(self, step: int, score: float) -> None:
        """See :class:`harness.progress.Listener`."""
        self._progress.console.print(f"step {step}: selection score {score:.2f}", highlight=False)

    def finished(self, unit: Unit, records: Sequence[Record]) -> None:
        """See :class:`harness.progress.Listener`."""
        self._progress.advance(self._units)
        self._progress.console.print(f"{unit.name} {_score(records)}", highlight=False)

    def failed(self, unit: Unit, error: str) -> None:
        """See :class:`harness.progress.Listener`."""
        self._progress.advance(self._units)
        self._progress.console.print(
            f"{unit.name} failed: {error}", style="red", highlight=False, markup=False
        )


def waits(name: str, key: str) -> str:
    """What to say of a training that another process is at."""
    return f"{name}: another process trains {key}; waiting"


def _verb(phase: Phase) -> str:
    return "training" if phase.intermediate else "fine-tuning"


def _learned(phase: Phase) -> str:
    examples = sum(course.learn.examples for course in phase.courses)
    languages = ",".join(dict.fromkeys(code for course in phase.courses for code in course.learn.languages))
    return f"{phase.name} ({languages}, {examples} examples, seed {phase.seed})"


def _score(records: Sequence[Record]) -> str:
    main = next((record for record in records if record.main), records[0])
    return f"{main.metric} {main.value:.2f} ±{main.stderr:.2f} (n {main.n})"
