"""What must not be scored because it was learned: by this fine-tuning, or by the trainings that made its model.

Knows training sets and lineages; imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import sources
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint
from harness.curriculum import Taught
from harness.errors import DataError
from harness.languages import PIVOT
from harness.overlap import words
from harness.spec import TaskSpec
from harness.taughtsets import TaughtSets


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What of a split was learned.

    Attributes:
        ids: Of examples that are not to be scored, in any language.
        caveats: What could not be looked up or compared.
    """

    ids: frozenset[str] = frozenset()
    caveats: tuple[str, ...] = ()


def learned_from(learn: Taught, task: TaskSpec, split: str, sets: TaughtSets) -> Learned:
    """What of a task's split is in a training set.

    Parallel data has the same ids in every language, so a translation of what was learned is left out too.

    Raises:
        DataError: What is learned is not to be had.
    """
    if learn.task.name == task.name and learn.split == split:
        return Learned(ids=frozenset(example.id for example in sets.examples(learn)))
    if learn.language not in task.languages:
        return Learned()
    if not sources.has_split(task, learn.language, split, sets.location):
        return _not_compared(learn, task, split)
    if learn.task.name != task.name:
        return _copies(learn, task, split, sets)
    rows = sets.rows(learn.task, learn.split, learn.language)
    if sets.rows(task, split, learn.language).fingerprint != rows.fingerprint:
        return Learned()
    return Learned(ids=frozenset(example.id for example in sets.examples(learn)))


def _not_compared(learn: Taught, task: TaskSpec, split: str) -> Learned:
    """Of a training set nothing is said: the tasks of a protocol keep theirs apart from what is scored."""
    if learn.split.startswith("train"):
        return Learned()
    where = f"{task.name}/{split} is not at hand in '{learn.language}'"
    return Learned(caveats=(f"{learn.name} was learned and {where}: translations of it may be scored",))


def _copies(learn: Taught, task: TaskSpec, split: str, sets: TaughtSets) -> Learned:
    """Another task's examples whose English texts were learned; parts of XQuAD are SQuAD's dev set."""
    learned = {example.id: learn.task.format.passages(example) for example in sets.examples(learn)}
    known = set(learned.values())
    try:
        scored = sets.rows(task, split, learn.language).examples
    except DataError:
        # The unit of this language says so; without its texts nothing can be compared.
        return _not_compared(learn, task, split)
    copies = (
        example.id
        for example in scored
        for passages in [task.format.passages(example)]
        # A copy may differ in a character, or in how its words were cut; the id and one passage give it away.
        if passages in known or _letters(passages) & _letters(learned.get(example.id, ()))
    )
    return Learned(ids=frozenset(copies))


def _letters(passages: Sequence[str]) -> set[str]:
    """Passages without what parts words, so that it does not matter how a treebank cut them."""
    return {letters for passage in passages if (letters := "".join(words(passage)))}


def learned_before(
    checkpoint: Checkpoint, task: TaskSpec, split: str, catalog: Catalog, sets: TaughtSets
) -> Learned:
    """What of a task's split the trainings of a checkpoint's lineage learned, from tasks of the same format."""
    ids: set[str] = set()
    caveats: list[str] = []
    for course in courses_of(checkpoint):
        try:
            other = catalog.task(course["task"])
            if other.format.name != task.format.name:
                continue
            learn = taught_again(other, course["learn"], catalog)
            if sets.counted(learn).data != course["learned"]:
                raise DataError("other data")
            found = learned_from(learn, task, split, sets)
        # A reader may be a plugin's, which may raise anything; so may a file that somebody else wrote.
        except Exception:  # noqa: BLE001
            name = course.get("from", "something")
            caveats.append(
                f"the model learned {name} before, which is not to hand; copies of it may be scored"
            )
        else:
            ids |= found.ids
            caveats += found.caveats
    return Learned(ids=frozenset(ids), caveats=tuple(dict.fromkeys(caveats)))


def not_kept_apart(
    checkpoint: Checkpoint, task: TaskSpec, language: str, split: str, catalog: Catalog
) -> tuple[str, ...]:
    """What a checkpoint learned of running text (mlm, tlm, translation_ranking) without a look at this evaluated set.

    Nothing is read again, which would take minutes; ``harness leakage`` does.
    """
    told = []
    for course in courses_of(checkpoint) if not split.startswith("train") else ():
        other, learn = catalog.tasks.get(course.get("task", "")), course.get("learn") or {}
        # What is scored somewhere has examples with ids, which learned_before looks for.
        if other is None or other.metrics:
            continue
        asked = task.name in learn.get("apart", ())
        if asked and f"{task.name}/{language}/{split}" not in learn.get("unread", ()):
            continue
        if _read_in(task, (language,)) & _read_in(other, learn.get("languages", ())):
            why = ", which was not at hand then" if asked else ""
            told.append(
                f"{course.get('from', other.name)} was learned and not kept apart from {task.name}/{split}{why}; 'harness "
                "leakage' tells whether texts of it are among that"
            )
    return tuple(dict.fromkeys(told))


def _read_in(task: TaskSpec, languages: Sequence[str]) -> set[str]:
    """The languages of the texts; a task without English among its own has it on the other side of each pair."""
    return {*languages, *((PIVOT,) if PIVOT not in task.languages else ())}


def courses_of(checkpoint: Checkpoint) -> Iterator[Mapping[str, Any]]:
    """Every course of every training that made a checkpoint, as ``training.json`` tells of it."""
    for told in checkpoint.lineage:
        yield from told.get("courses", ())


def taught_again(task: TaskSpec, told: Mapping[str, Any], catalog: Catalog) -> Taught:
    """What ``training.json`` says was learned, translations aside: they have the ids of what they translate."""
    return Taught(
        task=task,
        split=told["split"],
        languages=tuple(told["languages"]),
        rows=tuple(told["rows"]) if told["rows"] else None,
        size=told["size"],
        seed=told["seed"],
        apart=tuple(map(catalog.task, told.get("apart", ()))),
    )
