"""From names on the command line to tasks, languages and splits. Knows the catalog; reads no data."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness import languages, sources
from harness.catalog import Catalog
from harness.errors import NothingSelectedError, UsageError
from harness.sources import DataLocation
from harness.spec import TaskSpec
from harness.teaching import parse_set, put_once


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """A task with the split and the languages that are to be evaluated.

    Attributes:
        task: The task.
        split: The split.
        languages: In the task's order.
        missing: Languages that were asked for as ``available`` and are not.
    """

    task: TaskSpec
    split: str
    languages: tuple[str, ...]
    missing: tuple[str, ...] = ()


def select(
    catalog: Catalog,
    names: Sequence[str],
    wanted: Sequence[str],
    splits: Sequence[str],
    location: DataLocation,
) -> list[Selected]:
    """Resolve task names, suite names and globs, in order of task name.

    A suite brings its own languages, a task by name brings all of its languages. ``wanted`` overrides both: codes, or
    ``available`` for what the data location holds, which is also what the built-in sample is asked for by default. Codes
    beside ``available`` stand for those of them that it holds.

    Args:
        names: Names, globs, comma-separated or not.
        wanted: Language codes (ISO 639-1 or 639-3) or ``available``.
        splits: ``SPLIT`` or ``TASK=SPLIT``.

    Raises:
        UnknownNameError: A name that no plugin gives.
        UsageError: A language that no selected task has, or a split that a task has not.
        NothingSelectedError: Nothing is left.
    """
    chosen = _scored(catalog, names)
    codes = _split(wanted)
    if wanted and not codes:
        raise NothingSelectedError("--languages names no language; leave it out for all of them")
    if location.kind == "sample" and not codes:
        codes = ["available"]
    by_split = _splits(catalog, chosen, splits)
    named = [code for code in codes if code != "available"]
    asked = [languages.canonical(code) for code in named] if named else None
    for code in asked or ():
        if not any(code in catalog.task(name).languages for name in chosen):
            raise UsageError(f"no selected task has language '{code}' ({languages.name(code)})")
    selected = []
    for name in sorted(chosen):
        task = catalog.task(name)
        ours = [code for code in task.languages if code in (chosen[name] if asked is None else asked)]
        found = sources.available(task, by_split[name], location) if "available" in codes else ours
        selected.append(
            Selected(
                task=task,
                split=by_split[name],
                languages=tuple(code for code in ours if code in found),
                missing=tuple(code for code in ours if code not in found),
            )
        )
    selected = [entry for entry in selected if entry.languages or entry.missing]
    if not any(entry.languages for entry in selected):
        raise NothingSelectedError(_nothing(selected, location, named))
    return selected


def tasks_of(catalog: Catalog, names: Sequence[str]) -> dict[str, set[str]]:
    """Name of each task that names, suites and globs stand for, to the languages that come with it.

    Raises:
        UnknownNameError: A name that no plugin gives.
        UsageError: No scored task is named: to go on with none would look at nothing, or keep nothing apart.
    """
    if not _split(names):
        raise UsageError(f"--tasks '{','.join(names)}': name tasks or suites, e.g. xtreme")
    found = _scored(catalog, names)
    if not found:
        raise UsageError(
            f"'{','.join(names)}' names no task that is scored; name tasks or suites, e.g. xtreme"
        )
    return found


def _scored(catalog: Catalog, names: Sequence[str]) -> dict[str, set[str]]:
    """Without tasks that are only trained on, which a glob may have brought."""
    names = _split(names)
    chosen = _tasks(catalog, names)
    unscored = [name for name in chosen if not catalog.task(name).metrics]
    for name in unscored:
        if name in names:
            raise UsageError(
                f"task '{name}' is trained on and never scored; give it to harness train, alone or as a share"
            )
    return {name: codes for name, codes in chosen.items() if name not in unscored}


def tasks(catalog: Catalog, names: Sequence[str]) -> list[TaskSpec]:
    """The tasks that names, suites and globs stand for, with those that their heads learn from, by name.

    Raises as :func:`select` does.
    """
    chosen = {name: catalog.task(name) for name in _tasks(catalog, _split(names))}
    learned = {
        training.task
        for task in chosen.values()
        for training in task.training.values()
        if training.task not in chosen
    }
    return [catalog.task(name) for name in sorted([*chosen, *learned])]


def _nothing(selected: list[Selected], location: DataLocation, named: Sequence[str]) -> str:
    if not selected:
        return "no task and language is selected"
    told = ", ".join(f"{entry.task.name} (split {entry.split})" for entry in selected)
    which = f"none of the languages {', '.join(named)}" if named else "no language"
    return f"{location} holds {which} of {told}"


def _split(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _tasks(catalog: Catalog, names: Sequence[str]) -> dict[str, set[str]]:
    """Task name to the languages that were asked for with it."""
    chosen: dict[str, set[str]] = {}
    for name in names:
        if name in catalog.suites:
            for entry in catalog.suites[name].tasks:
                chosen.setdefault(catalog.task(entry.task).name, set()).update(entry.languages)
            continue
        matches = fnmatch.filter(catalog.tasks, name)
        for task in [catalog.task(match) for match in matches] or [catalog.task(name)]:
            chosen.setdefault(task.name, set()).update(task.languages)
    if not chosen:
        raise NothingSelectedError("no task is selected; name some with --tasks")
    return chosen


def _splits(catalog: Catalog, chosen: Iterable[str], given: Sequence[str]) -> dict[str, str]:
    """The split of each task: ``TASK=SPLIT`` says it, else ``SPLIT``, else it is the task's own."""
    by_split = {name: catalog.task(name).split for name in chosen}
    wanted: dict[str, str] = {}
    for entry in _split(given):
        name, _, split = entry.rpartition("=")
        if name and name not in by_split:
            raise UsageError(f"--split {entry}: task '{name}' is not selected")
        for task in [name] if name else by_split:
            known = catalog.task(task).splits
            if split not in known:
                raise UsageError(f"--split {entry}: task '{task}' has the splits {', '.join(known)}")
        put_once(wanted, name, split, option="split")
    return {task: wanted.get(task, wanted.get("", split)) for task, split in by_split.items()}


def changes(selected: Sequence[Selected], given: Sequence[str]) -> dict[str, dict[str, str]]:
    """``TASK.SETTING=VALUE`` by task; raises UsageError."""
    return parse_set(given, [entry.task.name for entry in selected])
