"""What the user wants of training: other training sets, changed hyper-parameters, seeds. Parses text; knows no data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from harness.errors import UsageError
from harness.formats.drawn import DrawnFormat
from harness.spec import TaskSpec

Value = TypeVar("Value")


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
        UsageError: It is not of this form, the task is not selected, or is given twice.
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
        put_once(found, task or "", TrainFrom(task=other, split=split, rows=rows), option="train-from")
    return found


def put_once(found: dict[str, Value], task: str, value: Value, *, option: str) -> None:
    """Keep what an option says of a task, ``""`` for every one; raises UsageError where it has said something of it before."""
    if task in found:
        whose = f"task '{task}'" if task else "every task"
        raise UsageError(f"--{option} is given twice for {whose}; leave one out")
    found[task] = value


def parse_hyper(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, dict[str, str]]:
    """``[TASK.]NAME=VALUE`` by task.

    Raises:
        UsageError: It is not of this form, is given twice, the task is not selected, or the value is not allowed.
    """
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        task, _, name = left.rpartition(".")
        if not (equals and name and value):
            raise UsageError(f"--hyper {text}: give [TASK.]NAME=VALUE, e.g. panx.epochs=3")
        if task and task not in tasks:
            raise UsageError(f"--hyper {text}: task '{task}' is not selected")
        hyper_value(name, value)
        mine = found.setdefault(task, {})
        if name in mine:
            raise UsageError(f"--hyper {left} is given twice, as {mine[name]} and {value}; leave one out")
        mine[name] = value
    return found


def changes_of(hyper: Mapping[str, Mapping[str, str]], task: str) -> dict[str, str]:
    """Changed hyper-parameters of a task: those of every task, and its own before them."""
    return {**hyper.get("", {}), **hyper.get(task, {})}


def parse_set(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, dict[str, str]]:
    """``TASK.SETTING=VALUE`` by task: what is changed in a task's format.

    Raises:
        UsageError: It is not of this form, is given twice, or the task is not selected.
    """
    found: dict[str, dict[str, str]] = {}
    for text in texts:
        left, equals, value = text.partition("=")
        task, dot, setting = left.partition(".")
        if not (equals and dot and setting and value):
            raise UsageError(f"--set {text}: give TASK.SETTING=VALUE, e.g. bucc2018.margin=distance")
        if task not in tasks:
            raise UsageError(f"--set {text}: task '{task}' is not selected")
        mine = found.setdefault(task, {})
        if setting in mine:
            raise UsageError(f"--set {left} is given twice, as {mine[setting]} and {value}; leave one out")
        mine[setting] = value
    return found


def learned_with(task: TaskSpec, settings: Mapping[str, str]) -> DrawnFormat:
    """The format in which a task is learned, with some of its settings changed. What is held out keeps the task's own.

    Raises:
        UsageError: A setting is not allowed, or the format is one that is scored, where training and scoring would differ.
    """
    if not isinstance(task.format, DrawnFormat):
        raise UsageError(
            f"settings of task '{task.name}': what is scored is learned as it is scored; while training, only tasks of "
            "texts in many languages have settings (mlm, tlm and their like)"
        )
    try:
        return task.format.replaced(settings)
    except UsageError as error:
        raise UsageError(f"settings of task '{task.name}': {error}") from error


def parse_head_labels(texts: Sequence[str], tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """``TASK=label,label,…`` by task; raises UsageError."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        task, equals, labels = text.partition("=")
        if not equals or task not in tasks:
            raise UsageError(f"--head-labels {text}: give TASK=label,label,… of a selected task")
        put_once(found, task, tuple(label.strip() for label in labels.split(",")), option="head-labels")
    return found


# Nothing of use is larger, and infinity is.
_LARGEST = 10**12
# An adapter is to be far smaller than the matrix beside it; a rank above this is a slip.
_MOST_RANK = 4_096


def _number(
    kind: type[int | float],
    *,
    least: float = 0,
    most: int = _LARGEST,
    below: float | None = None,
    none: bool = False,
) -> Callable[[str], Any]:
    limit = f" and below {below:g}" if below else f" and at most {most:,}" if most < _LARGEST else ""
    rule = f"at least {least:g}{limit}{', or none' if none else ''}"

    def read(text: str) -> Any:
        if none and text == "none":
            return None
        try:
            value = kind(text)
        except ValueError as error:
            raise ValueError(f"give a {'whole ' if kind is int else ''}number, {rule}") from error
        if below is None and value > most:
            raise ValueError(f"must be at most {most:,}")
        if not value >= least or (below is not None and value >= below):
            raise ValueError(f"must be {rule}")
        return value

    return read


_HYPER: Mapping[str, Callable[[str], Any]] = {
    "epochs": _number(float, least=1e-6),
    "batch_size": _number(int, least=1),
    "learning_rate": _number(float, least=1e-12),
    "warmup": _number(float),
    "weight_decay": _number(float),
    "clip": _number(float, least=1e-9),
    "evaluate_every": _number(int),
    "patience": _number(int, least=1, none=True),
    "select_limit": _number(int, least=1, none=True),
    "dropout": _number(float, below=1, none=True),
    "max_steps": _number(int, least=1, none=True),
    "max_length": _number(int, least=3),
    "lora_rank": lambda text: _number(int, most=_MOST_RANK)(text) or None,
    "lora_alpha": _number(float, least=1e-6),
    "select": lambda text: {"last": None}[text],
}


def hyper_value(name: str, text: str) -> Any:
    """The value of a hyper-parameter that is given as text; raises UsageError."""
    if name not in _HYPER:
        raise UsageError(f"no hyper-parameter '{name}'; there are {', '.join(_HYPER)}")
    try:
        return _HYPER[name](text)
    except (ValueError, KeyError) as error:
        told = "only 'last' is allowed" if name == "select" else str(error)
        raise UsageError(f"hyper-parameter {name}={text} is not allowed ({told})") from error
