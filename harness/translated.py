"""Translated training sets: read, paired with the English examples by id, and mixed with them at a stated share.

A translation of a task's data lies in the data folder (for the sample, beside the sample) under
``translated/<language>/``, there in the very files of the English data. So whatever a task can read it can read in
translation. Knows no task by name; does not translate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

from harness import layouts, sources
from harness.digests import of_value
from harness.errors import DataError
from harness.formats.base import Example, Json
from harness.sources import DataLocation
from harness.spec import TaskSpec

FOLDER = "translated"
AnyExample = TypeVar("AnyExample", bound=Example)


def translated_location(task: TaskSpec, language: str, location: DataLocation) -> DataLocation:
    """The folder in which a task's data lies in translation; it need not exist.

    Raises:
        DataError: Data come from the hub alone, which has no translations.
    """
    if not location.local:
        raise DataError(
            f"task '{task.name}': the hub has no translation into '{language}'; use --data with a folder (DIR, or "
            f"DIR+hub) that has {FOLDER}/{language}/ with the files of the English data in it"
        )
    return DataLocation(kind="files", folder=sources.data_root(task, location) / FOLDER / language)


def has_translation(
    task: TaskSpec, split: str, language: str, location: DataLocation, original: str = "en"
) -> bool:
    """Whether a split of a task is to be had in translation."""
    return location.local and sources.has_split(
        task, original, split, translated_location(task, language, location)
    )


def read_translations(
    task: TaskSpec,
    split: str,
    language: str,
    location: DataLocation,
    english: Sequence[Example],
    original: str = "en",
) -> Sequence[Example]:
    """A task's split in translation, checked against the examples that were translated.

    Args:
        task: Whose examples.
        split: Of the task.
        language: Into which it was translated.
        location: Of the English data.
        english: The split in English, or a part of it; where it is a part, the whole is read for the check. Translations
            of some of them may be missing.
        original: The language of the task's files that were translated.

    Returns:
        All that is there in the language, in the order of its files.

    Raises:
        DataError: There is no such translation, a file is malformed, or a translated example does not fit its original
            (see :func:`check_pairs`); the message names task, split, language and id.
    """
    try:
        there = translated_location(task, language, location)
        if there.folder is not None and not sources.has_split(task, original, split, there):
            missing = layouts.missing(task, original, split, there.folder, most=1)
            raise missing.within(f"{task.name}/{original}/{split}")
        found = sources.read(task, original, split, there).examples
        if {example.id for example in found} - {example.id for example in english}:
            english = sources.read(task, original, split, location).examples
        check_pairs(task, english, found)
    except DataError as error:
        raise error.within(f"translation of {task.name}/{split} into '{language}'") from error
    return found


def check_pairs(task: TaskSpec, english: Sequence[Example], translated: Sequence[Example]) -> None:
    """Check that each translated example has an original with its id and the same gold answer.

    What of the gold answer does not depend on the language must be equal: labels, the number of the right choice, whether
    there is an answer at all. Tags and answer texts change with the language and are not compared.

    Raises:
        DataError: An original is missing, or an answer differs.
    """
    originals = {example.id: example for example in english}
    strange = [example.id for example in translated if example.id not in originals]
    if strange:
        raise DataError(
            f"{len(strange)} of {len(translated)} examples have no original, first '{strange[0]}'; a "
            "translation has the ids of what was translated"
        )
    for example in translated:
        expected, found = (_gold(task, entry) for entry in (originals[example.id], example))
        if expected != found:
            name = next(name for name in expected if expected[name] != found[name])
            raise DataError(
                f"example '{example.id}' has {name} {found[name]!r}, its original {expected[name]!r}; a "
                "translation keeps the gold answer"
            )


def _gold(task: TaskSpec, example: Example) -> dict[str, Json]:
    """The fields of an example that do not depend on the language.

    Those are numbers and labels of the head; of anything else it counts whether there is anything.
    """
    labels, texts = task.format.head.labels, task.format.texts(example)
    found: dict[str, Json] = {}
    for item in fields(example):
        value = getattr(example, item.name)
        match value:
            case bool() | int() | float() | None:
                found[item.name] = value
            case str() if value in labels and value not in texts:
                found[item.name] = value
            case _:
                found[item.name] = "(some)" if value else "(none)"
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """How much of a training set is read in which language.

    Attributes:
        counts: Language to number of examples that are read in it, the original among them.
        missing: Language to number of the original examples that have no translation into it.
        original: Language of what was translated.
    """

    counts: Mapping[str, int]
    missing: Mapping[str, int]
    original: str = "en"

    @property
    def shares(self) -> dict[str, float]:
        """Language to its realised share of the examples, 0-1."""
        total = max(1, sum(self.counts.values()))
        return {language: count / total for language, count in self.counts.items()}

    @property
    def share(self) -> float:
        """Realised share of the examples that are read in translation, 0-1."""
        return sum(share for language, share in self.shares.items() if language != self.original)


def mixed(
    english: Sequence[AnyExample],
    translations: Mapping[str, Sequence[AnyExample]],
    share: float,
    seed: int,
    original: str = "en",
) -> tuple[list[AnyExample], Drawn]:
    """Put translations in the place of some examples.

    Each example is read in translation with the probability ``share``, in one of the languages that have it, drawn evenly.
    Whether and in which follows from seed and id alone. So it is the same for an example in every part of a training
    set, and an example that is read in translation at a small share is so at every larger one, in the same language. An
    example that no language has is read in English, so the realised share may be smaller.

    Args:
        english: Examples to learn, the whole training set or a part of it.
        translations: By language; examples that are not among the English ones are left aside.
        share: From 0 to 1.
        seed: Another one draws others.
        original: Language of ``english``, for the counts.

    Returns:
        The examples in the order of the English ones and with their ids, and what was drawn.
    """
    by_id = {
        language: {example.id: example for example in translations[language]}
        for language in sorted(translations)
    }
    examples: list[AnyExample] = []
    drawn = Counter({original: 0, **dict.fromkeys(by_id, 0)})
    for example in english:
        chance, pick = _draw(seed, example.id)
        having = [language for language, entries in by_id.items() if example.id in entries]
        language = having[pick % len(having)] if having and chance < share else original
        examples.append(by_id[language][example.id] if language in having else example)
        drawn[language] += 1
    missing = {
        language: sum(example.id not in entries for example in english) for language, entries in by_id.items()
    }
    return examples, Drawn(counts=dict(drawn), missing=missing, original=original)


def _draw(seed: int, identity: str) -> tuple[float, int]:
    """A number from 0 to below 1, and a large whole one; both even and independent."""
    digest = of_value(["translated", seed, identity], 29)
    return int(digest[:13], 16) / 16**13, int(digest[13:], 16)
