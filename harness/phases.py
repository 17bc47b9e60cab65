"""Plans fine-tunings: which examples teach a head, which choose its checkpoint, with which hyper-parameters.

Knows tasks' training values and the user's changes to them; imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from harness import sources
from harness.checkpoints import Checkpoint, check_length
from harness.errors import DataError, SpecError, UsageError
from harness.formats.base import Example, HeadFormat
from harness.plan import Phase, Taught
from harness.registry import Catalog
from harness.sources import DataLocation
from harness.spec import Schedule, TaskSpec, Training


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainFrom:
    """Another training set than the task's own.

    Attributes:
        task: Whose examples, None for the task that the training names.
        split: Of that task.
        rows: First row and the one behind the last, None for all.
    """

    task: str | None
    split: str
    rows: tuple[int, int] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Teaching:
    """What the user wants of training.

    Attributes:
        allowed: Whether a missing head is trained; else the task is refused.
        seeds: One fine-tuning for each.
        sets: Task (``""``: every task) to its training set.
        hyper: Task (``""``: every task) to changed hyper-parameters, as text.
        head_labels: Task to the meaning of its head's outputs; ``("none",)`` leaves the head aside.
        dtype: In which training computes.
    """

    allowed: bool = True
    seeds: tuple[int, ...] = (0,)
    sets: Mapping[str, TrainFrom] = field(default_factory=dict)
    hyper: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    head_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dtype: str = "float32"


def parse_train_from(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, TrainFrom]:
    """``[TASK=][OTHER/]SPLIT[:RANGE]`` by task; RANGE is ``N`` (the first N rows) or ``A-B`` (rows A to B, counted from 0).

    Raises:
        UsageError: It is not of this form, or the task is not selected.
    """
    found: dict[str, TrainFrom] = {}
    for text in texts:
        match = re.fullmatch(r"(?:([\w-]+)=)?(?:([\w-]+)/)?([\w-]+)(?::(?:(\d+)|(\d+)-(\d+)))?", text.strip())
        if match is None:
            raise UsageError(
                f"--train-from {text}: give [TASK=][OTHER/]SPLIT[:RANGE], e.g. pawsx=dev:500 or train:0-1999"
            )
        task, other, split, count, first, last = match.groups()
        if task is not None and task not in tasks:
            raise UsageError(f"--train-from {text}: task '{task}' is not selected")
        rows = (0, int(count)) if count else (int(first), int(last) + 1) if first else None
        if rows is not None and rows[0] >= rows[1]:
            raise UsageError(f"--train-from {text}: the range holds no row")
        found[task or ""] = TrainFrom(task=other, split=split, rows=rows)
    return found


def parse_hyper(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, dict[str, str]]:
    """``[TASK.]NAME=VALUE`` by task.

    Raises:
        UsageError: It is not of this form, the task is not selected, or the value is not allowed.
    """
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        task, _, name = left.rpartition(".")
        if not (equals and name and value):
            raise UsageError(f"--hyper {text}: give [TASK.]NAME=VALUE, e.g. panx.epochs=3")
        if task and task not in tasks:
            raise UsageError(f"--hyper {text}: task '{task}' is not selected")
        _value(name, value)
        found.setdefault(task, {})[name] = value
    return found


def parse_head_labels(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """``TASK=label,label,…`` by task; raises UsageError."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        task, equals, labels = text.partition("=")
        if not equals or task not in tasks:
            raise UsageError(f"--head-labels {text}: give TASK=label,label,… of a selected task")
        found[task] = tuple(label.strip() for label in labels.split(","))
    return found


def _number(
    kind: Callable[[str], Any], *, least: float = 0.0, below: float = 1e12, none: bool = False
) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if none and text == "none":
            return None
        value = kind(text)
        if not least <= value < below:
            raise ValueError(f"must be at least {least:g} and below {below:g}")
        return value

    return read


_HYPER: Mapping[str, Callable[[str], Any]] = {
    "epochs": _number(float, least=1e-6),
    "batch_size": _number(int, least=1),
    "learning_rate": _number(float, least=1e-12),
    "warmup": _number(float, least=0.0),
    "weight_decay": _number(float, least=0.0),
    "clip": _number(float, least=1e-9),
    "evaluate_every": _number(int, least=0),
    "patience": _number(int, least=1, none=True),
    "select_limit": _number(int, least=1, none=True),
    "dropout": _number(float, below=1.0, none=True),
    "max_steps": _number(int, least=1, none=True),
    "max_length": _number(int, least=3),
    "select": lambda text: {"last": None}[text],
}


def _value(name: str, text: str) -> Any:
    if name not in _HYPER:
        raise UsageError(f"no hyper-parameter '{name}'; there are {', '.join(_HYPER)}")
    try:
        return _HYPER[name](text)
    except (ValueError, KeyError) as error:
        told = "only 'last' is allowed" if name == "select" else str(error)
        raise UsageError(f"hyper-parameter {name}={text} is not allowed ({told})") from error


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
    _read: dict[tuple[str, str, str], tuple[Sequence[Example], str, str]] = field(default_factory=dict)

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
            UsageError: A split that the training task has not, or a hyper-parameter that is not allowed.
        """
        if not isinstance(task.format, HeadFormat):
            raise SpecError(f"task '{task.name}': its format has no head to train")
        training = task.training.get(protocol) or next(iter(task.training.values()))
        changes = {**self.teaching.hyper.get("", {}), **self.teaching.hyper.get(task.name, {})}
        values = {name: _value(name, text) for name, text in changes.items()}
        names = {item.name for item in fields(Schedule)}
        schedule = replace(training.schedule, **{name: v for name, v in values.items() if name in names})
        learn = self._learn(task, training)
        select = None if "select" in values else self._select(task, training, learn, schedule)
        return Phase(
            parent=parent,
            format=task.format,
            learn=learn,
            select=select,
            schedule=schedule,
            changes=changes,
            max_length=check_length(parent, values.get("max_length"), training.max_length or length),
            seed=seed,
            dtype=self.teaching.dtype,
        )

    def _learn(self, task: TaskSpec, training: Training) -> Taught:
        wanted = self.teaching.sets.get(task.name, self.teaching.sets.get(""))
        name, split, rows = training.task, training.split, None
        if wanted is not None:
            name, split, rows = wanted.task or training.task, wanted.split, wanted.rows
        source = self._task(task, name)
        if split not in source.splits:
            raise UsageError(
                f"--train-from {split} for task '{task.name}': its training task '{name}' has the splits "
                f"{', '.join(source.splits)}"
            )
        examples, fingerprint, origin = self._examples(source, split, training.language)
        if rows is not None:
            examples = examples[rows[0] : rows[1]]
            fingerprint = sources.fingerprint(examples)
            rows = (rows[0], rows[0] + len(examples))
        if not examples:
            raise DataError(f"--train-from for task '{task.name}': {name}/{split} has no row in this range")
        return Taught(
            task=source,
            split=split,
            language=training.language,
            rows=rows,
            examples=len(examples),
            data=fingerprint,
            source=origin,
        )

    def _select(self, task: TaskSpec, training: Training, learn: Taught, schedule: Schedule) -> Taught | None:
        """The selection set; None where the protocol has none, or where it is what is learned."""
        if training.select is None:
            return None
        name, split = training.select
        source = self._task(task, name)
        if (name, split) == (learn.task.name, learn.split):
            return None
        examples, fingerprint, origin = self._examples(source, split, training.language)
        if schedule.select_limit is not None:
            examples = source.format.subset(examples, schedule.select_limit)
            fingerprint = sources.fingerprint(examples)
        return Taught(
            task=source,
            split=split,
            language=training.language,
            examples=len(examples),
            data=fingerprint,
            source=origin,
            metric=self.catalog.metric(source.main.metric).signature,
        )

    def _task(self, task: TaskSpec, name: str) -> TaskSpec:
        other = self.catalog.task(name) if name != task.name else task
        if other.format.head != task.format.head:
            raise SpecError(
                f"task '{task.name}' cannot learn from task '{name}': their heads differ "
                f"({task.format.head.kind} of {task.format.head.size}, {other.format.head.kind} of {other.format.head.size})"
            )
        return other

    def _examples(self, task: TaskSpec, split: str, language: str) -> tuple[Sequence[Example], str, str]:
        key = (task.name, split, language)
        if key not in self._read:
            rows = sources.read(task, language, split, self.location)
            self._read[key] = rows.examples, rows.fingerprint, rows.source
        return self._read[key]

    def learned_ids(self, phase: Phase, task: TaskSpec, split: str) -> frozenset[str]:
        """Ids of examples of a task's split that the phase learns from; they are not to be scored, in any language.

        Parallel data has the same ids in every language, so a translation of what was learned is left out too.
        """
        learn = phase.learn
        if learn.task.name != task.name:
            return self._learned_texts(phase, task, split)
        examples, fingerprint, _ = self._examples(learn.task, learn.split, learn.language)
        if learn.split != split:
            if not sources.has_split(task, learn.language, split, self.location):
                return frozenset()
            _, other, _ = self._examples(task, split, learn.language)
            if other != fingerprint:
                return frozenset()
        begin, end = learn.rows or (0, len(examples))
        return frozenset(example.id for example in examples[begin:end])

    def _learned_texts(self, phase: Phase, task: TaskSpec, split: str) -> frozenset[str]:
        """Ids of another task's examples whose English texts were learned; parts of XQuAD are SQuAD's dev set."""
        learn = phase.learn
        if learn.language not in task.languages or not sources.has_split(
            task, learn.language, split, self.location
        ):
            return frozenset()
        examples, _, _ = self._examples(learn.task, learn.split, learn.language)
        begin, end = learn.rows or (0, len(examples))
        learned = {example.id: learn.task.format.texts(example) for example in examples[begin:end]}
        known = set(learned.values())
        try:
            scored, _, _ = self._examples(task, split, learn.language)
        except DataError:
            # The unit of this language says so; without its texts nothing can be compared.
            return frozenset()
        return frozenset(
            example.id
            for example in scored
            for texts in [task.format.texts(example)]
            # A copy may differ in a character; the id and one text in common give it away.
            if texts in known or set(texts) & set(learned.get(example.id, ()))
        )


def read_taught(taught: Taught, location: DataLocation, limit: int | None = None) -> Sequence[Example]:
    """The examples of a :class:`harness.plan.Taught`, ``limit`` of them where a schedule says so; raises DataError."""
    examples = sources.read(taught.task, taught.language, taught.split, location).examples
    if taught.rows is not None:
        examples = examples[taught.rows[0] : taught.rows[1]]
    return taught.task.format.subset(examples, limit) if limit is not None else examples
