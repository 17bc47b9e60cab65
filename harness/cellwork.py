"""One cell of an experiment: a chain of intermediate trainings, then the evaluation of every target on its result.

Runs in the process of a worker; tells what it does through a listener. Knows no other cell.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness import api, files
from harness.development import score_development_sets
from harness.errors import HarnessError, UnwrittenError
from harness.experiment import DEVELOPMENT, LINEAGE, Ended, Job
from harness.making import model_of
from harness.progress import Listener
from harness.registry import load_catalog
from harness.request import Request
from harness.run import LOCK, verdict
from harness.sources import DataLocation
from harness.stages import PROTOCOL
from harness.training import Chain, trained
from harness.workplace import compute_of

# A worker whose starter was killed stops by itself, when the state of its training is written.
_ORPHAN_SECONDS = 600.0


def carry_out(job: Job, listener: Listener) -> Ended:
    """Do a cell; what of it is done already, in its folder or in the cache, is not done again.

    Whatever fails is told in the result, so that the other cells go on.

    Raises:
        KeyboardInterrupt: Passed on; what was done is kept.
    """
    start = time.monotonic()
    try:
        error = _done(job, listener)
    except HarnessError as failure:
        return Ended(
            status="failed",
            error=_line(str(failure)),
            seconds=time.monotonic() - start,
            stops=isinstance(failure, UnwrittenError),
        )
    # Plugins and torch may raise anything; a cell is what they may cost.
    except Exception as failure:  # noqa: BLE001
        if isinstance(failure, OSError) and failure.errno in files.FULL:
            error, stops = str(files.output_error(job.folder, failure)), True
        else:
            error, stops = f"{type(failure).__name__}: {failure}", False
        return Ended(status="failed", error=_line(error), seconds=time.monotonic() - start, stops=stops)
    return Ended(status="partial" if error else "done", error=error, seconds=time.monotonic() - start)


def _line(text: str) -> str:
    return " ".join(text.split())


def _done(job: Job, listener: Listener) -> str:
    """Train and evaluate; what went wrong with single units, in one line."""
    _wait_for_orphan(job.folder)
    given, recipe, cell = job.conditions, job.recipe, job.cell
    catalog = load_catalog(given.plugins, others=given.others)
    compute = compute_of(
        device=given.device,
        dtype=given.dtype,
        batch_tokens=given.batch_tokens,
        gradient_checkpointing=given.gradient_checkpointing,
        deterministic=given.deterministic,
    )
    location = DataLocation.parse(given.data, offline=given.offline)
    base = model_of(cell.model.model, catalog, location, offline=given.offline)
    chain = Chain(
        base=replace(base, name=cell.model.name),
        stages=cell.setting.stages,
        location=location,
        protocol=recipe.protocol or PROTOCOL,
        seed=cell.seed,
        dtype=compute.dtype,
    )
    checkpoint = trained(chain, catalog, compute, listener)
    name = f"{cell.model.name}: {cell.setting.name}" if cell.setting.stages else cell.model.name
    checkpoint = replace(checkpoint, name=name)
    request = _request(job)
    problem = ""
    if "best_intermediate" in recipe.analyses:
        problem = score_development_sets(request, catalog, checkpoint, listener)
    run = api.carry_out(api.prepare(request, catalog, checkpoint), catalog, listener)
    _write(job, LINEAGE, list(checkpoint.lineage))
    _write(job, DEVELOPMENT, {"error": problem})
    code, sentence = verdict(run)
    return sentence if code else ""


def _wait_for_orphan(folder: Path) -> None:
    """Wait while a worker of an experiment that was killed still has the run folder; the experiment itself is ours."""
    if folder.is_dir():
        with contextlib.suppress(Timeout, OSError), FileLock(folder / LOCK).acquire(timeout=_ORPHAN_SECONDS):
            pass


def _request(job: Job) -> Request:
    given, recipe = job.conditions, job.recipe
    return Request(
        model=(job.cell.model.name,),
        tasks=recipe.targets,
        languages=recipe.languages,
        data=given.data,
        output=job.folder,
        split=recipe.split,
        protocol=recipe.protocol,
        device=given.device,
        dtype=given.dtype,
        batch_tokens=given.batch_tokens,
        limit=recipe.limit,
        offline=given.offline,
        train_from=recipe.train_from,
        hyper=recipe.hyper,
        seeds=(job.cell.seed,),
        gradient_checkpointing=given.gradient_checkpointing,
        deterministic=given.deterministic,
    )


def _write(job: Job, name: str, value: Any) -> None:
    files.write_text(job.folder / name, json.dumps(value, ensure_ascii=False, indent=1) + "\n")
