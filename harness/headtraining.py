"""How a head was trained, in this run or before it, and what sets that apart from its task's protocol.

Knows phases and lineages; imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from harness.checkpoints import FACTS, Checkpoint, check_length
from harness.curriculum import Phase
from harness.heads import CarriedHead
from harness.plan import Unit

_OF_COURSES = ("epochs", "batch_size", "max_length")
# They mean nothing where no set chooses the checkpoint.
_OF_SELECTION = ("evaluate_every", "patience", "select_limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadTraining:
    """How a head was trained.

    Attributes:
        learned: What it learned, in words; of several trainings the last one last.
        sets: The same as ``task/split``, whatever part of it was learned; ``chosen`` those that chose the checkpoint.
        changes: Hyper-parameters of the last training that the user changed, or that are not the protocol's.
        caveats: What the sources of the data say against comparing scores.
    """

    learned: str
    sets: frozenset[str]
    chosen: frozenset[str]
    changes: Mapping[str, str]
    caveats: tuple[str, ...]


def planned(phase: Phase) -> HeadTraining:
    """How a target's fine-tuning trains its head."""
    return HeadTraining(
        learned=phase.learn.name,
        sets=_sets([phase.learn.name]),
        chosen=_sets([phase.select.name] if phase.select is not None else []),
        changes=phase.changes,
        caveats=phase.learn.caveats,
    )


def remembered(unit: Unit) -> HeadTraining | None:
    """How the head that a unit's checkpoint carries was trained, None where no training of this harness is known.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: What ``training.json`` tells is damaged.
    """
    trainings = list(_trainings(unit.checkpoint))
    if not trainings:
        return None
    last, courses = trainings[-1]
    every = [course for _, others in trainings for course in others]
    chosen = [course["selected_on"]["from"] for course in courses if course["selected_on"]]
    tasks = {course["task"] for course in courses}
    return HeadTraining(
        learned=", then ".join(" + ".join(course["from"] for course in others) for _, others in trainings),
        sets=_sets([course["from"] for course in every]),
        chosen=_sets(chosen),
        changes={**_other_values(unit, last, courses[-1]), **_changed(last, tasks)},
        caveats=tuple(dict.fromkeys(caveat for course in every for caveat in course["caveats"])),
    )


def _changed(told: Mapping[str, Any], tasks: set[str]) -> dict[str, str]:
    """What the user changed; ``task.name=value`` is about that task alone, which may have another head."""
    return {
        name: value
        for name, value in told["changed"].items()
        if "." not in name or name.partition(".")[0] in tasks
    }


def _other_values(unit: Unit, told: Mapping[str, Any], course: Mapping[str, Any]) -> dict[str, str]:
    """Hyper-parameters of a training that are not those of a unit's protocol, for a training does not tell by which it went."""
    training = unit.task.training.get(unit.protocol)
    if training is None:
        return {}
    length = training.max_length or unit.task.protocols[unit.protocol].max_length
    wanted = {
        **asdict(training.schedule),
        "adam_betas": list(training.schedule.adam_betas),
        "max_length": check_length(unit.checkpoint, None, length),
    }
    values = {**told["schedule"], **{name: course[name] for name in _OF_COURSES}}
    unused = () if course["selected_on"] and training.select is not None else _OF_SELECTION
    return {
        name: "none" if value is None else str(value)
        for name, value in values.items()
        if name in wanted and name not in unused and value != wanted[name]
    }


def _trainings(checkpoint: Checkpoint) -> Iterator[tuple[Mapping[str, Any], list[Mapping[str, Any]]]]:
    """The trainings of a carried head, from the one that began it, with those of their courses that taught it."""
    head, found = checkpoint.head, []
    if head is None:
        return
    # A model with one head is made by one fine-tuning; a head beside an encoder is taken up by later trainings.
    lineage = checkpoint.lineage if head.beside is not None else checkpoint.lineage[-1:]
    for told in reversed(lineage):
        courses = [course for course in told["courses"] if _taught(course, head)]
        if courses:
            found.append((told, courses))
        if any(course["head"]["fresh"] for course in courses):
            break
    yield from reversed(found)


def _taught(course: Mapping[str, Any], head: CarriedHead) -> bool:
    """Whether a course taught a head; labels tell only heads beside one encoder apart, for others may be renamed."""
    same = head.beside is None or tuple(course["head"]["labels"]) == head.labels
    return course["head"]["kind"] == head.kind and same


def _sets(names: list[str]) -> frozenset[str]:
    """Names of examples without what sets them apart from the whole set."""
    return frozenset(name.partition(" ")[0] for name in names)


def training_caveats(unit: Unit) -> Iterator[str]:
    """What sets the training of the head that answers a unit apart from the protocol's."""
    if unit.spaces:
        return
    try:
        how = planned(unit.phase) if unit.phase is not None else remembered(unit)
    except (KeyError, TypeError, ValueError, AttributeError):
        yield f"how its head was trained cannot be read in {FACTS}"
        return
    if how is not None:
        yield from _against_protocol(unit, how)


def _against_protocol(unit: Unit, how: HeadTraining) -> Iterator[str]:
    training = unit.task.training.get(unit.protocol)
    if training is None:
        yield f"no hyper-parameters for protocol {unit.protocol}; those of another were taken"
    elif how.learned != f"{training.task}/{training.split}":
        yield f"trained on {how.learned}, the protocol says {training.task}/{training.split}"
    yield from (f"learned: {caveat}" for caveat in how.caveats)
    if how.changes:
        told = ", ".join(f"{name}={value}" for name, value in sorted(how.changes.items()))
        yield f"trained with {told}, not as the protocol says"
    if f"{unit.task.name}/{unit.split}" in how.chosen:
        yield f"the checkpoint was chosen on the English part of the scored split {unit.split}"
    if training is None or training.select is None or how.chosen or "select" in how.changes:
        return
    if "/".join(training.select) in how.sets:
        yield "the last checkpoint was taken, for the selection set was learned"
