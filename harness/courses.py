"""From a course to what the trainer takes: rows with targets, a score on development sets. Knows formats and metrics.

What is learned and how, the plan says; what a step is, the engine knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from harness.catalog import Catalog
from harness.curriculum import Course, Phase, Taught
from harness.engine import masked, ranking
from harness.engine.headed import Headed
from harness.engine.lessons import Examples, Lesson
from harness.engine.masked import MaskedTexts
from harness.engine.predict import Asked, Predictor
from harness.engine.ranking import RankedPairs
from harness.engine.session import Compute
from harness.errors import DataError, HarnessError, PluginError, SpecError
from harness.formats.base import Example, Head, HeadFormat
from harness.formats.bitexts import Bitexts
from harness.formats.rows import Rows
from harness.formats.texts import Texts
from harness.sources import DataLocation
from harness.statistics import score
from harness.taughtsets import read_taught

# Signatures of losses on held-out text, which are no metrics: they need a head's scores or vectors, not predictions.
MASKED_LOSS, RANKING_LOSS = "masked_lm_loss", "translation_ranking_loss"
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, kw_only=True)
class School:
    """What a phase needs at hand."""

    catalog: Catalog
    location: DataLocation
    compute: Compute


def lesson_of(course: Course, headed: Headed, school: School) -> Lesson:
    """What the trainer learns of a course.

    Raises:
        DataError: Its examples cannot be read or encoded; the message names them.
        PluginError: A reader or format of a plugin failed.
    """
    name = course.learn.name

    def made() -> Lesson:
        examples: Sequence[Any] = read_taught(course.learn, school.location)
        common: dict[str, Any] = {
            "headed": headed,
            "batch_size": course.batch_size,
            "epochs": course.epochs,
            "name": course.learn.task.name,
            "weight": course.weight,
            "paced": course.paced,
        }
        given = course.format
        if isinstance(given, Texts):
            texts = given.encode(examples, headed.tokenizer, course.max_length)
            return MaskedTexts(rows=texts, alpha=given.alpha, share=given.share, **common)
        if isinstance(given, Bitexts):
            pairs = given.encode(examples, headed.tokenizer, course.max_length)
            return RankedPairs(rows=pairs, alpha=given.alpha, ranked=given, **common)
        rows = given.encode(examples, headed.tokenizer, course.max_length)
        targets = given.targets(examples, rows)
        return Examples(rows=rows, targets=targets, language=course.learn.languages[0], **common)

    return _named(name, course.learn, school, made)


def _named(name: str, taught: Taught, school: School, made: Callable[[], Made]) -> Made:
    try:
        return made()
    except HarnessError as error:
        raise DataError(f"{name}: {error}") from error
    # Readers and formats may be a plugin's, which may raise anything.
    except Exception as error:
        owner = school.catalog.owner(taught.task.name)
        raise PluginError(f"{name}: {owner.blame(error)}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """A development set that is ready to be scored as often as one likes.

    Attributes:
        taught: The set; ``items`` the number of its examples, for masked LM of its rows.
        metric: Main metric of its task, :data:`MASKED_LOSS` or :data:`RANKING_LOSS`.
        higher_is_better: Direction of the metric.
        score: Computes it: percent, for losses nats per token or per pair.
    """

    taught: Taught
    metric: str
    higher_is_better: bool
    items: int
    score: Callable[[], float]


def exam_of(taught: Taught, headed: Headed, max_length: int, school: School) -> Exam:
    """A development set with the score of a model on it by its task's main metric.

    Raises:
        DataError: Its examples cannot be read or encoded.
    """

    def made() -> Exam:
        task_format = taught.task.format
        if not isinstance(task_format, HeadFormat):
            raise SpecError(f"task '{taught.task.name}' has no head, so it cannot be scored while training")
        examples: Sequence[Any] = read_taught(taught, school.location)
        budget = school.compute.micro_tokens
        if isinstance(task_format, Texts):
            texts = task_format.encode(examples, headed.tokenizer, max_length)
            loss = partial(masked.held_out_loss, headed, texts, budget, task_format.share)
            return _held_out(taught, MASKED_LOSS, len(texts.lengths), loss, school)
        if isinstance(task_format, Bitexts):
            pairs = task_format.encode(examples, headed.tokenizer, max_length)
            loss = partial(ranking.held_out_loss, headed, pairs, budget, task_format)
            return _held_out(taught, RANKING_LOSS, len(pairs.pair_language), loss, school)
        rows = task_format.encode(examples, headed.tokenizer, max_length)
        return _scored(taught, task_format, examples, rows, headed, school)

    return _named(taught.name, taught, school, made)


def _held_out(taught: Taught, metric: str, items: int, loss: Callable[[], float], school: School) -> Exam:
    """The loss on held-out examples of what is never scored."""
    return Exam(
        taught=taught,
        metric=metric,
        higher_is_better=False,
        items=items,
        score=lambda: school.compute.ranks.from_first(loss),
    )


def _scored(
    taught: Taught,
    task_format: HeadFormat,
    examples: Sequence[Example],
    rows: Rows,
    headed: Headed,
    school: School,
) -> Exam:
    main = taught.task.main
    metric = school.catalog.metric(main.metric)
    ranks = school.compute.ranks
    predictor = Predictor(headed=headed, batch_tokens=school.compute.batch_tokens, ranks=ranks)

    def value() -> float:
        reader = task_format.reader(examples, rows)
        ids = [example.id for example in examples]
        predictor.run([Asked(rows=rows, reader=reader, language=taught.languages[0], ids=ids)])

        def read() -> float:
            found = next(entry for entry in reader.predictions() if entry.view == main.view)
            return score(metric, found.gold, found.values).value

        return ranks.from_first(read)

    return Exam(
        taught=taught,
        metric=main.metric,
        higher_is_better=metric.higher_is_better,
        items=len(examples),
        score=value,
    )


def selection(phase: Phase, models: Mapping[Head, Headed], school: School) -> Callable[[], float] | None:
    """The mean score on the selection sets of a phase, in percent, higher is better; None where it has none."""
    exams = [
        exam_of(course.select, models[course.format.head], course.max_length, school)
        for course in phase.courses
        if course.select is not None
    ]
    if not exams:
        return None

    def select() -> float:
        values = [exam.score() if exam.higher_is_better else -exam.score() for exam in exams]
        return sum(values) / len(values)

    return select
