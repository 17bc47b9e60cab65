"""Plans intermediate training: a stage's tasks become the courses of one phase. Imports no torch.

Knows stages, tasks' training values and what a parent checkpoint learned before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from harness import sources
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint, adapted, check_length
from harness.curriculum import Course, Phase, Taught
from harness.errors import DataError, HarnessError, SpecError, UsageError
from harness.formats.base import HeadFormat
from harness.formats.drawn import DrawnFormat
from harness.formats.texts import Texts
from harness.phases import changed_schedule, fitted, to_learn
from harness.selection import tasks_of
from harness.sources import DataLocation
from harness.spec import Schedule, TaskSpec, Training
from harness.stages import PROTOCOL, Stage
from harness.taughtsets import TaughtSets
from harness.teaching import changes_of, hyper_value, learned_with, parse_train_from


@dataclass(kw_only=True)
class StagePlanner:
    """Plans the stages of one model, reading each training set once.

    Attributes:
        catalog: Where tasks are found.
        location: Where their data is.
        protocol: Whose training values are taken, where a task has several.
        seed: Of heads, orders, subsets and translations.
        dtype: In which training computes.
    """

    catalog: Catalog
    location: DataLocation
    protocol: str
    seed: int
    dtype: str
    _sets: TaughtSets = field(init=False)

    def __post_init__(self) -> None:
        self._sets = TaughtSets(location=self.location)

    def phase(self, stage: Stage, parent: Checkpoint) -> Phase:
        """The phase that a stage is on a parent checkpoint.

        Raises:
            DataError: A training set is not to be had.
            UsageError: A task cannot be trained, or a setting names a task that is not learned or is not allowed.
        """
        parent = adapted(parent, self.catalog.encoder(parent.family))
        self._check_names(stage)
        self._check_masked(stage)
        self._check_protocol(stage)
        values = {task: _values(stage, task) for task in (*stage.tasks, *_mixed_in(stage))}
        courses = [self._course(stage, task, parent, values[task]) for task in stage.tasks]
        masked = [self._course(stage, task, parent, values[task]) for task in _mixed_in(stage)]
        courses = _weighted(stage, courses, masked)
        first = self._training(self.catalog.task(stage.tasks[0]))
        watched = [self._watch(course, values[course.learn.task.name]) for course in courses]
        mine = {course.learn.task.name for course in courses}
        return Phase(
            parent=parent,
            courses=tuple(courses),
            schedule=changed_schedule(first.schedule, values[stage.tasks[0]]),
            seed=self.seed,
            dtype=self.dtype,
            changes={
                f"{task}.{name}" if task else name: text
                for told in (stage.hyper, stage.settings)
                for task, changes in sorted(told.items())
                for name, text in sorted(changes.items())
            },
            intermediate=True,
            watched=(*self._earlier(parent, mine), *(entry for entry in watched if entry is not None)),
        )

    def _check_names(self, stage: Stage) -> None:
        learned = {*stage.tasks, *_mixed_in(stage), ""}
        for what in ("sizes", "translated", "hyper", "train_from", "settings"):
            odd = [task for task in getattr(stage, what) if task not in learned]
            if odd:
                raise UsageError(
                    f"{what.replace('_', ' ')} are given for task '{odd[0]}', which is not learned here "
                    f"({', '.join(stage.tasks)})"
                )
        for task, changes in stage.hyper.items():
            shared = [name for name in changes if name not in _OF_COURSES]
            if shared and task and stage.tasks != (task,):
                raise UsageError(
                    f"hyper-parameter {task}.{shared[0]}: the tasks of a stage share one optimizer, so it is the same for "
                    f"all of them; give {shared[0]} without a task"
                )

    def _check_masked(self, stage: Stage) -> None:
        named = [self.catalog.task(name) for name in (*stage.tasks, *_mixed_in(stage))]
        for task in named:
            if task.name in _mixed_in(stage) and not isinstance(task.format, Texts):
                known = [task.name for task in self.catalog.tasks.values() if isinstance(task.format, Texts)]
                raise UsageError(
                    f"task '{task.name}' is no masked-LM task, so it cannot be mixed in as one; there are {', '.join(known)}"
                )
        drawn = [task for task in named if isinstance(task.format, DrawnFormat)]
        for code in stage.masked.languages if drawn else ():
            if not any(code in task.languages for task in drawn):
                names = " and ".join(task.name for task in drawn)
                raise UsageError(f"language '{code}' of what is learned is no language of {names}")

    def _check_protocol(self, stage: Stage) -> None:
        known = {name for task in stage.tasks for name in self.catalog.task(task).protocols}
        if self.protocol not in known:
            default = ", which training takes where none is named" if self.protocol == PROTOCOL else ""
            raise UsageError(
                f"{' and '.join(stage.tasks)}: there is no protocol '{self.protocol}'{default}; name one with --protocol "
                f"(in a recipe, protocol): {', '.join(sorted(known))}"
            )

    def _training(self, task: TaskSpec) -> Training:
        training = task.learned_under(self.protocol)
        if training is None:
            raise UsageError(f"task '{task.name}' needs no training, so it cannot be learned")
        return training

    def _course(self, stage: Stage, name: str, parent: Checkpoint, values: Mapping[str, Any]) -> Course:
        task = self.catalog.task(name)
        training = self._training(task)
        schedule = changed_schedule(training.schedule, values)
        learn = self._learn(stage, task, training, parent)
        task_format = fitted(task, self._sets, learn)
        if isinstance(task_format, DrawnFormat):
            task_format = replace(task_format, alpha=stage.masked.alpha)
        if name in stage.settings:
            task_format = learned_with(replace(task, format=task_format), stage.settings[name])
        select = None if "select" in values else self._select(task, task_format, training, learn, schedule)
        return Course(
            format=task_format,
            learn=learn,
            select=select,
            batch_size=schedule.batch_size,
            epochs=schedule.epochs,
            max_length=check_length(
                parent,
                values.get("max_length"),
                training.max_length or task.encoded_under(self.protocol).max_length,
            ),
            ours=schedule.ours,
        )

    def _learn(self, stage: Stage, task: TaskSpec, training: Training, parent: Checkpoint) -> Taught:
        # What is said of every task is not meant for masked LM that is mixed in.
        common = "" if task.name in stage.tasks else None
        text = _said(stage.train_from, task.name, common)
        wanted = parse_train_from([text], [])[""] if text else None
        if wanted is not None and wanted.task not in (None, task.name):
            raise UsageError(f"--train-from {text}: task '{task.name}' learns its own examples")
        if training.task != task.name:
            raise UsageError(f"task '{task.name}' learns from '{training.task}'; name that one")
        learn = to_learn(task.name, task, training, wanted)
        if isinstance(task.format, DrawnFormat):
            languages = self._languages(stage, task, learn.split)
            learn = replace(learn, languages=languages, apart=self._apart(stage))
        learn = replace(
            learn,
            size=_said(stage.sizes, task.name, common) or "",
            translated=_said(stage.translated, task.name, common),
            seed=self.seed,
        )
        if learn.translated is not None and parent.languages is not None:
            raise UsageError(
                f"task '{task.name}': {parent.name} reads each language with parts of its own, which a training set that is "
                "partly translated cannot tell it; leave the translations out"
            )
        try:
            self._sets.check_range(learn)
            return self._sets.counted(learn)
        except UsageError as error:
            raise UsageError(f"task '{task.name}': {error}") from error

    def _apart(self, stage: Stage) -> tuple[TaskSpec, ...]:
        """Tasks of which no evaluated text is learned; raises UnknownNameError."""
        return (
            tuple(map(self.catalog.task, sorted(tasks_of(self.catalog, stage.apart)))) if stage.apart else ()
        )

    def _languages(self, stage: Stage, task: TaskSpec, split: str) -> tuple[str, ...]:
        there = [code for code in task.languages if sources.has_split(task, code, split, self.location)]
        wanted = [code for code in task.languages if code in stage.masked.languages]
        if stage.masked.languages and not wanted:
            raise UsageError(
                f"task '{task.name}' has none of the languages that are to be learned ({', '.join(stage.masked.languages)}); "
                "name one of its own too"
            )
        wanted = wanted or there
        gone = [code for code in wanted if code not in there]
        if gone or not there:
            told = ", ".join(there) or "none"
            raise DataError(
                f"{task.name}/{split}: no text for {', '.join(gone) or 'any language'}; there is {told}"
            )
        return tuple(sorted(wanted))

    def _select(
        self, task: TaskSpec, task_format: HeadFormat, training: Training, learn: Taught, schedule: Schedule
    ) -> Taught | None:
        if training.select is None or training.select == (learn.task.name, learn.split):
            return None
        name, split = training.select
        chosen = Taught(
            task=replace(task, format=task_format),
            split=split,
            languages=(training.language,),
            metric=self.catalog.metric(task.main.metric).signature,
            limit=schedule.select_limit,
        )
        if name != task.name:
            raise SpecError(
                f"task '{task.name}': its intermediate training is chosen on another task, '{name}'"
            )
        return self._sets.counted(chosen)

    def _watch(self, course: Course, values: Mapping[str, Any]) -> Taught | None:
        """The set on which a course's task is scored when a phase is done; None where there is none."""
        learn = course.learn
        if not isinstance(course.format, DrawnFormat):
            if course.select is not None:
                return course.select
            training = self._training(learn.task)
            schedule = changed_schedule(training.schedule, values)
            try:
                return self._select(learn.task, course.format, training, learn, schedule)
            # Nobody chooses by it, so the training does not need it.
            except DataError:
                return None
        there = [
            code
            for code in learn.languages
            if "dev" in learn.task.splits and sources.has_split(learn.task, code, "dev", self.location)
        ]
        if not there:
            return None
        held = Taught(task=learn.task, split="dev", languages=tuple(there), limit=_HELD_TEXTS)
        return self._sets.counted(held)

    def _earlier(self, parent: Checkpoint, now: set[str]) -> list[Taught]:
        """The development sets of what the parent learned in earlier phases, those that are to be had."""
        found: dict[str, Taught] = {}
        for entry in (dev for told in parent.lineage for dev in told.get("dev", ())):
            if entry["task"] in now or entry["task"] not in parent.heads:
                continue
            try:
                task = self.catalog.task(entry["task"])
                if isinstance(task.format, HeadFormat):
                    task = replace(task, format=task.format.labelled(parent.heads[task.name].labels))
                taught = Taught(
                    task=task,
                    split=entry["split"],
                    languages=tuple(entry["languages"]),
                    limit=entry["limit"],
                )
                found[task.name] = self._sets.counted(taught)
            # What cannot be read any more is not watched; the phase itself does not need it.
            except HarnessError:
                continue
        return list(found.values())


_Part = TypeVar("_Part")
# Hyper-parameters that each course has for itself.
_OF_COURSES = ("epochs", "batch_size", "max_length", "select", "select_limit")
# Texts, or pairs, of a development set in many languages that are scored.
_HELD_TEXTS = 500


def _mixed_in(stage: Stage) -> tuple[str, ...]:
    return tuple(task for task in stage.masked.tasks if task not in stage.tasks) if stage.masked.share else ()


def _said(parts: Mapping[str, _Part], task: str, common: str | None) -> _Part | None:
    """What is said of a task, else what is said of every one, under the key ``common`` (None: nothing)."""
    return parts.get(task, parts.get(common) if common is not None else None)


def _values(stage: Stage, task: str) -> dict[str, Any]:
    return {name: hyper_value(name, text) for name, text in changes_of(stage.hyper, task).items()}


def _weighted(stage: Stage, courses: Sequence[Course], masked: Sequence[Course]) -> list[Course]:
    """Courses with their probabilities; masked LM gets its share, and does not say how long the phase is."""
    rest = 1.0 - (stage.masked.share if masked else 0.0)
    weights = stage.sampler.weights({course.learn.task.name: course.learn.examples for course in courses})
    mixed = [replace(course, weight=stage.masked.share / len(masked), paced=False) for course in masked]
    return [replace(course, weight=rest * weights[course.learn.task.name]) for course in courses] + mixed
