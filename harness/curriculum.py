"""What a training learns, as values: examples, the course of each task, the phase. Knows no file and imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from harness import digests
from harness.checkpoints import Checkpoint
from harness.formats.base import HeadFormat
from harness.spec import Schedule, TaskSpec
from harness.stages import Translated

# Rises when the numbers of a training change.
TRAINING_VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Taught:
    """Examples that are learned, or on which a checkpoint is chosen.

    Attributes:
        task: Whose examples they are; ``split`` and ``languages`` which of them.
        rows: First row and the one behind the last, None for all.
        size: Share or number of them that is learned, as text, ``""`` for all; ``seed`` says which.
        translated: What of them is read in a translation, None for nothing.
        limit: Examples that are kept of a development set, None for all.
        examples: Their number; ``data`` their fingerprint; ``source`` where they come from.
        metric: Signature of the metric that is computed on them, for a selection set.
        drawn: Language to number of examples that are read in it, where some are read in translation; ``original`` is
            then the fingerprint of what they translate.
        caveats: What the data's source says against comparing scores.
        apart: Tasks of which no evaluated text is among the examples; ``left_out`` how many were left out for that, and
            ``unread`` the evaluated sets that were not at hand.
    """

    task: TaskSpec
    split: str
    languages: tuple[str, ...]
    rows: tuple[int, int] | None = None
    size: str = ""
    translated: Translated | None = None
    seed: int = 0
    limit: int | None = None
    examples: int = 0
    data: str = ""
    source: str = ""
    metric: str = ""
    drawn: Mapping[str, int] = field(default_factory=dict)
    original: str = ""
    caveats: tuple[str, ...] = ()
    apart: tuple[TaskSpec, ...] = ()
    left_out: int = 0
    unread: tuple[str, ...] = ()

    @property
    def language(self) -> str:
        """The language, or all of them with commas."""
        return ",".join(self.languages)

    @property
    def name(self) -> str:
        """``task/split``, with what sets the examples apart from the whole set."""
        rows = f" rows {self.rows[0]}-{self.rows[1] - 1}" if self.rows else ""
        size = f" {self.size}" if self.size else ""
        other = (
            f" +{self.translated.share:g} {','.join(self.translated.languages)}" if self.translated else ""
        )
        return f"{self.task.name}/{self.split}{rows}{size}{other}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a phase learns of one task.

    Attributes:
        format: Of the examples, with the head.
        learn: What is learned; ``select`` what helps to choose the checkpoint, None for nothing.
        batch_size: Items per optimizer step.
        epochs: Passes over them.
        max_length: Tokens per row.
        weight: Probability of being drawn for a step.
        paced: Whether its epochs say how long the phase is; masked LM that is mixed in goes on as long as the others.
        ours: Names of its hyper-parameters that no published source gives.
    """

    format: HeadFormat
    learn: Taught
    select: Taught | None
    batch_size: int
    epochs: float
    max_length: int
    weight: float = 1.0
    paced: bool = True
    ours: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """Everything about it that decides the result, or what is known of it, as a JSON value."""
        chosen, apart = self.select, sorted(task.name for task in self.learn.apart)
        return {
            "format": [self.format.name, self.format.version, dict(self.format.settings)],
            "learn": self.learn.data,
            # The same examples where nothing had to be left out; but of that the other checkpoint's training.json says nothing.
            **({"apart": apart} if apart else {}),
            "select": [chosen.data, chosen.metric] if chosen is not None else None,
            **{name: getattr(self, name) for name in _COURSE_NUMBERS},
        }


_COURSE_NUMBERS = ("batch_size", "epochs", "max_length", "weight", "paced")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One training: a parent checkpoint and what makes another of it. Its key names the result.

    Attributes:
        parent: The checkpoint that is trained on.
        courses: What is learned; a target's fine-tuning has one.
        schedule: Hyper-parameters, the user's changes included; epochs and batch size are each course's own.
        changes: The changes, by name, and those of formats' settings (``mlm.share``).
        seed: Of heads, order and dropout.
        dtype: In which it is computed.
        intermediate: Whether an encoder with heads beside it is made, for further training, or one model with one head.
        watched: Development sets of earlier tasks, scored when the phase is done, to see what is forgotten.
    """

    parent: Checkpoint
    courses: tuple[Course, ...]
    schedule: Schedule
    seed: int
    dtype: str
    changes: Mapping[str, str] = field(default_factory=dict)
    intermediate: bool = False
    watched: tuple[Taught, ...] = ()

    @property
    def format(self) -> HeadFormat:
        """Of a target's examples: the first course's."""
        return self.courses[0].format

    @property
    def learn(self) -> Taught:
        """What a target learns from: the first course's examples."""
        return self.courses[0].learn

    @property
    def select(self) -> Taught | None:
        """What chooses a target's checkpoint: the first course's selection set."""
        return self.courses[0].select

    @property
    def name(self) -> str:
        """What is learned."""
        return " + ".join(course.learn.name for course in self.courses)

    @property
    def least_steps(self) -> int:
        """Optimizer steps, if each example is one row; long texts may make more."""
        paced = [course for course in self.courses if course.paced]
        steps = sum(steps_of(course.learn.examples, course.batch_size, course.epochs) for course in paced)
        steps = steps_in_all(steps, sum(course.weight for course in paced))
        return min(steps, self.schedule.max_steps or steps)

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that decides the result, as a JSON value."""
        # Epochs and batch sizes are the courses'; how many examples select, the fingerprint of these says.
        left = {"ours", "epochs", "batch_size", "select_limit"}
        if not any(course.select for course in self.courses):
            left |= {"evaluate_every", "patience"}
        if self.schedule.lora_rank is None:
            left |= {"lora_rank", "lora_alpha"}
        schedule = {name: value for name, value in asdict(self.schedule).items() if name not in left}
        heads = {name: head.digest for name, head in sorted(self.parent.heads.items())}
        return {
            "training": TRAINING_VERSION,
            "parent": self.parent.weights,
            "tokenizer": self.parent.tokenizer,
            "courses": [course.facts for course in self.courses],
            "schedule": schedule,
            "seed": self.seed,
            "dtype": self.dtype,
            "intermediate": heads if self.intermediate else None,
        }

    @property
    def key(self) -> str:
        """Digest of the facts: the same training has the same key, whichever task asks for it."""
        return digests.of_value(self.facts, 24)


def steps_of(examples: int, batch_size: int, epochs: float) -> int:
    """Optimizer steps of some passes over examples, the last batch of each as large as it comes out."""
    return math.ceil(epochs * -(-examples // batch_size))


def steps_in_all(steps: int, share: float) -> int:
    """Optimizer steps of a phase in which these are a share of all, above 0 and at most 1."""
    # Rounded first, so that a share of 0.8 that is 0.7999… adds no step.
    return math.ceil(round(steps / share, 6))
