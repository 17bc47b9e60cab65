"""What an experiment will cost: steps and tokens, from the data that is to hand or else from published sizes.

Tokens are upper bounds, as if every row were full and every example one row (a choice question is one row for each of its
choices, a long passage several, a pair that is to be told apart two); a stage is counted once however many cells begin with it. What the
cache has already is not subtracted. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import layouts, sources
from harness.errors import HarnessError
from harness.formats.drawn import DrawnFormat
from harness.recipes import Recipe, as_value, cells, prefix_id
from harness.registry import Catalog
from harness.selection import Selected, select, tasks_of
from harness.sources import DataLocation
from harness.spec import TaskSpec, Training
from harness.stages import PROTOCOL, Stage
from harness.subsets import subset_size
from harness.teaching import TrainFrom, hyper_value, parse_hyper, parse_train_from
from harness.translated import has_translation


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What is to be computed.

    Attributes:
        stages: Distinct intermediate trainings, with their optimizer steps and tokens at most.
        tunings: Fine-tunings of targets, likewise.
        items: Items that are evaluated in all cells together.
        unknown: Tasks whose training set is not to hand and has no published size.
        lacking: What is to be learned and is in no place of the data, with the settings that cannot do without it; on the
            hub only whether a source is declared is looked at.
        published: Whether sizes may be published ones, not those of the data.
    """

    stages: int
    stage_steps: int
    stage_tokens: int
    tunings: int
    tuning_steps: int
    tuning_tokens: int
    items: int
    unknown: tuple[str, ...]
    lacking: tuple[str, ...]
    published: bool

    def as_json(self) -> dict[str, Any]:
        """All counts by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def lines(self) -> list[str]:
        """For people."""
        found = [
            f"{self.stages} intermediate trainings: {self.stage_steps:,} steps, {_many(self.stage_tokens)} tokens at most",
            f"{self.tunings} fine-tunings of targets: {self.tuning_steps:,} steps, {_many(self.tuning_tokens)} tokens at most",
            f"{self.items:,} items to predict",
        ]
        if self.published:
            found.append("from published sizes of the whole sets")
        if self.unknown:
            found.append(f"training sets of unknown size are left out: {', '.join(self.unknown)}")
        found += [f"no data: {told}" for told in self.lacking]
        return found


def _many(count: int) -> str:
    return f"{count / 1e9:.2f} billion" if count >= 1e9 else f"{count / 1e6:.1f} million"


@dataclass(kw_only=True)
class _Sizes:
    """Numbers of examples, each set counted once."""

    location: DataLocation
    _known: dict[tuple[str, str, str], int | None] = field(default_factory=dict)

    def of(self, task: TaskSpec, split: str, language: str) -> int | None:
        """Items of a set; None where it is not to hand, on the hub where no size is published."""
        key = (task.name, split, language)
        if key not in self._known:
            self._known[key] = self._counted(task, split, language)
        return self._known[key]

    def _counted(self, task: TaskSpec, split: str, language: str) -> int | None:
        published = task.sizes.get(split, {}).get(language) if self.location.hub else None
        folder = self.location.folder
        if not self.location.local or (
            self.location.hub and folder and not _in(task, split, language, folder)
        ):
            return published
        try:
            return task.format.items(sources.read(task, language, split, self.location).examples)
        except HarnessError:
            return published


def _in(task: TaskSpec, split: str, language: str, folder: Path) -> bool:
    return layouts.whole(task, language, split, folder)


def cost_of(recipe: Recipe, catalog: Catalog, location: DataLocation) -> Cost:
    """The cost of a recipe on the data of a location.

    Raises:
        UsageError: A language or a split that no target has, or a training size that is not allowed.
        NothingSelectedError: The location holds no language of any target.
    """
    sizes = _Sizes(location=location)
    protocol = recipe.protocol or "xtreme"
    every = cells(recipe)
    chains = {
        prefix_id(cell.model, cell.setting.stages[:length], cell.seed): cell.setting.stages[length - 1]
        for cell in every
        for length in range(1, len(cell.setting.stages) + 1)
    }
    stages = [_of_stage(stage, catalog, recipe.protocol or PROTOCOL, sizes) for stage in chains.values()]
    targets = tasks_of(catalog, recipe.targets)
    trainings = _distinct_trainings(targets.items(), catalog, protocol)
    names = list(targets)
    hyper, sets = parse_hyper(recipe.hyper, names), parse_train_from(recipe.train_from, names)
    tunings = [
        _of_training(
            _learned(task, name, sets, catalog), training, _target_changes(name, hyper, sets), protocol, sizes
        )
        for name, task, training in trainings
    ]
    selected = select(catalog, recipe.targets, recipe.languages, recipe.split, location)
    items = sum(_items(entry, recipe.limit, sizes) for entry in selected)
    unknown = {name for *_, names in [*stages, *tunings] for name in names}
    return Cost(
        stages=len(stages),
        stage_steps=sum(steps for steps, _, _ in stages),
        stage_tokens=sum(tokens for _, tokens, _ in stages),
        tunings=len(tunings) * len(every),
        tuning_steps=sum(steps for steps, _, _ in tunings) * len(every),
        tuning_tokens=sum(tokens for _, tokens, _ in tunings) * len(every),
        items=items * len(every),
        unknown=tuple(sorted(unknown)),
        lacking=tuple(_lacking(recipe, catalog, location)),
        published=location.hub,
    )


def _distinct_trainings(
    targets: Iterable[tuple[str, Any]], catalog: Catalog, protocol: str
) -> list[tuple[str, TaskSpec, Training]]:
    """Targets with what they learn from and how; a training that several of them share is counted once."""
    found: dict[str, tuple[str, TaskSpec, Training]] = {}
    for name, _ in targets:
        task = catalog.task(name)
        if task.training:
            training = task.training.get(protocol) or next(iter(task.training.values()))
            found.setdefault(
                f"{training.task} {training.schedule!r}", (name, catalog.task(training.task), training)
            )
    return list(found.values())


def _learned(task: TaskSpec, target: str, sets: Mapping[str, TrainFrom], catalog: Catalog) -> TaskSpec:
    """Whose examples a target learns: those of its training's task, or of the one that the user names."""
    wanted = sets.get(target, sets.get(""))
    return catalog.task(wanted.task) if wanted and wanted.task else task


def _target_changes(
    name: str, hyper: Mapping[str, Mapping[str, str]], sets: Mapping[str, TrainFrom]
) -> dict[str, Any]:
    """The user's changes to a target's fine-tuning, in the form that stages have."""
    wanted = sets.get(name, sets.get(""))
    return {"hyper": {"": {**hyper.get("", {}), **hyper.get(name, {})}}, **_set(wanted)}


def _set(wanted: TrainFrom | None) -> dict[str, Any]:
    """Another training set than the usual one, as ``split`` and ``rows``."""
    return {"split": wanted.split, "rows": wanted.rows} if wanted else {}


def _of_stage(stage: Stage, catalog: Catalog, protocol: str, known: _Sizes) -> tuple[int, int, list[str]]:
    steps = tokens = 0
    unknown: list[str] = []
    for name in stage.tasks:
        mine, count, gone = _of_course(stage, catalog.task(name), protocol, known)
        steps, tokens, unknown = steps + mine, tokens + count, [*unknown, *gone]
    # Rounded first, so that a share of 0.8 that is 0.7999… adds no step.
    whole = math.ceil(round(steps / (1 - stage.masked.share), 6))
    for name in stage.masked.tasks if stage.masked.share else ():
        # Of masked steps only their number is planned: the largest may be all of them.
        mine, count, gone = _of_course(stage, catalog.task(name), protocol, known)
        tokens += math.ceil((whole - steps) * count / mine) if mine else 0
        unknown += gone
    limit = _values(as_value(stage), stage.tasks[0]).get("max_steps") or whole
    kept = min(whole, limit)
    return kept, math.ceil(tokens * kept / whole) if whole else 0, unknown


def _of_course(stage: Stage, task: TaskSpec, protocol: str, known: _Sizes) -> tuple[int, int, list[str]]:
    """Of one task of a stage, as if it were learned alone."""
    training = _learned_by(task, protocol)
    if training is None:
        return 0, 0, []
    text = stage.train_from.get(task.name, stage.train_from.get(""))
    changes = {**as_value(stage), **_set(parse_train_from([text], [])[""] if text else None)}
    return _of_training(task, training, changes, protocol, known, _codes(stage, task, training))


def _codes(stage: Stage, task: TaskSpec, training: Training) -> Sequence[str]:
    """The languages of a task that a stage learns: English, but of what is in many languages all that are asked for."""
    if not isinstance(task.format, DrawnFormat):
        return (training.language,)
    return [code for code in task.languages if code in stage.masked.languages] or task.languages


def _learned_by(task: TaskSpec, protocol: str) -> Training | None:
    """How a task is learned in an intermediate phase; None where there is nothing to learn."""
    return task.intermediate or task.training.get(protocol) or next(iter(task.training.values()), None)


def _lacking(recipe: Recipe, catalog: Catalog, location: DataLocation) -> list[str]:
    """One text for each set that no stage can read, with the settings that need it, in the order of the recipe."""
    found: dict[str, list[str]] = {}
    for setting in recipe.settings:
        wanted = (told for stage in setting.stages for told in _lacked_by(stage, catalog, recipe, location))
        for told in dict.fromkeys(wanted):
            found.setdefault(told, []).append(setting.name)
    return [f"{told}, needed for {', '.join(names)}" for told, names in found.items()]


def _lacked_by(stage: Stage, catalog: Catalog, recipe: Recipe, location: DataLocation) -> Iterator[str]:
    masked = stage.masked.tasks if stage.masked.share else ()
    named = [catalog.task(name) for name in dict.fromkeys([*stage.tasks, *masked])]
    # A language may be one task's alone: pairs have no English. What is none's is lacking everywhere.
    known = {code for task in named if isinstance(task.format, DrawnFormat) for code in task.languages}
    for task in named:
        name = task.name
        training = _learned_by(task, recipe.protocol or PROTOCOL)
        if training is None:
            continue
        text = stage.train_from.get(name, stage.train_from.get("", ""))
        split = parse_train_from([text], [])[""].split if text else training.split
        several = isinstance(task.format, DrawnFormat)
        asked = stage.masked.languages if several else ()
        own = [code for code in asked if code in task.languages or code not in known]
        codes = own or asked or _codes(stage, task, training)
        there = [code for code in codes if sources.has_split(task, code, split, location)]
        if not there or (asked and len(there) < len(codes)):
            gone = [code for code in codes if code not in there]
            yield f"{name}/{split}" + (f" in {', '.join(gone)}" if asked else "")
        translated = stage.translated.get(name, None if several else stage.translated.get(""))
        for code in translated.languages if translated else ():
            if not has_translation(task, split, code, location, training.language):
                yield f"{name}/{split} translated into {code}"


def _values(stage: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The changed hyper-parameters of a task."""
    hyper = stage.get("hyper", {})
    return {
        name: hyper_value(name, text) for name, text in {**hyper.get("", {}), **hyper.get(task, {})}.items()
    }


def _of_training(
    task: TaskSpec,
    training: Training,
    stage: Mapping[str, Any],
    protocol: str,
    known: _Sizes,
    codes: Sequence[str] = (),
) -> tuple[int, int, list[str]]:
    """Steps, tokens at most, and the task's name where its size is unknown; of the usual language, or of these."""
    counts = [
        known.of(task, stage.get("split", training.split), code) for code in codes or (training.language,)
    ]
    there = [count for count in counts if count is not None]
    examples = sum(there) if there else None
    rows = stage.get("rows")
    if rows:
        # Of a set of unknown size, as many as are asked for.
        examples = max(0, min(rows[1], rows[1] if examples is None else examples) - rows[0])
    if examples is None:
        return 0, 0, [task.name]
    sizes, values = stage.get("sizes", {}), _values(stage, task.name)
    size = sizes.get(task.name, sizes.get(""))
    if size:
        examples = subset_size(size, examples)
    batch = values.get("batch_size", training.schedule.batch_size)
    steps = math.ceil(values.get("epochs", training.schedule.epochs) * -(-examples // batch))
    steps = min(steps, values.get("max_steps") or steps)
    lengths = task.protocols.get(protocol) or next(iter(task.protocols.values()))
    length = values.get("max_length", training.max_length or lengths.max_length)
    return steps, steps * batch * length, []


def _items(entry: Selected, limit: int | None, known: _Sizes) -> int:
    counts = [known.of(entry.task, entry.split, code) or 0 for code in entry.languages]
    return sum(min(count, limit) if limit else count for count in counts)
