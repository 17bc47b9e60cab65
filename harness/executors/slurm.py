"""Cells as jobs of Slurm, through submitit. Knows jobs; knows no model.

Jobs go on when the harness is interrupted: the same command finds them again, by what it wrote beside the experiment's
runs. A job that is preempted or runs out of time writes its state and is queued again by itself; a cell whose job died is
submitted again, a few times. A cell that fails of itself is not, before the same command is given again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness import digests, files
from harness.errors import UsageError
from harness.executors import afar
from harness.executors.base import ATTEMPTS, Event, Executor, Queue
from harness.executors.slurmoptions import SlurmOptions
from harness.experiment import Ended, Job
from harness.signals import deaf, interrupted_by

_POLL_SECONDS = 0.5
# A file of another machine may show a little later on a network file system.
_GRACE_SECONDS = 5.0
# Each time a job ran out of time it got on, so this is no limit but a safeguard.
_TIMEOUTS = 1000
_TICKET = "job.json"
# What decides a cell's results besides the cell itself; the rest of a recipe is names, texts and other cells.
_ASKED = ("targets", "languages", "protocol", "split", "limit", "train_from", "hyper", "analyses")


def slurm(options: SlurmOptions, workers: int | None) -> Executor:
    """Slurm, as seen from a machine that submits jobs.

    Args:
        options: How jobs are submitted.
        workers: Jobs at a time, None for all that need not wait for each other.

    Raises:
        UsageError: submitit is not installed, or there is no Slurm here.
    """
    submitit = _library()
    if options.cluster == "slurm" and submitit.SlurmExecutor.affinity() <= 0:
        raise UsageError(
            "--executor slurm: no srun here; give the command on a machine that submits jobs, or try it with --slurm "
            "cluster=local"
        )
    return Executor(
        device=options.device,
        carry_out=partial(_carry_out, _Site(submitit=submitit, options=options), workers),
        farewell="cells that were submitted go on; the same command finds them again, scancel stops them",
    )


def _library() -> Any:
    try:
        import submitit
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--executor slurm needs submitit ({error}); pip install 'crosslingual-transfer-harness[slurm]'"
        ) from error
    return submitit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """submitit and how it is asked."""

    submitit: Any
    options: SlurmOptions

    def submit(self, errands: Sequence[afar.Errand]) -> list[Any]:
        """One job of Slurm for each, as an array; raises UsageError where Slurm refuses."""
        title = f"harness-{errands[0].job.recipe.name}"
        try:
            executor = self.submitit.AutoExecutor(
                folder=_logs(errands[0].job),
                cluster=self.options.cluster,
                slurm_max_num_timeout=_TIMEOUTS,
                local_max_num_timeout=_TIMEOUTS,
            )
            executor.update_parameters(**self.options.parameters(title))
            found: list[Any] = executor.map_array(_Cell(), errands)
        except RuntimeError as error:
            told = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise UsageError(f"--executor slurm: the jobs were not taken: {told[0]}") from error
        return found

    def find(self, job: Job, name: str) -> Any:
        """A job that was submitted before."""
        kind = self.submitit.SlurmJob if self.options.cluster == "slurm" else self.submitit.LocalJob
        return kind(folder=_logs(job), job_id=name)

    def is_over(self, job: Any) -> bool:
        """Whether a job is neither at work nor waiting."""
        if self.options.cluster == "slurm" or job._process is not None:
            return bool(job.done())
        return job.paths.result_pickle.exists() or not Path(f"/proc/{job.job_id}").exists()

    def stop(self, job: Any) -> None:
        """Have a job keep what it has and end, and wait until it has."""
        if self.options.cluster == "slurm":
            job.cancel(check=False)
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(job.job_id), signal.SIGTERM)
        while not self.is_over(job):
            time.sleep(_POLL_SECONDS)


def _logs(job: Job) -> Path:
    return afar.folder_of(job).parent / "slurm"


class _Cell:
    """What a job does; submitit asks it what to do when the job is queued again."""

    def __call__(self, errand: afar.Errand) -> None:
        """Do the cell; when submitit's signal comes, keep what is done and have the job queued again."""
        again = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
        requeue: Any = signal.getsignal(again)
        with interrupted_by(signal.SIGTERM, again) as heard:
            try:
                afar.carry_out(errand)
                return
            except KeyboardInterrupt:
                if again not in heard:
                    sys.exit(1)
            requeue(again, None)

    def checkpoint(self, errand: afar.Errand) -> Any:
        """The same again: a cell finds what it has done."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, errand)


@dataclass(kw_only=True)
class _Submitted:
    """A cell that has a job."""

    job: Job
    attempt: int
    handle: Any
    ear: afar.Ear
    begun: float = field(default_factory=time.monotonic)
    # When its job was first found to be over without the cell having told its end.
    silent: float | None = None


def _carry_out(site: _Site, workers: int | None, jobs: Sequence[Job], _: int) -> Generator[Event, None, None]:
    """Carry out jobs; see :class:`harness.executors.base.Executor`."""
    queue = Queue(waiting=list(jobs))
    at_work: list[_Submitted] = []
    for job in jobs:
        before = _before(site, job)
        if before is None:
            continue
        queue.adopt(job)
        if isinstance(before, Ended):
            event = Event(job=job, ended=before)
            queue.hear(event)
            yield event
        else:
            at_work.append(before)
            yield Event(job=job, told=("queued", f"job {before.handle.job_id}, as before"))
    while queue.waiting or at_work:
        new = _submit(site, [(job, 1) for job in _taken(queue, workers, len(at_work))])
        at_work += new
        for one in new:
            yield Event(job=one.job, told=("queued", f"job {one.handle.job_id}"))
        for one in list(at_work):
            for event in _news(site, one, at_work):
                queue.hear(event)
                yield event
        time.sleep(_POLL_SECONDS)


def _taken(queue: Queue, workers: int | None, busy: int) -> list[Job]:
    """Cells to submit now. One that would hold a node only to wait for another's training is kept back."""
    found: list[Job] = []
    while queue.waiting and (workers is None or busy + len(found) < workers):
        job = queue.take_free()
        if job is None:
            break
        found.append(job)
    return found


def _submit(site: _Site, jobs: Sequence[tuple[Job, int]]) -> list[_Submitted]:
    """Submit cells, each with the number of its attempt, and write down where they are."""
    if not jobs:
        return []
    device, cores = site.options.device, site.options.cores
    errands = [
        afar.errand(job, device=device, threads=cores, name=f"slurm-{attempt}.told") for job, attempt in jobs
    ]
    # Jobs of submitit's local cluster are processes of this terminal; and none must be submitted and not written down.
    with deaf():
        handles = site.submit(errands)
        found = []
        for (job, attempt), errand, handle in zip(jobs, errands, handles, strict=True):
            ticket = {
                "job": handle.job_id,
                "cluster": site.options.cluster,
                "attempt": attempt,
                "asked": _asked(site, job),
            }
            files.write_text(afar.folder_of(job) / _TICKET, json.dumps(ticket) + "\n")
            ear = afar.Ear(job=job, path=errand.told)
            found.append(_Submitted(job=job, attempt=attempt, handle=handle, ear=ear))
    return found


def _asked(site: _Site, job: Job) -> str:
    """Digest of all that a job is to do."""
    value = {
        "cell": job.id,
        "recipe": {name: list(value) if isinstance(value, tuple) else value for name, value in _parts(job)},
        "conditions": asdict(job.conditions),
        "device": site.options.device,
        "version": afar.version(),
    }
    return digests.of_value(value)


def _parts(job: Job) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(job.recipe, name)) for name in _ASKED)


def _before(site: _Site, job: Job) -> _Submitted | Ended | None:
    """What an earlier command has submitted for a cell: at work still, or done; None where nothing of use is there.

    A job that does something else than is asked now is stopped first.
    """
    try:
        ticket = json.loads((afar.folder_of(job) / _TICKET).read_text(encoding="utf-8"))
        name, attempt, same = str(ticket["job"]), int(ticket["attempt"]), ticket["asked"] == _asked(site, job)
        if ticket["cluster"] != site.options.cluster:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    ear = afar.Ear(job=job, path=afar.folder_of(job) / f"slurm-{attempt}.told")
    handle = site.find(job, name)
    ended = ear.last_end()
    if ended is None and not site.is_over(handle):
        if same:
            return _Submitted(job=job, attempt=attempt, handle=handle, ear=ear)
        site.stop(handle)
    found = same and ended is not None and ended.status == "done" and (job.folder / "run.json").is_file()
    return ended if found else None


def _news(site: _Site, one: _Submitted, at_work: list[_Submitted]) -> Iterator[Event]:
    """What a cell has told since; one that has ended leaves, and one whose job died is submitted again."""
    yield from one.ear.events()
    if one.ear.ended is not None:
        at_work.remove(one)
        return
    if not site.is_over(one.handle):
        one.silent = None
        return
    one.silent = one.silent or time.monotonic()
    if time.monotonic() - one.silent < _GRACE_SECONDS:
        return
    at_work.remove(one)
    state = str(one.handle.state)
    why = f"its job {one.handle.job_id} ended before it did ({state}); its output is in {one.handle.paths.stderr}"
    of_itself = one.handle.paths.result_pickle.exists() or state.upper().startswith("CANCELLED")
    if one.attempt < ATTEMPTS and not of_itself:
        yield Event(job=one.job, told=("again", one.attempt + 1, why))
        at_work += _submit(site, [(one.job, one.attempt + 1)])
        return
    seconds = time.monotonic() - one.begun
    yield Event(
        job=one.job,
        ended=Ended(status="failed", error=f"{why}; what it had finished is kept", seconds=seconds),
    )
