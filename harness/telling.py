"""What a worker process tells the one that shows it. Knows what a listener is told; knows no process and no model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

# (what, …), JSON values all, as a worker's listener tells it: ("training", name, steps, done), ("waiting", name, key), ("step", number),
# ("units", all), ("unit", name), ("failed", name, error).
Told: TypeAlias = tuple[Any, ...]
_TELL_SECONDS = 0.2


class Teller:
    """A listener that sends what it is told to the process that shows it, steps only now and then."""

    def __init__(self, send: Callable[[Told], None]) -> None:
        self._pass_on = send
        self._told = 0.0

    def _send(self, told: Told) -> None:
        try:
            self._pass_on(told)
        except OSError as error:  # nobody listens any more; that is no failure of the cell
            raise KeyboardInterrupt from error

    def planned(self, plan: Any, pending: int) -> None:
        """See :class:`harness.progress.Listener`."""
        self._send(("units", pending))

    def encoding(self, unit: Any, texts: int) -> None:
        """See :class:`harness.progress.Listener`."""

    def encoded(self, texts: int) -> None:
        """See :class:`harness.progress.Listener`."""

    def waiting(self, phase: Any) -> None:
        """See :class:`harness.progress.Listener`."""
        self._send(("waiting", phase.name, phase.key))

    def training(self, phase: Any, steps: int, done: int) -> None:
        """See :class:`harness.progress.Listener`."""
        self._send(("training", phase.name, steps, done))

    def trained(self, step: int, loss: float) -> None:
        """See :class:`harness.progress.Listener`."""
        if time.monotonic() - self._told > _TELL_SECONDS:
            self._told = time.monotonic()
            self._send(("step", step))

    def selected(self, step: int, score: float) -> None:
        """See :class:`harness.progress.Listener`."""

    def finished(self, unit: Any, records: Any) -> None:
        """See :class:`harness.progress.Listener`."""
        self._send(("unit", unit.name))

    def failed(self, unit: Any, error: str) -> None:
        """See :class:`harness.progress.Listener`."""
        self._send(("failed", unit.name, error))
