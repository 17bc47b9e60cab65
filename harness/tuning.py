"""Brings fine-tuned checkpoints about: found in the cache by the phase's key, or trained, whole or not at all.

Knows phases, formats and the cache folder; what a training step is, the engine knows.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError

from harness import files
from harness.checkpoints import Checkpoint, open_checkpoint
from harness.engine.headed import Headed, new_headed, save_headed
from harness.engine.predict import Asked, Predictor
from harness.engine.session import Compute
from harness.engine.train import Hooks, Lesson, Trainer
from harness.engine.trainstate import Progress, unwritten
from harness.errors import DataError, HarnessError, ModelError, PluginError, SpecError
from harness.formats.base import HeadFormat
from harness.home import ADVICE
from harness.phases import read_taught
from harness.plan import Phase
from harness.progress import Listener
from harness.registry import Catalog
from harness.sources import DataLocation
from harness.statistics import score

FACTS = "training.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A fine-tuned checkpoint and what a record says of it."""

    checkpoint: Checkpoint
    facts: Mapping[str, Any]


def folder_of(phase: Phase, home: Path) -> Path:
    """Where the checkpoint of a phase lies, or will."""
    return home / "checkpoints" / phase.key


def obtain(
    phase: Phase, catalog: Catalog, location: DataLocation, compute: Compute, listener: Listener
) -> Tuned:
    """The checkpoint of a phase: the one in the cache, or a new one.

    Two processes that want the same one do not both train it. An interrupted training goes on from its last state.

    Raises:
        DataError: The training set cannot be read any more.
        ModelError: The parent cannot be opened, or the training fails.
        OutputError: The cache cannot be written.
    """
    folder = folder_of(phase, compute.home)
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f"{folder.name}.lock")):
                if not folder.is_dir():
                    _train(phase, folder, catalog, location, compute, listener)
        except OSError as error:
            raise files.output_error(folder, error, ADVICE) from error
    return _opened(phase, folder)


def _opened(phase: Phase, folder: Path) -> Tuned:
    try:
        told: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        steps, best = told["steps"], told["best"]
        checkpoint = replace(open_checkpoint(str(folder)), name=phase.parent.name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(folder, f"{FACTS}: {type(error).__name__}") from error
    except ModelError as error:
        raise damaged(folder, str(error)) from error
    facts = {
        "checkpoint": phase.key,
        "parent": phase.parent.weights,
        "task": phase.learn.task.name,
        "split": phase.learn.name.partition("/")[2],
        "language": phase.learn.language,
        "examples": phase.learn.examples,
        "data": phase.learn.data,
        "steps": steps,
        "best_step": best["step"] if best else None,
    }
    return Tuned(checkpoint=checkpoint, facts=facts)


def damaged(folder: Path, told: str) -> ModelError:
    """What to say of a checkpoint of the cache that does not open."""
    return ModelError(
        f"{folder}: a damaged checkpoint of the cache ({told}); remove the folder, and the same command trains it again"
    )


def _train(
    phase: Phase, folder: Path, catalog: Catalog, location: DataLocation, compute: Compute, listener: Listener
) -> None:
    work = folder.with_name(f"{folder.name}.work")
    headed = new_headed(
        phase.parent,
        phase.format.head,
        seed=phase.seed,
        device=compute.device,
        dropout=phase.schedule.dropout,
    )
    if compute.gradient_checkpointing:
        _checkpoint_gradients(headed)
    lesson = _lesson(phase, headed, location, catalog)
    trainer = Trainer(
        headed=headed,
        lesson=lesson,
        schedule=phase.schedule,
        seed=phase.seed,
        dtype=phase.dtype,
        folder=work,
        micro_tokens=compute.micro_tokens,
        save_seconds=compute.save_seconds,
        hooks=Hooks(
            select=_selection(phase, headed, catalog, location, compute),
            started=lambda steps, done: listener.training(phase, steps, done),
            stepped=listener.trained,
            selected=listener.selected,
        ),
    )
    try:
        progress = trainer.run()
    except ModelError as error:
        raise ModelError(f"fine-tuning {phase.parent.name} on {phase.learn.name}: {error}") from error
    _finish(phase, folder, headed, progress, trainer.steps, len(lesson.rows.lengths), compute)
    shutil.rmtree(work, ignore_errors=True)


def _checkpoint_gradients(headed: Headed) -> None:
    for module in headed.module.children():
        # transformers is renaming the method; the old name warns where the new one is there.
        names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
        enable = next((getattr(module, name) for name in names if hasattr(module, name)), None)
        if enable is not None:
            enable()


def _lesson(phase: Phase, headed: Headed, location: DataLocation, catalog: Catalog) -> Lesson:
    """Rows and targets of what is learned; raises DataError or PluginError, which name it."""
    try:
        examples = read_taught(phase.learn, location)
        rows = phase.format.encode(examples, headed.tokenizer, phase.max_length)
        return Lesson(rows=rows, targets=phase.format.targets(examples, rows))
    except HarnessError as error:
        raise DataError(f"{phase.learn.name}: {error}") from error
    # Readers and formats may be a plugin's, which may raise anything.
    except Exception as error:
        owner = catalog.owner(phase.learn.task.name)
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise PluginError(
            f"{phase.learn.name}: plugin {owner.name} of {owner.distribution} {owner.version} raised {told}"
        ) from error


def _selection(
    phase: Phase, headed: Headed, catalog: Catalog, location: DataLocation, compute: Compute
) -> Callable[[], float] | None:
    """Scores the model on the selection set by the main metric of its task, in percent, higher is better."""
    chosen = phase.select
    if chosen is None:
        return None
    task_format = chosen.task.format
    if not isinstance(task_format, HeadFormat):
        raise SpecError(f"task '{chosen.task.name}' has no head, so it cannot choose a checkpoint")
    examples = read_taught(chosen, location, phase.schedule.select_limit)
    rows = task_format.encode(examples, headed.tokenizer, phase.max_length)
    metric = catalog.metric(chosen.task.main.metric)
    predictor = Predictor(headed=headed, batch_tokens=compute.batch_tokens)

    def select() -> float:
        reader = task_format.reader(examples, rows)
        predictor.run([Asked(rows=rows, reader=reader)])
        found = next(entry for entry in reader.predictions() if entry.view == chosen.task.main.view)
        value = score(metric, found.gold, found.values).value
        return value if metric.higher_is_better else -value

    return select


def _finish(
    phase: Phase,
    folder: Path,
    headed: Headed,
    progress: Progress,
    steps: int,
    rows: int,
    compute: Compute,
) -> None:
    """Write the checkpoint so that it appears whole."""
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        try:
            save_headed(headed, phase.parent, draft)
        except SafetensorError as error:
            raise unwritten(folder, error) from error
        facts = _facts(phase, progress, steps, rows, compute)
        (draft / FACTS).write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        draft.chmod(0o755)
        draft.replace(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _finite(point: Mapping[str, float]) -> dict[str, float | None]:
    """A point of the curve without numbers that JSON has not: a float16 step that overflowed has no norm."""
    return {name: value if math.isfinite(value) else None for name, value in point.items()}


def _facts(phase: Phase, progress: Progress, steps: int, rows: int, compute: Compute) -> dict[str, Any]:
    """Content of ``training.json``: lineage, hyper-parameters, the loss curve, what chose the checkpoint."""
    select = phase.select
    return {
        "schema": 1,
        "key": phase.key,
        "facts": phase.facts,
        "parent": {
            "name": phase.parent.name,
            "revision": phase.parent.revision,
            "weights": phase.parent.weights,
        },
        "learned": {
            "from": phase.learn.name,
            "language": phase.learn.language,
            "examples": phase.learn.examples,
            "rows": rows,
            "source": phase.learn.source,
            "data": phase.learn.data,
        },
        "selected_on": None
        if select is None
        else {"from": select.name, "examples": select.examples, "metric": select.task.main.metric},
        "head": asdict(phase.format.head),
        "schedule": asdict(phase.schedule),
        "changed": dict(phase.changes),
        "max_length": phase.max_length,
        "seed": phase.seed,
        "device": compute.device,
        "dtype": phase.dtype,
        "steps": progress.step,
        "planned_steps": steps,
        "stopped_early": progress.step < steps,
        "best": {"step": progress.best_step, "score": progress.best_score} if progress.best_step else None,
        "micro_tokens": progress.micro_tokens,
        "seconds": round(progress.seconds, 3),
        "tokens": progress.tokens,
        "curve": [_finite(point) for point in progress.curve],
        "selection": progress.selection,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "numpy")},
    }
