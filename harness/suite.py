"""A suite: tasks and the languages that count. Values only; knows tasks by name alone."""

from __future__ import annotations

from dataclasses import dataclass

from harness import languages
from harness.errors import SpecError
from harness.names import NAME


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTask:
    """A task of a suite with the languages that count there.

    Attributes:
        task: Task's name.
        languages: Whose plain mean is the task's score, English included where it is named.
        group: Name of the group, e.g. ``qa``.
        metrics: The metrics whose mean is the task's score, by name, all of the main metric's view; empty for the task's
            main metric alone.
    """

    task: str
    languages: tuple[str, ...]
    group: str
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named list of tasks. A task's score is the plain mean over its languages, the suite's over its tasks.

    Attributes:
        name: As on the command line.
        title: One line.
        tasks: In order.
        citation: BibTeX.
        notes: What a reader of the average should know.
    """

    name: str
    title: str
    tasks: tuple[SuiteTask, ...]
    citation: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SpecError(
                f"suite '{self.name}': a name has lower-case letters and digits, joined by - or _"
            )
        names = [entry.task for entry in self.tasks]
        if not names or len(set(names)) < len(names):
            raise SpecError(f"suite '{self.name}': tasks are missing or named twice")
        for entry in self.tasks:
            odd = [code for code in entry.languages if not languages.is_canonical(code)]
            if odd or not entry.languages:
                raise SpecError(
                    f"suite '{self.name}', task '{entry.task}': bad languages {', '.join(odd) or '(none)'}"
                )
