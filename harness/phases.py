"""Plans the fine-tunings of targets: which examples teach a head, which choose its checkpoint, how.

Knows tasks' training values and the user's changes to them; imports no torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from harness.catalog import Catalog
from harness.checkpoints import Checkpoint, check_length
from harness.curriculum import Course, Phase, Taught
from harness.errors import SpecError, UnknownNameError, UsageError
from harness.formats.base import HeadFormat
from harness.learned import Learned, learned_before, learned_from
from harness.sources import DataLocation
from harness.spec import Schedule, TaskSpec, Training
from harness.taughtsets import TaughtSets
from harness.teaching import Teaching, TrainFrom, changes_of, hyper_value


@dataclass(kw_only=True)
class PhasePlanner:
    """Plans the fine-tunings of one run, reading each training set once.

    Attributes:
        catalog: Where training tasks are found.
        location: Where their data is.
        teaching: What the user wants.
    """

    catalog: Catalog
    location: DataLocation
    teaching: Teaching
    _sets: TaughtSets = field(init=False)

    def __post_init__(self) -> None:
        self._sets = TaughtSets(location=self.location)

    def phase(self, task: TaskSpec, protocol: str, parent: Checkpoint, seed: int, length: int) -> Phase:
        """The fine-tuning that gives a task its head.

        Args:
            task: With the user's settings of its format.
            protocol: Whose hyper-parameters.
            parent: What is trained on.
            seed: Of this fine-tuning.
            length: Tokens per row of the protocol or the user.

        Raises:
            DataError: The training set is not to be had.
            SpecError: The task has no head to train, or not that of the task from which it learns.
            UsageError: A split that the training task has not, or a hyper-parameter that is not allowed.
        """
        training = task.trained_under(protocol)
        if training is None:
            raise SpecError(f"task '{task.name}': its format has no head to train")
        changes = changes_of(self.teaching.hyper, task.name)
        values = {name: hyper_value(name, text) for name, text in changes.items()}
        schedule = changed_schedule(training.schedule, values)
        learn = self._learn(task, training)
        task_format = fitted(task, self._sets, learn)
        task = replace(task, format=task_format)
        select = None if "select" in values else self._select(task, training, learn, schedule)
        course = Course(
            format=task_format,
            learn=learn,
            select=select,
            batch_size=schedule.batch_size,
            epochs=schedule.epochs,
            max_length=check_length(parent, values.get("max_length"), training.max_length or length),
            ours=schedule.ours,
        )
        return Phase(
            parent=parent,
            courses=(course,),
            schedule=schedule,
            changes=changes,
            seed=seed,
            dtype=self.teaching.dtype,
        )

    def _learn(self, task: TaskSpec, training: Training) -> Taught:
        wanted = self.teaching.sets.get(task.name, self.teaching.sets.get(""))
        name = (wanted and wanted.task) or training.task
        learn = to_learn(task.name, self._task(task, name), training, wanted)
        self._sets.check_range(learn)
        return self._sets.counted(learn)

    def _select(self, task: TaskSpec, training: Training, learn: Taught, schedule: Schedule) -> Taught | None:
        """The selection set; None where the protocol has none, or where it is what is learned."""
        if training.select is None:
            return None
        name, split = training.select
        source = self._task(task, name)
        if (name, split) == (learn.task.name, learn.split):
            return None
        chosen = Taught(
            task=source,
            split=split,
            languages=(training.language,),
            metric=self.catalog.metric(source.main.metric).signature,
            limit=schedule.select_limit,
        )
        return self._sets.counted(chosen)

    def _task(self, task: TaskSpec, name: str) -> TaskSpec:
        try:
            other = self.catalog.task(name) if name != task.name else task
        except UnknownNameError as error:
            if any(wanted.task == name for wanted in self.teaching.sets.values()):
                raise
            raise SpecError(f"training of task '{task.name}': {error}") from error
        if other.format.head != task.format.head:
            raise SpecError(
                f"task '{task.name}' cannot learn from task '{name}': their heads differ "
                f"({task.format.head.kind} of {task.format.head.size}, {other.format.head.kind} of {other.format.head.size})"
            )
        return other

    def learned_from(self, phase: Phase, task: TaskSpec, split: str) -> Learned:
        """What of a task's split the phase learns from; see :func:`harness.learned.learned_from`."""
        return learned_from(phase.learn, task, split, self._sets)

    def learned_before(self, checkpoint: Checkpoint, task: TaskSpec, split: str) -> Learned:
        """What of a task's split the trainings that made a checkpoint learned."""
        return learned_before(checkpoint, task, split, self.catalog, self._sets)


def changed_schedule(schedule: Schedule, values: Mapping[str, Any]) -> Schedule:
    """A schedule with changed values, which are the user's and no longer ours; what is no part of it is left aside.

    Raises:
        UsageError: It wants low-rank adapters and peft is not there, or their alpha without a rank.
    """
    names = {item.name for item in fields(Schedule)}
    ours = tuple(name for name in schedule.ours if name not in values)
    changed = replace(schedule, ours=ours, **{name: value for name, value in values.items() if name in names})
    if changed.lora_alpha is not None and changed.lora_rank is None:
        raise UsageError(
            "hyper-parameter lora_alpha: belongs to low-rank adapters; give lora_rank too, e.g. 8"
        )
    if changed.lora_rank is not None and importlib.util.find_spec("peft") is None:
        raise UsageError(
            "hyper-parameter lora_rank: needs the package peft, which is not installed; install "
            "'crosslingual-transfer-harness[lora]', or leave lora_rank out"
        )
    return changed


def to_learn(asker: str, source: TaskSpec, training: Training, wanted: TrainFrom | None) -> Taught:
    """What is learned of a task: the training's own split, or what the user wants instead.

    Raises:
        UsageError: The task has no such split.
    """
    split = wanted.split if wanted else training.split
    if split not in source.splits:
        raise UsageError(
            f"--train-from {split} for task '{asker}': its training task '{source.name}' has the splits "
            f"{', '.join(source.splits)}"
        )
    return Taught(
        task=source, split=split, languages=(training.language,), rows=wanted.rows if wanted else None
    )


def fitted(task: TaskSpec, sets: TaughtSets, learn: Taught) -> HeadFormat:
    """The task's format with the labels that its training set has, where the task leaves them open.

    Raises:
        SpecError: The format has no head to train.
    """
    if not isinstance(task.format, HeadFormat):
        raise SpecError(f"task '{task.name}': its format has no head to train")
    every = replace(learn, rows=None, size="", translated=None)
    return task.format.fitted(sets.examples(every))
