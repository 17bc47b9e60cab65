"""A task as a value: TaskSpec with its sources and encodings. Knows no file, no model and no plugin.

A task is composed, never subclassed: a format says what its examples are, sources say where rows lie, one small
function maps a row to an example, and metrics are named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from harness import languages
from harness.errors import SpecError, UsageError
from harness.formats.base import Example, Format, Json
from harness.names import NAME

Row: TypeAlias = Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesSource:
    """Rows from files in a data set's original format, below a data folder.

    Attributes:
        name: Layout's name, e.g. ``"laser"``.
        files: ``(language, split)`` to relative paths by role; empty when the layout has no such split.
        read: ``(paths by role, language)`` to rows; the paths exist (or are the ``.gz`` twin). A mended row says how under
            the key ``repair``, in a text alike for all rows mended alike; the texts are counted and stand in the record.
        homepage: Where the files are to be had.
        passages: The same to the texts alone, as running text, of files whose answers were taken out: they cannot be scored,
            and must not be learned either. None where there are no such files.
        optional: Roles that may be missing. At least one file must be there even where all are optional.
        part: Which of the data sets that a task joins this is; the rows of all follow one another, with ids ``part/id``.
    """

    name: str
    files: Callable[[str, str], Mapping[str, str]]
    read: Callable[[Mapping[str, Path], str], Iterable[Row]]
    homepage: str
    passages: Callable[[Mapping[str, Path], str], Iterable[str]] | None = None
    optional: frozenset[str] = frozenset()
    part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """Rows from a data set repository on the hub, at a pinned revision, loaded without scripts.

    Attributes:
        name: Short name, e.g. ``"mteb"``.
        repository: ``owner/name``.
        revision: Full commit hash.
        config: Language to the configuration of the repository, or None where it has only one.
        split: The harness's split to the repository's, or to several joined by ``+``; None when it has no such split.
        read: ``(rows of the repository, language)`` to rows of the task; ``repair`` as in :class:`FilesSource`.
        patterns: Which files are needed, or ``(language, split)`` to them; where that gives none, nothing is to be had.
        data_files: ``(language, split)`` to a glob of the Parquet files that are needed; None to go by configuration.
        part: As in :class:`FilesSource`.
    """

    name: str
    repository: str
    revision: str
    config: Callable[[str], str | None]
    split: Callable[[str], str | None]
    read: Callable[[Iterable[Row], str], Iterable[Row]]
    patterns: tuple[str, ...] | Callable[[str, str], tuple[str, ...]] = ("*",)
    data_files: Callable[[str, str], str] | None = None
    part: str = ""

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
class Schedule:
    """Hyper-parameters of a fine-tuning.

    Attributes:
        epochs: Passes over the training set.
        batch_size: Rows per optimizer step, gradient accumulation included.
        learning_rate: Peak, reached after warm-up, then falling to 0 on a line.
        warmup: Share of the steps (below 1) or number of steps (from 1) of the linear rise.
        weight_decay: Of AdamW; biases and LayerNorms have none.
        adam_epsilon: Of AdamW; ``adam_betas`` its decay rates.
        clip: Largest norm of the gradient.
        evaluate_every: Steps between two scores on the selection set, 0 for once an epoch.
        patience: Scores without improvement after which training stops, None for never.
        select_limit: Examples of the selection set that are scored, None for all.
        dropout: Instead of the model's own, None for that.
        max_steps: Steps at most, None for what epochs say.
        lora_rank: Of low-rank adapters in the encoder's linear layers, which are then all of it that is trained; None for
            training the whole encoder.
        lora_alpha: Over the rank, the factor of what adapters add; None for the rank itself, so that it is 1.
        ours: Names of values that no published source gives.
    """

    epochs: float
    batch_size: int
    learning_rate: float
    warmup: float = 0.0
    weight_decay: float = 0.0
    adam_epsilon: float = 1e-8
    adam_betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 1.0
    evaluate_every: int = 0
    patience: int | None = None
    select_limit: int | None = None
    dropout: float | None = None
    max_steps: int | None = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    ours: tuple[str, ...] = ()

    @property
    def told(self) -> str:
        """In words what a plan says of it, beside epochs and batch size, which each course has of its own."""
        warmup = f"{100 * self.warmup:g} %" if self.warmup < 1 else f"{self.warmup:g} steps"
        lora = f"low-rank adapters of rank {self.lora_rank}, " if self.lora_rank else ""
        dropout = "" if self.dropout is None else f", dropout {self.dropout:g}"
        rate = f"learning rate {self.learning_rate:g}, warm-up {warmup}, weight decay {self.weight_decay:g}"
        return f"{lora}{rate}, gradient norm up to {self.clip:g}{dropout}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a task's head is trained on.

    Attributes:
        task: Task whose examples are learned; often the task itself.
        schedule: Hyper-parameters.
        split: Of that task; ``language`` the one language that is trained on.
        select: Task and split whose main score in that language chooses the checkpoint; None takes the last one.
        max_length: Tokens per row while training, None for the protocol's.
    """

    task: str
    schedule: Schedule
    split: str = "train"
    language: str = "en"
    select: tuple[str, str] | None = None
    max_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """How a task's predictions and labels look in a benchmark's submission layout.

    Attributes:
        suffix: Of the files ``<task>/test-<language>.<suffix>``.
        read_labels: File and language to gold answers by item id, in the form that the metrics take.
        read_predictions: File and language to predictions by item id, in the form that the metrics take.
        write: ``(ids, predictions)`` to the text of a prediction file; ids in the order of the labels.
        complete: Whether the prediction file must have exactly the items of the labels. Where not, a missing item has
            the prediction ``absent``.
        absent: See ``complete``.
    """

    suffix: str
    read_labels: Callable[[Path, str], Mapping[str, Json]]
    read_predictions: Callable[[Path, str], Mapping[str, Json]]
    write: Callable[[Sequence[str], Sequence[Json]], str]
    complete: bool = True
    absent: Json = None


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
        sources: Where rows lie; files before the hub. Where data sets are joined, each says which part it is of.
        sample: ``package:folder`` of a small built-in set in the layout of one of the file sources.
        example: One row to one example.
        metrics: What is measured; the first is the main one. None where the format predicts nothing: such a task is
            trained on and never scored.
        protocols: Encoding by protocol name; the first is the default. Of a task with a head only the length counts.
        training: What the head is trained on and how, by protocol name; empty where there is no head.
        intermediate: How it is learned as an intermediate task, where that differs from ``training``.
        submission: How its predictions look in its benchmark's submission layout.
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
    training: Mapping[str, Training] = field(default_factory=dict)
    intermediate: Training | None = None
    submission: Submission | None = None
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

    def protocol(self, name: str | None) -> str:
        """The protocol of a name, where the task has it, else its first."""
        return name if name is not None and name in self.protocols else next(iter(self.protocols))

    def encoded_under(self, protocol: str | None) -> Encoding:
        """How texts are encoded under a protocol, where it has one of that name, else under its first."""
        return self.protocols[self.protocol(protocol)]

    def trained_under(self, protocol: str | None) -> Training | None:
        """How the head of a target is trained under a protocol, or under its first; None where there is no head."""
        return self.training.get(self.protocol(protocol)) or next(iter(self.training.values()), None)

    def learned_under(self, protocol: str | None) -> Training | None:
        """How it is learned as an intermediate task: as it says itself, else as its head is trained."""
        return self.intermediate or self.trained_under(protocol)


def _task_problems(task: TaskSpec) -> Iterable[str]:
    if not NAME.fullmatch(task.name):
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
    if len({bool(source.part) for source in task.sources}) != 1:
        yield "it has no source" if not task.sources else "some of its sources name a part and some do not"
    views = task.format.views if isinstance(task.format, Format) else ()
    if views and not task.metrics:
        yield "it has no metric"
    for use in task.metrics:
        if use.view not in views:
            yield f"metric '{use.metric}' reads the view '{use.view}', but the format gives {', '.join(views)}"
    if not task.protocols:
        yield "it has no protocol"
    if isinstance(task.format, Format) and (task.format.head.kind != "none") != bool(task.training):
        yield "a task has training exactly when its format has a head"
    for protocol in task.training:
        if protocol not in task.protocols:
            yield f"training names the protocol '{protocol}', there are {', '.join(task.protocols)}"
