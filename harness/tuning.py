"""Brings fine-tuned checkpoints about: found in the cache by the phase's key, or trained, whole or not at all.

Knows phases, formats and the cache folder; what a training step is, the engine knows.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from harness import files
from harness.catalog import Catalog
from harness.checkpoints import FACTS, Checkpoint, adapted, open_checkpoint
from harness.courses import Exam, School, exam_of, lesson_of, selection
from harness.curriculum import Phase
from harness.engine.adapting import encoder_of
from harness.engine.headed import Headed, new_headed, save_headed
from harness.engine.lora import Adapted, adapt
from harness.engine.multi import open_heads, save_heads
from harness.engine.ranks import Ranks
from harness.engine.session import Compute
from harness.engine.train import Hooks, Trainer
from harness.engine.trainstate import unwritten
from harness.errors import ModelError
from harness.formats.base import Head
from harness.formats.drawn import DrawnFormat
from harness.home import ADVICE
from harness.progress import Listener
from harness.sources import DataLocation
from harness.trainingfacts import Told, training_facts

# How long the first of several processes waits for a lock before the others hear of it again.
_LOCK_SECONDS = 60.0


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
    folder, ranks = folder_of(phase, compute.home), compute.ranks
    ranks.agree("training", phase.key)
    if not ranks.from_first(folder.is_dir):
        with _taken(folder.with_name(f"{folder.name}.lock"), phase, listener, ranks):
            if not ranks.from_first(folder.is_dir):
                _train(phase, folder, catalog, location, compute, listener)
    if ranks.first:
        _sweep(folder)
    return ranks.each(lambda: _opened(phase, folder))


def _sweep(folder: Path) -> None:
    """Remove what led to a finished checkpoint: of a process that was killed just when it had finished, it is still there."""
    for left in (_work(folder), _draft(folder)):
        if left.exists():
            shutil.rmtree(left, ignore_errors=True)


def _work(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.work")


def _draft(folder: Path) -> Path:
    return folder.with_name(f".draft-{folder.name}")


@contextlib.contextmanager
def _taken(path: Path, phase: Phase, listener: Listener, ranks: Ranks) -> Iterator[None]:
    """Hold a lock, for all processes of this run; where another run holds it, the listener is told before this one waits."""
    lock = FileLock(path)
    if not ranks.from_first(partial(_acquired, lock, 0)):
        listener.waiting(phase)
        while not ranks.from_first(partial(_acquired, lock, _LOCK_SECONDS)):
            pass
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock, seconds: float) -> bool:
    path = Path(lock.lock_file)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    except OSError as error:
        raise files.output_error(path, error, ADVICE) from error
    return True


def _opened(phase: Phase, folder: Path) -> Tuned:
    try:
        told: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        steps, best = told["steps"], told["best"]
        checkpoint = adapted(open_checkpoint(str(folder)), phase.parent.adapter)
        checkpoint = replace(checkpoint, name=phase.parent.name)
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
        **({"lora": told["lora"]} if told.get("lora") else {}),
    }
    most = max((count for _, count in told.get("ranks", ())), default=1)
    if most > 1:
        facts["ranks"] = most
    return Tuned(checkpoint=checkpoint, facts=facts)


def damaged(folder: Path, told: str) -> ModelError:
    """What to say of a checkpoint of the cache that does not open."""
    return ModelError(
        f"{folder}: a damaged checkpoint of the cache ({told}); remove the folder, and the same command trains it again"
    )


def _train(
    phase: Phase, folder: Path, catalog: Catalog, location: DataLocation, compute: Compute, listener: Listener
) -> None:
    school = School(catalog=catalog, location=location, compute=compute)
    models = compute.ranks.each(lambda: _models(phase, compute))
    if compute.gradient_checkpointing:
        for headed in models.by_head.values():
            checkpoint_gradients(headed)
    by_head = models.by_head
    lessons = compute.ranks.each(
        lambda: [lesson_of(course, by_head[course.format.head], school) for course in phase.courses]
    )
    low_rank = _low_rank(phase, models)
    trainer = Trainer(
        lessons=lessons,
        schedule=phase.schedule,
        seed=phase.seed,
        dtype=phase.dtype,
        folder=_work(folder),
        micro_tokens=compute.micro_tokens,
        save_seconds=compute.save_seconds,
        ranks=compute.ranks,
        hooks=Hooks(
            select=compute.ranks.each(lambda: selection(phase, by_head, school)),
            started=lambda steps, done: listener.training(phase, steps, done),
            stepped=listener.trained,
            selected=listener.selected,
            watch=compute.ranks.each(lambda: _watch(phase, models, school)),
        ),
    )
    try:
        progress = trainer.run()
    except ModelError as error:
        raise ModelError(f"training {phase.parent.name} on {phase.name}: {error}") from error
    except OSError as error:
        why = f"{error.filename} cannot be read ({error.strerror})" if error.filename else str(error)
        raise ModelError(f"training {phase.parent.name} on {phase.name}: {why}") from error
    if low_rank is not None:
        low_rank.merge()
    told = Told(
        phase=phase,
        progress=progress,
        trainer=trainer,
        fresh=models.fresh,
        compute=compute,
        adapted=low_rank,
    )
    facts = training_facts(told, _exams(phase, models, school))
    compute.ranks.from_first(lambda: _finish(folder, models.save, facts))
    if compute.ranks.first:
        shutil.rmtree(_work(folder), ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Models:
    """What a phase trains.

    Attributes:
        by_head: The model that ends in each head.
        encoder: What they share.
        fresh: Heads whose first weights were random.
        save: Writes all of it into a folder.
    """

    by_head: Mapping[Head, Headed]
    encoder: Any
    fresh: frozenset[Head]
    save: Callable[[Path], None]


def _models(phase: Phase, compute: Compute) -> _Models:
    heads = [course.format.head for course in phase.courses]
    dropout = phase.schedule.dropout
    if not phase.intermediate:
        single = new_headed(phase.parent, heads[0], seed=phase.seed, device=compute.device, dropout=dropout)
        return _Models(
            by_head={heads[0]: single},
            encoder=single.encoder,
            fresh=frozenset(heads),
            save=lambda folder: save_headed(single, phase.parent, folder),
        )
    # Heads of earlier tasks are opened too where their sets are watched.
    watched = [taught.task.format.head for taught in phase.watched]
    found = open_heads(
        phase.parent, [*heads, *watched], seed=phase.seed, device=compute.device, dropout=dropout
    )
    tasks: dict[Head, list[str]] = {}
    for course in phase.courses:
        tasks.setdefault(course.format.head, []).append(course.learn.task.name)
    return _Models(
        by_head=found.headed,
        encoder=encoder_of(phase.parent, found.encoder),
        fresh=found.fresh,
        save=lambda folder: save_heads(found, tasks, phase.parent, folder),
    )


def _low_rank(phase: Phase, models: _Models) -> Adapted | None:
    """Low-rank adapters in the encoder, where the schedule wants them."""
    rank, alpha = phase.schedule.lora_rank, phase.schedule.lora_alpha
    if rank is None:
        return None
    modules = [models.by_head[course.format.head].module for course in phase.courses]
    return adapt(models.encoder, modules, rank=rank, alpha=alpha, seed=phase.seed)


def _exams(phase: Phase, models: _Models, school: School) -> list[tuple[Exam, float]]:
    """The score of the finished model on every development set that is watched."""
    lengths = {course.learn.task.name: course.max_length for course in phase.courses}
    lengths = {**_earlier_lengths(phase), **lengths}
    found = []
    for taught in phase.watched:
        headed = models.by_head[taught.task.format.head]
        headed.module.eval()
        exam = school.compute.ranks.each(partial(exam_of, taught, headed, lengths[taught.task.name], school))
        found.append((exam, exam.score()))
    return found


def _watch(phase: Phase, models: _Models, school: School) -> Callable[[], Mapping[str, float]] | None:
    """The held-out losses of what a phase learns in many languages; None where it learns nothing so."""
    lengths = {course.learn.task.name: course.max_length for course in phase.courses}
    exams = {
        taught.name: exam_of(
            taught, models.by_head[taught.task.format.head], lengths[taught.task.name], school
        )
        for taught in phase.watched
        if taught.task.name in lengths and isinstance(taught.task.format, DrawnFormat)
    }
    return (lambda: {name: exam.score() for name, exam in exams.items()}) if exams else None


def _earlier_lengths(phase: Phase) -> dict[str, int]:
    """Task to the tokens per row with which it was learned in an earlier phase."""
    return {
        course["task"]: int(course["max_length"])
        for told in phase.parent.lineage
        for course in told.get("courses", ())
    }


def checkpoint_gradients(headed: Headed) -> None:
    """Have a model compute states again on the way back instead of keeping them, where its class knows how to."""
    for module in headed.module.children():
        # transformers is renaming the method; the old name warns where the new one is there.
        names = ("activation_checkpointing_enable", "gradient_checkpointing_enable")
        enable = next((getattr(module, name) for name in names if hasattr(module, name)), None)
        if enable is not None:
            enable()


def _finish(folder: Path, save: Callable[[Path], None], facts: Mapping[str, Any]) -> None:
    """Write the checkpoint so that it appears whole; the lock on it makes the draft ours, also one that was left."""
    draft = _draft(folder)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir()
        save(draft)
        (draft / FACTS).write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        draft.chmod(0o755)
        files.settle(draft)
        draft.replace(folder)
    except SafetensorError as error:
        raise unwritten(folder, error) from error
    except OSError as error:
        raise files.output_error(folder, error, ADVICE) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
