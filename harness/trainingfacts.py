"""Content of ``training.json``: what a phase learned, how, and how well. Knows the finished training; computes nothing.

Schema 2. The file makes a checkpoint explain itself: it holds the same of every earlier phase under ``lineage``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

import numpy as np

from harness.checkpoints import FACTS_VERSION
from harness.courses import Exam
from harness.curriculum import Course, Phase
from harness.engine.lora import Adapted
from harness.engine.session import Compute
from harness.engine.train import Trainer
from harness.engine.trainstate import Progress
from harness.formats.base import Head


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A finished training.

    Attributes:
        phase: What was planned.
        progress: What was done; ``trainer`` what did it.
        fresh: Heads whose first weights were random.
        compute: On what it ran.
        adapted: The encoder's low-rank adapters, None where it was trained whole.
    """

    phase: Phase
    progress: Progress
    trainer: Trainer
    fresh: frozenset[Head]
    compute: Compute
    adapted: Adapted | None = None


def training_facts(told: Told, exams: Sequence[tuple[Exam, float]]) -> dict[str, Any]:
    """Lineage, courses with their realised shares, hyper-parameters, the loss curve, development scores."""
    phase, progress = told.phase, told.progress
    return {
        "schema": FACTS_VERSION,
        "key": phase.key,
        "kind": "intermediate" if phase.intermediate else "target",
        "facts": phase.facts,
        "parent": {
            "name": phase.parent.name,
            "revision": phase.parent.revision,
            "weights": phase.parent.weights,
        },
        "courses": [_course(told, number) for number in range(len(phase.courses))],
        "schedule": {
            name: value
            for name, value in asdict(phase.schedule).items()
            if name not in ("epochs", "batch_size", "ours")
        },
        "ours": list(phase.schedule.ours),
        "changed": dict(phase.changes),
        "lora": None if told.adapted is None else told.adapted.facts,
        "seed": phase.seed,
        "device": told.compute.device,
        "dtype": phase.dtype,
        "steps": progress.step,
        "planned_steps": told.trainer.steps,
        "stopped_early": progress.step < told.trainer.steps,
        "best": {"step": progress.best_step, "score": progress.best_score} if progress.best_step else None,
        "micro_tokens": progress.micro_tokens,
        "ranks": progress.ranks or [[0, 1]],
        "seconds": round(progress.seconds, 3),
        "tokens": progress.tokens,
        "curve": progress.curve,
        "selection": progress.selection,
        "held_out": progress.watched,
        "dev": [
            _dev(exam, value, chosen=any(exam.taught == course.select for course in phase.courses))
            for exam, value in exams
        ],
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "numpy")},
        "lineage": list(phase.parent.lineage),
    }


def _course(told: Told, number: int) -> dict[str, Any]:
    course: Course = told.phase.courses[number]
    lesson, done = told.trainer.lessons[number], told.progress.step
    steps = int(np.count_nonzero(told.trainer.order[0][:done] == number))
    head, select = course.format.head, course.select
    return {
        "task": course.learn.task.name,
        "from": course.learn.name,
        "language": course.learn.language,
        "examples": course.learn.examples,
        "steps_per_epoch": lesson.steps_per_epoch,
        "source": course.learn.source,
        "data": course.learn.data,
        "translated": asdict(course.learn.translated) if course.learn.translated else None,
        "drawn": dict(course.learn.drawn),
        "caveats": list(course.learn.caveats),
        "learn": {
            "split": course.learn.split,
            "languages": list(course.learn.languages),
            "rows": list(course.learn.rows) if course.learn.rows else None,
            "size": course.learn.size,
            "seed": course.learn.seed,
            "apart": [task.name for task in course.learn.apart],
            "left_out": course.learn.left_out,
            "unread": list(course.learn.unread),
        },
        "learned": course.learn.original or course.learn.data,
        "batch_size": course.batch_size,
        "epochs": course.epochs,
        "max_length": course.max_length,
        "weight": course.weight,
        "steps": steps,
        "share": steps / done if done else 0.0,
        "head": {"kind": head.kind, "labels": list(head.labels), "fresh": head in told.fresh},
        "selected_on": None
        if select is None
        else {"from": select.name, "examples": select.examples, "metric": select.task.main.metric},
        "ours": list(course.ours),
    }


def _dev(exam: Exam, value: float, *, chosen: bool) -> dict[str, Any]:
    """A development score; ``chosen_on`` says that the checkpoint was chosen by these very examples."""
    return {
        "task": exam.taught.task.name,
        "split": exam.taught.split,
        "languages": list(exam.taught.languages),
        "limit": exam.taught.limit,
        "metric": exam.metric,
        "value": value,
        "n": exam.items,
        "higher_is_better": exam.higher_is_better,
        "chosen_on": chosen,
    }
