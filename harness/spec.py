"""The nouns: Example, Format, TaskSpec, Source, Metric, Suite. Values only; knows no file, no model and no plugin.

A task is composed, never subclassed: a format says what its examples are, sources say where rows lie, one small
function maps a row to an example, and metrics are named.
"""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness import languages
from harness.digests import canonical_json, of_value
from harness.errors import SpecError, UsageError

Json: TypeAlias = Any
Row: TypeAlias = Mapping[str, Json]
Vectors: TypeAlias = NDArray[np.float32]
Parts: TypeAlias = Mapping[str, NDArray[np.float64]]

_NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One item of a data set. Formats subclass it with the fields they need.

    Attributes:
        id: Unique within its task, language and split.
    """

    id: str

    def canonical(self) -> str:
        """The one spelling of the example, from which fingerprints are made."""
        return canonical_json([getattr(self, item.name) for item in dataclasses.fields(self)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What a format needs on top of an encoder. The engine maps it once to a module and a loss.

    Attributes:
        kind: ``none`` uses the encoder's vectors as they are.
        size: Number of outputs, where the kind has them.
    """

    kind: Literal["none", "pooled", "token", "span", "choice"]
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a model said of one set of examples, in one view (a task may look at its outputs in several ways).

    Attributes:
        view: Name of the view, ``""`` where there is only one.
        ids: Example ids, in order.
        gold: The gold answer of each.
        values: The predicted answer of each.
        facts: What was decided on the way, e.g. a tuned threshold; goes into each record.
        caveats: Why the scores must not be compared with published ones; a record with any is left out of averages.
    """

    view: str
    ids: Sequence[str]
    gold: Sequence[Json]
    values: Sequence[Json]
    facts: Mapping[str, Json] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()


def smallest_digests(ids: Iterable[str], count: int) -> set[str]:
    """The ``count`` ids whose digests are the smallest: a choice that looks random and never changes."""
    return set(sorted(ids, key=lambda identity: of_value(identity, 64))[:count])


Neighbours: TypeAlias = Callable[[Vectors, Vectors, int], tuple[NDArray[np.float64], NDArray[np.int64]]]


class Format(ABC):
    """What a family of tasks shares: which texts of an example the model reads, and what its outputs mean.

    NumPy only. ``version`` rises when a golden output changes.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    head: ClassVar[Head]

    @property
    @abstractmethod
    def views(self) -> tuple[str, ...]:
        """Names of the prediction sets that :meth:`decode` gives."""

    @property
    @abstractmethod
    def settings(self) -> Mapping[str, Json]:
        """Everything in this value that changes a prediction; part of the recipe's hash."""

    @abstractmethod
    def text(self, example: Any) -> str:
        """The text of an example that the model reads."""

    def replaced(self, changes: Mapping[str, str]) -> Format:
        """This format with some settings changed, given as text (``--set``).

        Raises:
            UsageError: There is no such setting, or the value is not allowed.
        """
        raise UsageError(f"the format '{self.name}' has no setting {', '.join(changes)}")

    def subset(self, examples: Sequence[Any], limit: int) -> list[Any]:
        """A deterministic subset of ``limit`` items, in order: those whose ids have the smallest digests."""
        chosen = smallest_digests([example.id for example in examples], limit)
        return [example for example in examples if example.id in chosen]

    @abstractmethod
    def decode(
        self,
        examples: Sequence[Any],
        outputs: Vectors,
        tuning: tuple[Sequence[Any], Vectors] | None,
        neighbours: Neighbours,
    ) -> list[Predictions]:
        """Predictions from model outputs, one value per view.

        Args:
            examples: The examples of the split, in order.
            outputs: One row per example, float32, shape ``(examples, …)``.
            tuning: Examples and outputs of the split on which thresholds are chosen, where the task has one.
            neighbours: Exact search ``(queries, base, k) -> (scores, indices)``, on whatever device the run uses.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSource:
    """Rows from files in a data set's original format, below a data folder.

    Attributes:
        name: Layout's name, e.g. ``"laser"``.
        files: ``(language, split)`` to relative paths by role; empty when the layout has no such split.
        read: ``(paths by role, language)`` to rows. The paths exist (or are the ``.gz`` twin).
        homepage: Where the files are to be had.
        optional: Roles that may be missing.
    """

    name: str
    files: Callable[[str, str], Mapping[str, str]]
    read: Callable[[Mapping[str, Path], str], Iterable[Row]]
    homepage: str
    optional: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """Rows from a data set repository on the hub, at a pinned revision, loaded without scripts.

    Attributes:
        name: Short name, e.g. ``"mteb"``.
        repository: ``owner/name``.
        revision: Full commit hash.
        config: Language to the configuration of the repository, or None where it has only one.
        split: The harness's split to the repository's; None when it has no such split.
        read: ``(rows of the repository, language)`` to rows of the task.
        patterns: Which files of the repository are needed.
    """

    name: str
    repository: str
    revision: str
    config: Callable[[str], str | None]
    split: Callable[[str], str | None]
    read: Callable[[Iterable[Row], str], Iterable[Row]]
    patterns: tuple[str, ...] = ("*",)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{40}", self.revision):
            raise SpecError(f"source '{self.name}': revision '{self.revision}' is not a full commit hash")


Source: TypeAlias = FilesSource | HubSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How sentences become vectors.

    Attributes:
        layer: ``last``, ``middle`` or the number of a hidden state (0 is the embedding layer's output).
        pooling: ``mean`` over the attention mask, or ``cls``, the first token.
        special_tokens: Whether the mean includes special tokens such as ``<s>`` and ``</s>``.
        normalise: Whether vectors are brought to length 1.
        max_length: Tokens at most, special tokens included.
    """

    layer: str = "middle"
    pooling: Literal["mean", "cls"] = "mean"
    special_tokens: bool = True
    normalise: bool = True
    max_length: int = 512


def resolve_layer(layer: str, depth: int) -> int:
    """The hidden state that a layer's name stands for, in an encoder of ``depth`` blocks.

    ``middle`` is XTREME's choice: ``hidden_states[8]`` of 13 for base and ``hidden_states[14]`` of 25 for large models
    (google-research/xtreme, ``--specific_layer`` 7 and 13, which count from the first block). The line through these
    two points, ``depth // 2 + 2``, serves other depths and is this harness's own.

    Raises:
        UsageError: The layer is not a name or lies outside ``0 … depth``.

    >>> [resolve_layer("middle", depth) for depth in (12, 24, 6, 2)], resolve_layer("last", 6)
    ([8, 14, 5, 2], 6)
    """
    if layer == "last":
        return depth
    if layer == "middle":
        return min(depth, depth // 2 + 2)
    if not re.fullmatch(r"\d+", layer) or int(layer) > depth:
        raise UsageError(
            f"no layer '{layer}' in a model of {depth} blocks; give 0 to {depth}, middle, last or all"
        )
    return int(layer)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricUse:
    """A metric by name, applied to one view of a task's predictions."""

    metric: str
    view: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One task, as a value.

    Attributes:
        name: Lower-case letters, digits, ``-`` and ``_``.
        version: Rises when the same data and model would give another number.
        title: One line.
        format: What its examples are and how outputs are read.
        languages: Every language its data has, in the harness's spelling.
        splits: Every split its data has.
        split: The split whose score counts.
        tuning_split: The split on which thresholds are chosen, if the task has any.
        sources: Where rows lie; files before the hub.
        sample: ``package:folder`` of a small built-in set in the layout of one of the file sources.
        example: One row to one example.
        metrics: What is measured; the first is the main one.
        protocols: Encoding by protocol name; the first is the default.
        sizes: Split to language to number of items, as published.
        licence: Of the data.
        citation: BibTeX.
        homepage: Of the data set.
        notes: What a reader of the score should know.
    """

    name: str
    version: int
    title: str
    format: Format
    languages: tuple[str, ...]
    splits: tuple[str, ...]
    split: str
    sources: tuple[Source, ...]
    example: Callable[[Row], Example]
    metrics: tuple[MetricUse, ...]
    protocols: Mapping[str, Encoding]
    licence: str
    citation: str
    homepage: str
    tuning_split: str | None = None
    sample: str | None = None
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for problem in _task_problems(self):
            raise SpecError(f"task '{self.name}': {problem}")

    @property
    def main(self) -> MetricUse:
        """The metric use that stands for the task in a suite."""
        return self.metrics[0]


def _task_problems(task: TaskSpec) -> Iterable[str]:
    if not _NAME.fullmatch(task.name):
        yield "a name has lower-case letters and digits, joined by - or _"
    if not isinstance(task.format, Format):
        yield f"format is {type(task.format).__name__}, not a Format"
    if task.version < 1:
        yield f"version is {task.version}; versions start at 1"
    odd = [code for code in task.languages if not languages.is_canonical(code)]
    if odd:
        yield f"languages {', '.join(odd)} are not in the harness's spelling (ISO 639-1, else 639-3)"
    if not task.languages or len(set(task.languages)) < len(task.languages):
        yield "languages are missing or named twice"
    if task.split not in task.splits:
        yield f"split '{task.split}' is not among its splits {', '.join(task.splits)}"
    if task.tuning_split is not None and task.tuning_split not in task.splits:
        yield f"tuning split '{task.tuning_split}' is not among its splits {', '.join(task.splits)}"
    if not task.sources:
        yield "it has no source"
    if not task.metrics:
        yield "it has no metric"
    views = task.format.views if isinstance(task.format, Format) else ()
    for use in task.metrics:
        if use.view not in views:
            yield f"metric '{use.metric}' reads the view '{use.view}', but the format gives {', '.join(views)}"
    if not task.protocols:
        yield "it has no protocol"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number with what is needed to trust it.

    Attributes:
        value: Percent, 0-100.
        stderr: Standard error in percent points.
        n: Number of items.
        parts: Per-item parts, each of shape ``(n,)``.
    """

    value: float
    stderr: float
    n: int
    parts: Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A named pure function of gold answers and predictions.

    The value is a function of the means of per-item parts: ``combine({name: mean})``. From the parts come the standard
    error and, later, paired tests.

    Attributes:
        name: Lower-case letters, digits, ``-`` and ``_``.
        signature: ``name|variant|version``; changes whenever the number could.
        parts: ``(gold, predictions)`` to per-item arrays of one length.
        combine: Means of the parts to a fraction 0-1.
        doc: What it measures, with paper and official scorer.
        higher_is_better: Direction.
        chance: Value in percent that guessing gives, where that is a constant.
    """

    name: str
    signature: str
    parts: Callable[[Sequence[Json], Sequence[Json]], Parts]
    combine: Callable[[Mapping[str, float]], float]
    doc: str
    higher_is_better: bool = True
    chance: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SpecError(
                f"metric '{self.name}': a name has lower-case letters and digits, joined by - or _"
            )
        if not re.fullmatch(r"[^|\s]+(\|[^|\s]+)*\|v\d+", self.signature):
            raise SpecError(
                f"metric '{self.name}': signature '{self.signature}' does not end in |v and a number"
            )
        if not self.doc.strip():
            raise SpecError(f"metric '{self.name}': doc is empty; name the paper and the official scorer")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteTask:
    """A task of a suite with the languages that count there."""

    task: str
    languages: tuple[str, ...]
    group: str


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
        if not _NAME.fullmatch(self.name):
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
