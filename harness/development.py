"""Scores targets on their English development sets, by which the best intermediate training is chosen.

Knows which targets have such a set apart from what is reported; knows no other cell.
"""

from __future__ import annotations

from dataclasses import replace

from harness import api, sources
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint
from harness.errors import HarnessError, OutputError
from harness.progress import Listener
from harness.request import Request
from harness.selection import tasks_of
from harness.sources import DataLocation
from harness.spec import TaskSpec

_DEV, _ENGLISH = "dev", "en"


def score_development_sets(
    request: Request, catalog: Catalog, checkpoint: Checkpoint, listener: Listener
) -> str:
    """Score the targets of a request on English dev, into the same run folder; why some could not be, or nothing.

    A target whose dev set is its test set, or that has none, is left out: for it nobody could have chosen.

    Raises:
        OutputError: The run folder cannot be written.
    """
    elsewhere = {text.rpartition("=")[0] for text in request.split}
    if "" in elsewhere:
        return ""
    location = DataLocation.parse(request.data, offline=request.offline)
    tasks = [catalog.task(name) for name in tasks_of(catalog, request.tasks)]
    try:
        chosen = [task.name for task in tasks if task.name not in elsewhere and _has_own_dev(task, location)]
        if not chosen:
            return ""
        run = api.carry_out(api.prepare(_on_dev(request, chosen), catalog, checkpoint), catalog, listener)
    except OutputError:
        raise
    # A development set that is not to hand is no reason not to score the test sets.
    except HarnessError as error:
        return " ".join(str(error).split())
    return "; ".join(run.failures.values())


def _has_own_dev(task: TaskSpec, location: DataLocation) -> bool:
    """Whether a task has an English dev set that is not the very data of its test set; raises DataError."""
    if _DEV not in task.splits or task.split == _DEV or _ENGLISH not in task.languages:
        return False
    if not sources.has_split(task, _ENGLISH, _DEV, location):
        return False
    if not sources.has_split(task, _ENGLISH, task.split, location):
        return True
    held, reported = (
        sources.read(task, _ENGLISH, split, location).fingerprint for split in (_DEV, task.split)
    )
    return held != reported


def _on_dev(request: Request, tasks: list[str]) -> Request:
    """A request for English dev of some tasks, with the options that are about these."""
    named = ("", *tasks)
    return replace(
        request,
        tasks=tasks,
        languages=(_ENGLISH,),
        split=tuple(f"{task}={_DEV}" for task in tasks),
        hyper=[text for text in request.hyper if text.partition("=")[0].rpartition(".")[0] in named],
        train_from=[text for text in request.train_from if text.rpartition("=")[0] in named],
    )
