"""What a run tells while it goes on. A listener is told; it never decides anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from harness.curriculum import Phase
from harness.plan import Plan, Unit
from harness.records import Record


class Listener(Protocol):
    """Told of a run's steps, in the thread that runs it."""

    def planned(self, plan: Plan, pending: int) -> None:
        """The plan stands; ``pending`` units are still to be computed."""

    def encoding(self, unit: Unit, texts: int) -> None:
        """So many texts of a unit are about to be encoded."""

    def encoded(self, texts: int) -> None:
        """So many of them are."""

    def waiting(self, phase: Phase) -> None:
        """Another process trains the same, and this one waits until it is done."""

    def training(self, phase: Phase, steps: int, done: int) -> None:
        """A head is about to be fine-tuned in so many steps, of which some are done."""

    def trained(self, step: int, loss: float) -> None:
        """A step of it is done."""

    def selected(self, step: int, score: float) -> None:
        """Its selection set was scored, in percent."""

    def finished(self, unit: Unit, records: Sequence[Record]) -> None:
        """A unit is written."""

    def failed(self, unit: Unit, error: str) -> None:
        """A unit could not be computed."""


class Silent:
    """Tells nobody."""

    def planned(self, plan: Plan, pending: int) -> None:
        """See :class:`Listener`."""

    def encoding(self, unit: Unit, texts: int) -> None:
        """See :class:`Listener`."""

    def encoded(self, texts: int) -> None:
        """See :class:`Listener`."""

    def waiting(self, phase: Phase) -> None:
        """See :class:`Listener`."""

    def training(self, phase: Phase, steps: int, done: int) -> None:
        """See :class:`Listener`."""

    def trained(self, step: int, loss: float) -> None:
        """See :class:`Listener`."""

    def selected(self, step: int, score: float) -> None:
        """See :class:`Listener`."""

    def finished(self, unit: Unit, records: Sequence[Record]) -> None:
        """See :class:`Listener`."""

    def failed(self, unit: Unit, error: str) -> None:
        """See :class:`Listener`."""
