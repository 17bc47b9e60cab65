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
from harness.catalog import Catalog
from harness.curriculum import steps_in_all, steps_of
from harness.errors import HarnessError
from harness.formats.drawn import DrawnFormat
from harness.recipes import Recipe, cells, prefix_id
from harness.selection import Selected, select, tasks_of
from harness.sources import DataLocation
from harness.spec import Schedule, TaskSpec, Training
from harness.stages import PROTOCOL, Stage
from harness.subsets import subset_size
from harness.teaching import TrainFrom, changes_of, hyper_value, parse_hyper, parse_train_from
from harness.translated import has_translation
from harness.wording import counted


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
            f"{counted(self.stages, 'intermediate training')}: {counted(self.stage_steps, 'step')}, {_many(self.stage_tokens)} tokens at most",
            f"{counted(self.tunings, 'fine-tuning')} of targets: {counted(self.tuning_steps, 'step')}, {_many(self.tuning_tokens)} tokens at most",
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
    every = cells(recipe)
    chains = {
        prefix_id(cell.model, cell.setting.stages[:length], cell.seed): cell.setting.stages[length - 1]
        for cell in every
        for length in range(1, len(cell.setting.stages) + 1)
    }
    stages = [_of_stage(stage, catalog, recipe.protocol or PROTOCOL, sizes) for stage in chains.values()]
    tunings = [learning.cost(sizes) for learning in _tunings(recipe, catalog)]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Learning:
    """What is learned of one task and how, as far as it costs.

    Attributes:
        task: Whose examples; ``split``, ``rows``, ``size`` and ``languages`` which of them.
        schedule: Hyper-parameters, and ``values`` what the user changes of them.
        length: Tokens per row, unless ``values`` say otherwise.
    """

    task: TaskSpec
    split: str
    languages: Sequence[str]
    schedule: Schedule
    values: Mapping[str, Any]
    length: int
    rows: tuple[int, int] | None = None
    size: str = ""

    @property
    def key(self) -> str:
        """The same for targets that share a fine-tuning."""
        what = [self.task.name, self.split, self.rows, self.length]
        return f"{what} {self.schedule!r} {sorted(self.values.items())}"

    def cost(self, sizes: _Sizes) -> tuple[int, int, list[str]]:
        """Steps, tokens at most, and the task's name where its size is unknown."""
        examples = self._examples(sizes)
        if examples is None:
            return 0, 0, [self.task.name]
        batch = self.values.get("batch_size", self.schedule.batch_size)
        steps = steps_of(examples, batch, self.values.get("epochs", self.schedule.epochs))
        steps = min(steps, self.values.get("max_steps") or steps)
        return steps, steps * batch * self.values.get("max_length", self.length), []

    def _examples(self, sizes: _Sizes) -> int | None:
        counts = [sizes.of(self.task, self.split, code) for code in self.languages]
        there = [count for count in counts if count is not None]
        examples = sum(there) if there else None
        if self.rows:
            # Of a set of unknown size, as many as are asked for.
            first, end = self.rows
            examples = max(0, min(end, end if examples is None else examples) - first)
        return subset_size(self.size, examples) if self.size and examples is not None else examples


def _tunings(recipe: Recipe, catalog: Catalog) -> Iterable[_Learning]:
    """The fine-tunings of targets; one that several of them share stands once."""
    names = list(tasks_of(catalog, recipe.targets))
    hyper, sets = parse_hyper(recipe.hyper, names), parse_train_from(recipe.train_from, names)
    found: dict[str, _Learning] = {}
    for name in names:
        task = catalog.task(name)
        training = task.trained_under(recipe.protocol)
        if training is None:
            continue
        wanted = sets.get(name, sets.get(""))
        learning = _Learning(
            task=catalog.task((wanted and wanted.task) or training.task),
            split=wanted.split if wanted else training.split,
            rows=wanted.rows if wanted else None,
            languages=(training.language,),
            schedule=training.schedule,
            values=_values(hyper, name),
            length=training.max_length or task.encoded_under(recipe.protocol).max_length,
        )
        found.setdefault(learning.key, learning)
    return found.values()


def _of_stage(stage: Stage, catalog: Catalog, protocol: str, known: _Sizes) -> tuple[int, int, list[str]]:
    steps = tokens = 0
    unknown: list[str] = []
    for name in stage.tasks:
        mine, count, gone = _of_course(stage, catalog.task(name), protocol, known)
        steps, tokens, unknown = steps + mine, tokens + count, [*unknown, *gone]
    whole = steps_in_all(steps, 1 - stage.masked.share)
    for name in stage.masked.tasks if stage.masked.share else ():
        # Of masked steps only their number is planned: the largest may be all of them.
        mine, count, gone = _of_course(stage, catalog.task(name), protocol, known)
        tokens += math.ceil((whole - steps) * count / mine) if mine else 0
        unknown += gone
    limit = _values(stage.hyper, stage.tasks[0]).get("max_steps") or whole
    kept = min(whole, limit)
    return kept, math.ceil(tokens * kept / whole) if whole else 0, unknown


def _of_course(stage: Stage, task: TaskSpec, protocol: str, known: _Sizes) -> tuple[int, int, list[str]]:
    """Of one task of a stage, as if it were learned alone."""
    training = task.learned_under(protocol)
    if training is None:
        return 0, 0, []
    wanted = _wanted(stage, task.name)
    # What is said of every task is not meant for masked LM that is mixed in.
    size = stage.sizes.get(task.name, stage.sizes.get("", "") if task.name in stage.tasks else "")
    learning = _Learning(
        task=task,
        split=wanted.split if wanted else training.split,
        rows=wanted.rows if wanted else None,
        size=size,
        languages=_codes(stage, task, training),
        schedule=training.schedule,
        values=_values(stage.hyper, task.name),
        length=training.max_length or task.encoded_under(protocol).max_length,
    )
    return learning.cost(known)


def _wanted(stage: Stage, task: str) -> TrainFrom | None:
    """Another training set of a task, where the stage names one; what it says of every task is not meant for mixed-in ones."""
    text = stage.train_from.get(task, stage.train_from.get("") if task in stage.tasks else None)
    return parse_train_from([text], [])[""] if text else None


def _codes(stage: Stage, task: TaskSpec, training: Training) -> Sequence[str]:
    """The languages of a task that a stage learns: English, but of what is in many languages all that are asked for."""
    if not isinstance(task.format, DrawnFormat):
        return (training.language,)
    return [code for code in task.languages if code in stage.masked.languages] or task.languages


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
        training = task.learned_under(recipe.protocol or PROTOCOL)
        if training is None:
            continue
        wanted = _wanted(stage, name)
        split = wanted.split if wanted else training.split
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


def _values(hyper: Mapping[str, Mapping[str, str]], task: str) -> dict[str, Any]:
    """The changed hyper-parameters of a task."""
    return {name: hyper_value(name, text) for name, text in changes_of(hyper, task).items()}


def _items(entry: Selected, limit: int | None, known: _Sizes) -> int:
    counts = [known.of(entry.task, entry.split, code) or 0 for code in entry.languages]
    return sum(min(count, limit) if limit else count for count in counts)
