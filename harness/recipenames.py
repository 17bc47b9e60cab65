"""Whether the names in a recipe's file are right, as only plugins and this machine can tell; reads no data.

Knows what each kind of name is held against; where they stand says :mod:`harness.recipementions`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import hub, languages, teaching
from harness.builtin import NAMES, is_built_in
from harness.catalog import Catalog
from harness.checkpoints import asked_of
from harness.newmodels import is_new, new_model
from harness.recipementions import Mention
from harness.recipes import Recipe
from harness.spec import TaskSpec
from harness.yamlnodes import unknown

_LISTING = "'harness tasks list'"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """A recipe and where its names stand.

    Attributes:
        recipe: What the file says, with what it extends.
        file: What errors call it.
        mentions: Names that :func:`check` looks up.
    """

    recipe: Recipe
    file: str
    mentions: tuple[Mention, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What names are held against: what the plugins bring, and of the recipe its targets and protocol."""

    catalog: Catalog
    targets: Sequence[str]
    protocol: str | None

    @property
    def tasks(self) -> Mapping[str, TaskSpec]:
        return self.catalog.tasks


def check(found: RecipeFile, catalog: Catalog, given: Collection[str] = ()) -> None:
    """Look up every name of a recipe: tasks, suites, baselines, protocol, splits, languages, models and data folder.

    Args:
        found: The recipe.
        catalog: What there is.
        given: Keys (``model``, ``data``) whose value the command line replaces, so that the file's does not count.

    Raises:
        UsageError: The first that cannot be, with file, line and key.
    """
    known = _Known(
        catalog=catalog, targets=_targets(found.recipe.targets, catalog), protocol=found.recipe.protocol
    )
    for mention in found.mentions:
        told = "" if mention.kind in given else _CHECKS[mention.kind](mention, known)
        if told:
            raise mention.value.error(told)


def _targets(wanted: Sequence[str], catalog: Catalog) -> list[str]:
    """The tasks that targets stand for, those that are scored."""
    found: set[str] = set()
    for name in wanted:
        suite = catalog.suites.get(name)
        found.update([entry.task for entry in suite.tasks] if suite else fnmatch.filter(catalog.tasks, name))
    return sorted(name for name in found if name in catalog.tasks and catalog.tasks[name].metrics)


def _target(mention: Mention, known: _Known) -> str:
    name = mention.name
    if name in known.tasks and not known.tasks[name].metrics:
        return f"found task '{name}', which is trained on and never scored; it is no target"
    if name in known.catalog.suites or fnmatch.filter(known.tasks, name):
        return ""
    return unknown("task or suite", name, [*known.tasks, *known.catalog.suites], _LISTING)


def _baseline(mention: Mention, known: _Known) -> str:
    return (
        ""
        if mention.name in known.catalog.baselines
        else unknown("baseline", mention.name, known.catalog.baselines)
    )


def _selected(mention: Mention, known: _Known) -> str:
    return "" if mention.name in known.targets else unknown("target", mention.name, known.targets)


def _task(mention: Mention, known: _Known) -> str:
    return "" if mention.name in known.tasks else unknown("task", mention.name, known.tasks, _LISTING)


def _learned(mention: Mention, known: _Known) -> str:
    """A task of a stage has to learn, and from its own examples."""
    name = mention.name
    if name not in known.tasks:
        return _task(mention, known)
    training = known.tasks[name].learned_under(known.protocol)
    if training is None:
        return f"found task '{name}', which needs no training, so it cannot be learned; leave it out"
    return (
        ""
        if training.task == name
        else f"found task '{name}', which learns from '{training.task}'; name that"
    )


def _masked(mention: Mention, known: _Known) -> str:
    if mention.name not in known.tasks:
        return _task(mention, known)
    able = [name for name, task in known.tasks.items() if task.format.head.kind == "vocabulary"]
    told = f"found task '{mention.name}', which is no masked-LM task; there are {', '.join(able) or 'none'}"
    return "" if mention.name in able else told


def _protocol(mention: Mention, known: _Known) -> str:
    every = sorted({name for task in known.tasks.values() for name in task.protocols})
    return "" if mention.name in every else unknown("protocol", mention.name, every)


def _split(mention: Mention, known: _Known) -> str:
    """The split of one target or of all."""
    told = (_lacks(known.tasks[task], mention.name) for task in mention.tasks or known.targets)
    return next(filter(None, told), "")


def _lacks(task: TaskSpec, split: str) -> str:
    has = ", ".join(task.splits)
    return (
        ""
        if split in task.splits
        else f"found split '{split}', which task '{task.name}' has not; it has {has}"
    )


def _target_set(mention: Mention, known: _Known) -> str:
    """Another training set of one target or of all that are trained."""
    trained = [known.tasks[task].trained_under(known.protocol) for task in mention.tasks or known.targets]
    return _sets(mention, [training.task for training in trained if training is not None], known)


def _stage_set(mention: Mention, known: _Known) -> str:
    """Another training set of tasks of a stage; unknown ones are told where they stand."""
    return _sets(mention, [name for name in mention.tasks if name in known.tasks], known)


def _setting(mention: Mention, known: _Known) -> str:
    """A setting of a stage's task; an unknown task is told where it stands."""
    (task,) = mention.tasks
    name, _, value = mention.name.partition("=")
    with mention.value.placed():
        if task in known.tasks:
            teaching.learned_with(known.tasks[task], {name: value})
    return ""


def _sets(mention: Mention, own: Sequence[str], known: _Known) -> str:
    wanted = teaching.parse_train_from([mention.name], ())[""]
    if wanted.task is not None and wanted.task not in known.tasks:
        return unknown("task", wanted.task, known.tasks, _LISTING)
    asked = own if wanted.task is None else [wanted.task]
    return next(
        filter(None, (_lacks(known.tasks[task], wanted.split) for task in asked if task in known.tasks)), ""
    )


def _language(mention: Mention, known: _Known) -> str:
    if any(mention.name in known.tasks[task].languages for task in known.targets):
        return ""
    return f"found language '{mention.name}' ({languages.name(mention.name)}), which no target has"


def _data(mention: Mention, known: _Known) -> str:
    name = mention.name
    if name in ("hub", "sample") or Path(name).is_dir() or Path(name.removesuffix("+hub")).is_dir():
        return ""
    return f"found '{name}', which is no folder; give a folder, 'hub', 'sample' or FOLDER+hub"


def _model(mention: Mention, known: _Known) -> str:
    name = mention.name
    if is_new(name):
        with mention.value.placed():
            new_model(name)
        return ""
    with mention.value.placed():
        plain, _ = asked_of(name)
    if is_built_in(plain):
        return "" if plain in NAMES else unknown("built-in model", plain, NAMES)
    if Path(plain).is_dir() or hub.model_repository(plain):
        return ""
    return f"found '{name}', which is no folder; give a folder, a hub id (owner/name), 'sample' or new:…"


_CHECKS: Mapping[str, Callable[[Mention, _Known], str]] = {
    "target": _target,
    "baseline": _baseline,
    "selected": _selected,
    "task": _task,
    "learned": _learned,
    "masked": _masked,
    "protocol": _protocol,
    "split": _split,
    "target set": _target_set,
    "stage set": _stage_set,
    "setting": _setting,
    "language": _language,
    "data": _data,
    "model": _model,
}
