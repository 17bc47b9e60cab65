"""Which model answers which task: the values of ``--model`` to checkpoints. Knows names and folders; opens no weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.checkpoints import Checkpoint
from harness.errors import ModelError, UsageError
from harness.newmodels import PREFIX


def models_of_tasks(
    given: Sequence[str], tasks: Sequence[str], find: Callable[[str], Checkpoint]
) -> Mapping[str, Checkpoint]:
    """The checkpoint of each selected task.

    Args:
        given: ``MODEL`` for every task, or ``TASK=MODEL``; a folder without a model of its own that holds one folder per
            task stands for these.
        tasks: Names of the selected tasks.
        find: Opens one model by name.

    Raises:
        UsageError: No model is given, two are given for the same task, or a task is left without one.
        ModelError: A model cannot be found.
    """
    default = [text for text in given if not _names_a_task(text)]
    single = [text for text in given if _names_a_task(text)]
    names: dict[str, str] = {}
    for text in single:
        task, _, name = text.partition("=")
        if task not in tasks:
            raise UsageError(f"--model {text}: task '{task}' is not selected")
        if task in names:
            raise UsageError(f"--model {text}: task '{task}' has the model {names[task]} already")
        names[task] = name
    for text in default:
        others = [task for task in tasks if task not in names]
        names.update(_meant(text, others))
    if len(default) > 1:
        raise UsageError(
            f"--model {default[0]} and {default[1]}: give one for all tasks, or TASK=MODEL for each"
        )
    left = [task for task in tasks if task not in names]
    if left:
        raise UsageError(
            f"no model for task {', '.join(left)}; add -m MODEL for all others, or -m {left[0]}=MODEL"
        )
    found: dict[str, Checkpoint] = {}
    for name in dict.fromkeys(names.values()):
        found[name] = find(name)
    return {task: found[names[task]] for task in tasks}


def _names_a_task(text: str) -> bool:
    return "=" in text and not text.startswith(PREFIX) and not Path(text).is_dir()


def _meant(text: str, tasks: Sequence[str]) -> dict[str, str]:
    """Task to model name, for a value that is one model or a folder of several."""
    folder = Path(text)
    if folder.is_dir() and not any((folder / file).is_file() for file in ("config.json", "modules.json")):
        own = {task: str(folder / task) for task in tasks if (folder / task / "config.json").is_file()}
        gone = [task for task in tasks if task not in own]
        if own and gone:
            raise ModelError(
                f"{folder}: a folder of one model per task, but it has none for {', '.join(gone)}; "
                f"add -m {gone[0]}=MODEL, or leave the task out"
            )
        if own:
            return own
    return dict.fromkeys(tasks, text)
