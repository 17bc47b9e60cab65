"""An experiment on disk while it is carried out: which cells there are, how each ended. Knows no model; imports no torch.

``experiment.json`` says what was asked for and how far it got; each cell has a run folder below ``runs``. The same
recipe in the same folder goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

from filelock import FileLock, Timeout

from harness import files
from harness.cellnames import cell_names
from harness.errors import OutputError
from harness.names import EXPERIMENT
from harness.recipes import Cell, Recipe, as_value, cells
from harness.version import __version__

SCHEMA_VERSION = 1
MANIFEST = EXPERIMENT
LINEAGE, DEVELOPMENT, RUNS = "lineage.json", "development.json", "runs"
Status: TypeAlias = Literal["missing", "running", "done", "partial", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What all cells of an experiment share besides the recipe.

    Attributes:
        data: ``hub``, ``sample`` or a folder.
        device: Kind of device, or one device; ``auto`` counts as a CPU where cells are named, so settle it before.
        dtype: In which models run; ``auto`` is float32 on CPUs and counts as bfloat16 on CUDA devices.
        offline: Whether the network is left alone.
        plugins: Modules or files that are loaded besides the installed plugins.
        others: Whether installed plugins of other distributions are loaded.
        gradient_checkpointing: As in ``harness eval``, likewise ``deterministic`` and ``batch_tokens``.
    """

    data: str
    device: str = "auto"
    dtype: str = "auto"
    offline: bool = False
    plugins: tuple[str, ...] = ()
    others: bool = True
    gradient_checkpointing: bool = False
    deterministic: bool = False
    batch_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One cell, with everything that is needed to carry it out in another process.

    Attributes:
        cell: What is trained.
        recipe: What is evaluated after it, and how.
        conditions: On what and with which data.
        folder: The run folder of the cell.
    """

    cell: Cell
    recipe: Recipe
    conditions: Conditions
    folder: Path

    @property
    def id(self) -> str:
        """Names the cell with all that decides its numbers."""
        return self.folder.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a cell ended.

    Attributes:
        status: ``done``, ``partial`` where some units failed, or ``failed``.
        error: What went wrong, in one line.
        seconds: It took.
        stops: Whether no other cell could keep its results either, for example because the disk is full.
    """

    status: Status
    error: str = ""
    seconds: float = 0.0
    stops: bool = False


_MISSING = Ended(status="missing")


def jobs_of(recipe: Recipe, conditions: Conditions, folder: Path) -> tuple[Job, ...]:
    """The cells of a recipe, in order; a cell's folder is named by all that decides its numbers.

    Raises:
        UsageError: Two models of the recipe are folders of the same content.
    """
    names = cell_names(
        recipe,
        device=conditions.device,
        dtype=conditions.dtype,
        data=conditions.data,
        deterministic=conditions.deterministic,
    )
    return tuple(
        Job(cell=cell, recipe=recipe, conditions=conditions, folder=folder / RUNS / name)
        for cell, name in zip(cells(recipe), names, strict=True)
    )


@dataclass(kw_only=True)
class ExperimentWriter:
    """Keeps ``experiment.json``, one process at a time.

    It says ``running`` of the experiment from the first writing on, ``finished`` when every cell has ended, and
    ``interrupted`` when the process gave up before. (A process that was killed leaves ``running``.)

    Attributes:
        folder: Of the experiment.
        recipe: What is asked for.
        jobs: Its cells.
        conditions: Under which they run.
        workers: Processes that carry cells out now.
        sharing: Those that did when the experiment was begun, among which the cores of a CPU are divided.
        begun: When this process took it up, in seconds since 1970.
    """

    folder: Path
    recipe: Recipe
    jobs: Sequence[Job]
    conditions: Conditions
    workers: int = 1
    sharing: int = 0
    begun: float = field(default_factory=time.time)
    _ended: dict[str, Ended] = field(default_factory=dict)
    _at_work: set[str] = field(default_factory=set)
    _status: Literal["", "running", "interrupted", "finished"] = ""
    # Of earlier processes: when the first began, and how many seconds all of them took.
    _first: str = ""
    _before: float = 0.0
    _lock: FileLock | None = None

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / ".lock")
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"{self.folder} is in use by another harness process; wait for it or choose another --output"
            ) from error
        except OSError as error:
            raise files.output_error(self.folder, error) from error
        self._lock = lock
        try:
            self._check()
            self.sharing = self.sharing or self.workers
            for left in self.folder.glob(".*.tmp"):  # of killed processes: the lock is ours
                left.unlink(missing_ok=True)
        except BaseException:
            lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._status == "running":
                self._status = "interrupted"
                self._at_work.clear()
                # What ended it is told already, and may be the very same.
                with contextlib.suppress(OutputError):
                    self._write()
        finally:
            if self._lock is not None:
                self._lock.release()

    def _check(self) -> None:
        """Take up how cells ended before; raises OutputError for a folder of something else."""
        path = self.folder / MANIFEST
        if not path.exists():
            strangers = [entry.name for entry in self.folder.iterdir() if not entry.name.startswith(".")]
            if strangers:
                raise OutputError(
                    f"{self.folder} is not an experiment's folder and not empty (it holds {strangers[0]}); choose another"
                )
            return
        try:
            before: Any = json.loads(path.read_text(encoding="utf-8"))
            if before["schema"] != SCHEMA_VERSION:
                raise ValueError(f"schema {before['schema']}, this harness writes {SCHEMA_VERSION}")
            name = before["recipe"]["name"]
            every = [*before["cells"], *before.get("others", ())]
            ended = _ended_before(every, same=self._asked(before["recipe"]) == self._asked())
            sharing = int(before.get("workers") or 0)
            first, seconds = str(before.get("started") or ""), float(before.get("seconds") or 0.0)
        except (OSError, ValueError, KeyError, TypeError) as error:
            told = f"{type(error).__name__}: {error}"
            raise OutputError(
                f"{path}: damaged or not an experiment ({told}); choose another --output"
            ) from error
        if name != self.recipe.name:
            raise OutputError(f"{self.folder} belongs to the experiment '{name}'; choose another --output")
        self._ended, self._first, self._before = ended, first, seconds
        self.sharing = sharing

    def _asked(self, recipe: Mapping[str, Any] | None = None) -> list[list[str]]:
        """What every cell is evaluated on, of the recipe or of one as it was written."""
        own = _recipe_facts(self.recipe) if recipe is None else recipe
        return [list(own[name]) for name in ("targets", "languages", "analyses")]

    def ended(self, job: Job) -> Ended | None:
        """How a cell ended, None where it did not."""
        return self._ended.get(job.id)

    def begin(self, job: Job) -> None:
        """A cell is at work; raises OutputError where that cannot be written."""
        self._at_work.add(job.id)
        self.write()

    def note(self, job: Job, ended: Ended) -> None:
        """A cell ended; raises OutputError where that cannot be written."""
        before = self._ended.get(job.id)
        if before is not None and ended.status == "done" and before.status in ("done", "missing"):
            # A cell that was found done took its time before.
            ended = Ended(status="done", seconds=max(before.seconds, ended.seconds))
        self._ended[job.id] = ended
        self._at_work.discard(job.id)
        self.write()

    def finish(self) -> None:
        """No cell is begun any more; raises OutputError where that cannot be written."""
        every = all(self._ended.get(job.id, _MISSING).status != "missing" for job in self.jobs)
        self._status = "finished" if every else "interrupted"
        self._at_work.clear()
        self._write()

    def write(self) -> None:
        """Write ``experiment.json`` so that it appears whole; raises OutputError where it cannot be written."""
        self._write()
        self._status = "running"

    def _write(self) -> None:
        ours = {job.id for job in self.jobs}
        value = {
            "schema": SCHEMA_VERSION,
            "kind": "experiment",
            "recipe": _recipe_facts(self.recipe),
            "settings": [
                {
                    "name": setting.name,
                    "axes": dict(setting.axes),
                    "stages": [{**as_value(stage), "tasks": list(stage.tasks)} for stage in setting.stages],
                }
                for setting in self.recipe.settings
            ],
            "models": [asdict(model) for model in self.recipe.models],
            "conditions": asdict(self.conditions),
            "workers": self.sharing,
            "cells": [self._cell(job) for job in self.jobs],
            # Cells that this recipe or these conditions do not have, and whose results lie here all the same.
            "others": [
                {"id": name, **_facts(ended)} for name, ended in self._ended.items() if name not in ours
            ],
            "status": self._status or "running",
            "started": self._first or _stamp(self.begun),
            "finished": _stamp(time.time()) if self._status == "finished" else None,
            "seconds": round(self._before + time.time() - self.begun, 3),
            "versions": {"harness": __version__, "python": platform.python_version()},
            "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "system": platform.system()},
        }
        try:
            text = json.dumps(value, ensure_ascii=False, indent=1) + "\n"
            files.write_text(self.folder / MANIFEST, text)
        except OSError as error:
            raise files.output_error(self.folder, error) from error

    def _cell(self, job: Job) -> Mapping[str, Any]:
        facts = _facts(self._ended.get(job.id, _MISSING))
        if job.id in self._at_work:
            facts |= {"status": "running", "error": ""}
        return {
            "id": job.id,
            "model": job.cell.model.name,
            "setting": job.cell.setting.name,
            "seed": job.cell.seed,
            "folder": f"{RUNS}/{job.id}",
            **facts,
        }


def _facts(ended: Ended) -> dict[str, Any]:
    return {
        "status": ended.status,
        "error": ended.error,
        "seconds": round(ended.seconds, 3) if ended.seconds else None,
    }


def _ended_before(cells: Sequence[Mapping[str, Any]], *, same: bool) -> dict[str, Ended]:
    """How cells ended, as it was written; where more is asked of them now, none of them is done.

    Raises:
        KeyError: Something is missing there, likewise TypeError or ValueError where it is something else.
    """
    found = {}
    for cell in cells:
        status: Status = cell["status"]
        if status in ("done", "partial", "failed"):
            found[str(cell["id"])] = Ended(
                status="missing" if status == "done" and not same else status,
                error=str(cell["error"]),
                seconds=float(cell["seconds"] or 0.0),
            )
    return found


def _recipe_facts(recipe: Recipe) -> dict[str, Any]:
    left = ("models", "settings")
    return {name: value for name, value in asdict(recipe).items() if name not in left}


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
