"""A run written as a folder in a benchmark's submission layout. Knows runs on disk and layouts; knows no task by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import files
from harness.catalog import Catalog
from harness.errors import DataError, OutputError, UsageError
from harness.records import Record, predictions_path, read_predictions
from harness.run import Run
from harness.spec import Submission
from harness.submission import layout_of, submission_path


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export wrote.

    Attributes:
        files: Number of prediction files, each with its label file.
        tasks: Tasks that were written.
        skipped: Tasks of the run that have no submission layout.
        notes: Why the numbers of what was written must not be compared with published ones.
    """

    files: int
    tasks: tuple[str, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]


def export_run(run: Run, target: Path, catalog: Catalog, seed: int | None = None) -> Exported:
    """Write a run's predictions and labels below ``target/predictions`` and ``target/labels``.

    Of each task the main metric's view in the main encoding is taken, in every language of the run. Line by line
    layouts keep the order of the run's examples.

    Args:
        run: The run.
        target: A folder that is not there yet, or empty.
        catalog: Where the tasks' layouts are known.
        seed: Which seed of the tasks that were trained; None for the lowest.

    Raises:
        UsageError: The run has no such seed, or nothing that can be written.
        OutputError: The folder is not empty or cannot be written.
        DataError: An answer cannot be written in the layout.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OutputError(f"{target} is there already and not an empty folder; choose another with --output")
    main = [record for record in run.records if record.main]
    tasks = {name: catalog.task(name) for name in dict.fromkeys(record.task for record in main)}
    chosen = [
        record
        for name, task in tasks.items()
        if task.submission is not None
        for record in _of_seed([record for record in main if record.task == name], seed)
    ]
    if not chosen:
        raise UsageError(f"{run.folder}: holds no score of a task that has a submission layout")
    _check_single(chosen)
    for record in chosen:
        _write(run.folder, target, record, layout_of(tasks[record.task]))
    return Exported(
        files=len(chosen),
        tasks=tuple(dict.fromkeys(record.task for record in chosen)),
        skipped=tuple(name for name, task in tasks.items() if task.submission is None),
        notes=_notes(chosen),
    )


def _check_single(chosen: Sequence[Record]) -> None:
    """One set of predictions per task and language, or it would not be known which is meant; raises UsageError."""
    variants: dict[tuple[str, str], set[str]] = {}
    for record in chosen:
        variants.setdefault((record.task, record.language), set()).add(record.variant)
    for (task, language), names in variants.items():
        if len(names) > 1:
            raise UsageError(
                f"{task}/{language} was scored in {len(names)} ways in this run ({', '.join(sorted(names))}); export a run "
                "folder that holds one of them"
            )


def _of_seed(records: Sequence[Record], seed: int | None) -> list[Record]:
    """The records of one seed; where nothing was trained there is only one, None."""
    seeds = sorted({record.seed for record in records if record.seed is not None})
    if not seeds:
        return list(records)
    if any(record.seed is None for record in records):
        raise UsageError(
            f"{records[0].task} was answered by the model's own head and by new ones in this run; export a run folder that "
            "holds one of them"
        )
    if seed is not None and seed not in seeds:
        known = ", ".join(map(str, seeds))
        raise UsageError(f"no seed {seed} of the task '{records[0].task}' in this run; there are {known}")
    wanted = seeds[0] if seed is None else seed
    return [record for record in records if record.seed == wanted]


def _write(folder: Path, target: Path, record: Record, layout: Submission) -> None:
    path = predictions_path(folder, record.task, record.variant, record.seed, record.language)
    found = read_predictions(path)
    gold, said = ([json.loads(text) for text in texts] for texts in (found.gold, found.values))
    try:
        texts = {"labels": layout.write(found.ids, gold), "predictions": layout.write(found.ids, said)}
    except DataError as error:
        raise DataError(f"{record.task} in {record.language}: {error}") from error
    for side, text in texts.items():
        files.write_text(submission_path(target / side, record.task, record.language, layout.suffix), text)


def _notes(records: Sequence[Record]) -> tuple[str, ...]:
    """Caveats and limits of records, each once with its tasks and languages."""
    found: dict[str, list[str]] = {}
    for record in records:
        limited = () if record.limited is None else (f"limited to {record.limited} items",)
        for text in (*record.caveats, *limited):
            found.setdefault(text, []).append(f"{record.task}/{record.language}")
    return tuple(f"{text} ({', '.join(units)})" for text, units in found.items())
