"""The exceptions a user can meet, and the exit code of each; knows nothing about printing them.

HarnessError                    2   something the user can mend; one line, no traceback
├── UsageError                  2   an option or argument that is not allowed
│   ├── UnknownNameError        2   a task, suite, language, metric … that nobody provides
│   └── NothingSelectedError    5   the selection is empty
├── PluginError                 2   a plugin that could not be loaded or broke a contract
├── SpecError                   2   a TaskSpec, Metric or Suite that contradicts itself
├── DataError                   2   a file or data set that is missing or malformed
├── ModelError                  2   a checkpoint that cannot be opened or gives no finite numbers
│   └── DeviceError             2   a device without room for a model, or one that failed
└── OutputError                 2   an output folder that cannot be used
    └── UnwrittenError          2   a write that failed: a full disk, a folder that cannot be written
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar


class HarnessError(Exception):
    """Base of all errors that are shown as one line."""

    exit_code: ClassVar[int] = 2


class UsageError(HarnessError):
    """An option or argument that is not allowed."""


class UnknownNameError(UsageError):
    """A name that nobody provides; the message offers the nearest ones that exist.

    Args:
        kind: What was looked for, e.g. ``"task"``.
        name: What was asked for.
        known: What exists.
        hint: A closing sentence, e.g. which plugin failed to load.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        import difflib

        choices = sorted(set(known))
        near = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
        offer = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(choices) or 'none'}"
        super().__init__(f"unknown {kind} '{name}'; {offer}{'; ' + hint if hint else ''}")


class NothingSelectedError(UsageError):
    """The selection of tasks and languages is empty."""

    exit_code = 5


class PluginError(HarnessError):
    """A plugin that could not be loaded or broke a contract."""


class SpecError(HarnessError):
    """A TaskSpec, Metric or Suite that contradicts itself."""


class DataError(HarnessError):
    """A file or data set that is missing or malformed.

    Args:
        told: What is wrong.
        advice: What to do to evaluate something else instead, at the message's end; no help where data is to be learned.
    """

    # An error of another process comes as its message alone.
    advice: str = ""

    def __init__(self, told: str, *, advice: str = "") -> None:
        super().__init__(f"{told}; {advice}" if advice else told)
        self.advice = advice

    @property
    def told(self) -> str:
        """What is wrong, without the advice."""
        return str(self).removesuffix(f"; {self.advice}") if self.advice else str(self)

    def within(self, place: str) -> DataError:
        """The same, after the place in which it was found."""
        return DataError(f"{place}: {self.told}", advice=self.advice)


class ModelError(HarnessError):
    """A checkpoint that cannot be opened, or that gives numbers that are not finite."""


class DeviceError(ModelError):
    """A device that has no room for a model, or that failed while one ran; nothing is said against the model's files."""


class OutputError(HarnessError):
    """An output folder that cannot be used."""


class UnwrittenError(OutputError):
    """A write that failed, as more writes would: the disk is full, or the folder cannot be written."""
