"""What must not be scored because it was learned: by this fine-tuning, or by the trainings that made its model.

Knows training sets and lineages; imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness import sources
from harness.checkpoints import Checkpoint
from harness.errors import DataError
from harness.plan import Taught
from harness.registry import Catalog
from harness.spec import TaskSpec
from harness.taughtsets import TaughtSets


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What was learned before.

    Attributes:
        ids: Of examples that are not to be scored, in any language.
        caveats: What could not be looked up.
    """

    ids: frozenset[str] = frozenset()
    caveats: tuple[str, ...] = ()


def learned_ids(learn: Taught, task: TaskSpec, split: str, sets: TaughtSets) -> frozenset[str]:
    """Ids of examples of a task's split that are learned; they are not to be scored, in any language.

    Parallel data has the same ids in every language, so a translation of what was learned is left out too.

    Raises:
        DataError: What is learned is not to be had.
    """
    if learn.task.name != task.name:
        return _learned_texts(learn, task, split, sets)
    rows = sets.rows(learn.task, learn.split, learn.language)
    if learn.split != split:
        if not sources.has_split(task, learn.language, split, sets.location):
            return frozenset()
        if sets.rows(task, split, learn.language).fingerprint != rows.fingerprint:
            return frozenset()
    return frozenset(example.id for example in sets.examples(learn))


def _learned_texts(learn: Taught, task: TaskSpec, split: str, sets: TaughtSets) -> frozenset[str]:
    """Ids of another task's examples whose English texts were learned; parts of XQuAD are SQuAD's dev set."""
    if learn.language not in task.languages or not sources.has_split(
        task, learn.language, split, sets.location
    ):
        return frozenset()
    learned = {example.id: learn.task.format.passages(example) for example in sets.examples(learn)}
    known = set(learned.values())
    try:
        scored = sets.rows(task, split, learn.language).examples
    except DataError:
        # The unit of this language says so; without its texts nothing can be compared.
        return frozenset()
    return frozenset(
        example.id
        for example in scored
        for texts in [task.format.passages(example)]
        # A copy may differ in a character; the id and one text in common give it away.
        if texts in known or set(texts) & set(learned.get(example.id, ()))
    )


def learned_before(
    checkpoint: Checkpoint, task: TaskSpec, split: str, catalog: Catalog, sets: TaughtSets
) -> Before:
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
            ids |= learned_ids(learn, task, split, sets)
        # A reader may be a plugin's, which may raise anything; so may a file that somebody else wrote.
        except Exception:  # noqa: BLE001
            name = course.get("from", "something")
            caveats.append(
                f"the model learned {name} before, which is not to hand; copies of it may be scored"
            )
    return Before(ids=frozenset(ids), caveats=tuple(dict.fromkeys(caveats)))


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
