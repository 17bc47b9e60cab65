"""Cells as tasks of a Ray cluster: a cell on a GPU takes one GPU, one on a CPU takes cores. Knows jobs; knows no model.

A cell whose worker or node died is begun again, a few times; it goes on from what it had written. A cell that fails of
itself is not. Interrupting the harness stops the cells, which keep what they have.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.executors import afar
from harness.executors.base import ATTEMPTS, Event, Executor, Queue
from harness.experiment import Ended, Job
from harness.signals import interrupted_by

_POLL_SECONDS = 0.25
_ANSWER_SECONDS = 3.0
# Writing the state of a training of a large model may take minutes.
_STOP_SECONDS = 600
# A cluster of one machine that is started for one experiment; cells pass nothing through its object store.
_STORE_BYTES = 100 * 1024 * 1024
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # What Ray would print of the cluster; its log has it too.
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # A cluster that is started here has nothing more important to do than its cells.
    "RAY_worker_niceness": "0",
}

_BEGIN = (
    "'ray start --head' begins one, and --ray-address local starts one on this machine for this command alone"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What one cell takes of a node."""

    cores: int
    gpus: int

    def fits(self, node: Mapping[str, float]) -> int:
        """How many cells a node with these resources can do at a time."""
        by_cores = int(node.get("CPU", 0)) // self.cores
        return min(by_cores, int(node.get("GPU", 0)) // self.gpus) if self.gpus else by_cores


@contextlib.contextmanager
def ray_cluster(*, address: str, device: str, workers: int | None, cores: int | None) -> Iterator[Executor]:
    """Be connected to a Ray cluster.

    Args:
        address: ``auto`` for the one that this machine belongs to, ``local`` for a new one of this machine alone, else
            ``HOST:PORT`` of its head.
        device: ``auto`` for GPUs where the cluster has any, ``cpu`` or ``cuda``.
        workers: Cells at a time; None for as many as the nodes can do, asked anew as they come and go.
        cores: Of each cell; None for a node's cores, divided by its GPUs where cells take GPUs.

    Raises:
        UsageError: Ray is not installed, there is no such cluster, or no node of it can do a cell.
    """
    head = head_of(address)
    ray = _library()
    if head is not None:
        _check_answers(address, head)
    _connect(ray, address)
    try:
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        share = _share(nodes, device, cores)
        kind = "cuda" if share.gpus else "cpu"
        with interrupted_by(signal.SIGTERM):  # Ray has it end this process as if all were well
            yield Executor(device=kind, carry_out=partial(_carry_out, ray, share, workers))
    finally:
        ray.shutdown()


def head_of(address: str) -> tuple[str, int] | None:
    """Host and port of a cluster's head, None for ``auto`` and ``local``; raises UsageError."""
    if "://" in address:
        raise UsageError(
            f"--ray-address {address}: the harness must run on a machine of the cluster; give auto or HOST:PORT"
        )
    if address in ("auto", "local"):
        return None
    match = re.fullmatch(r"([\w.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})", address)
    if match is None or not 1 <= int(match[2]) <= 65_535:
        raise UsageError(
            f"--ray-address '{address}': give auto, local, or HOST:PORT with a port from 1 to 65535, e.g. node1:6379"
        )
    return match[1].strip("[]"), int(match[2])


def _check_answers(address: str, head: tuple[str, int]) -> None:
    """Find out that nothing listens there: Ray tries for half a minute, and logs each try; raises UsageError."""
    try:
        socket.create_connection(head, timeout=_ANSWER_SECONDS).close()
    # The encoding of a host's name for the network refuses some names as a ValueError.
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or error
        raise UsageError(f"--ray-address {address}: no Ray cluster there ({told}); {_BEGIN}") from error


def _library() -> Any:
    """Ray, with its usage statistics off and its messages kept from the terminal."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UsageError(
            f"--executor ray needs Ray ({error}); pip install 'crosslingual-transfer-harness[ray]'"
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    own = {"include_dashboard": False, "object_store_memory": _STORE_BYTES} if address == "local" else {}
    try:
        ray.init(
            address=address,
            logging_level=logging.CRITICAL,
            log_to_driver=False,
            **own,
        )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        told = str(error).strip().splitlines()[0]
        raise UsageError(f"--ray-address {address}: no Ray cluster there ({told}); {_BEGIN}") from error


def _share(nodes: Sequence[Mapping[str, float]], device: str, cores: int | None) -> _Share:
    """What each cell takes, so that a node's cores are shared evenly where nothing else is said."""
    gpus = max((int(node.get("GPU", 0)) for node in nodes), default=0)
    if device == "cuda" and not gpus:
        raise UsageError("--device cuda: no node of the Ray cluster has a GPU")
    on_gpu = device == "cuda" or (device == "auto" and gpus > 0)
    each = [
        int(node["CPU"]) // max(1, int(node.get("GPU", 0)) if on_gpu else 1)
        for node in nodes
        if node.get("CPU", 0) >= 1 and (node.get("GPU", 0) >= 1 or not on_gpu)
    ]
    share = _Share(cores=cores or max(1, min(each, default=1)), gpus=int(on_gpu))
    if not any(share.fits(node) for node in nodes):
        most = max((int(node.get("CPU", 0)) for node in nodes), default=0)
        raise UsageError(
            f"a cell takes {share.cores} cores{' and a GPU' if on_gpu else ''} (--cores), and no node of the Ray cluster "
            f"has so much; the largest of {len(nodes)} has {most} cores"
        )
    return share


@dataclass(kw_only=True)
class _Task:
    """A cell that Ray was asked to do."""

    job: Job
    attempt: int
    ear: afar.Ear
    begun: float = field(default_factory=time.monotonic)


def _carry_out(
    ray: Any, share: _Share, workers: int | None, jobs: Sequence[Job], _: int
) -> Generator[Event, None, None]:
    """Carry out jobs as tasks; see :class:`harness.executors.base.Executor`."""
    queue = Queue(waiting=list(jobs))
    tasks: dict[Any, _Task] = {}
    try:
        while queue.waiting or tasks:
            while queue.waiting and len(tasks) < (workers or _room(ray, share)):
                _submit(ray, share, queue.take(), 1, tasks)
            over, _ = ray.wait(list(tasks), num_returns=len(tasks), timeout=_POLL_SECONDS)
            for event in _news(ray, share, tasks, over):
                queue.hear(event)
                yield event
    finally:
        _stop(ray, tasks)


def _room(ray: Any, share: _Share) -> int:
    """How many cells the nodes that are there now can do at a time; one waits for a node where there is none."""
    return max(1, sum(share.fits(node["Resources"]) for node in ray.nodes() if node["Alive"]))


def _submit(ray: Any, share: _Share, job: Job, attempt: int, tasks: dict[Any, _Task]) -> None:
    errand = afar.errand(
        job, device="cuda" if share.gpus else "cpu", threads=share.cores, name=f"ray-{attempt}.told"
    )
    remote = ray.remote(num_cpus=share.cores, num_gpus=share.gpus, max_retries=0)(_work)
    ref = remote.options(name=job.cell.title).remote(errand)
    tasks[ref] = _Task(job=job, attempt=attempt, ear=afar.Ear(job=job, path=errand.told))


def _work(errand: afar.Errand) -> Ended:
    """What Ray carries out, in the main thread of one of its processes."""
    with interrupted_by(signal.SIGTERM):
        return afar.carry_out(errand)


def _news(ray: Any, share: _Share, tasks: dict[Any, _Task], over: Sequence[Any]) -> Iterator[Event]:
    """What tasks have told since; those that are over leave, and what died is begun again."""
    for ref, task in list(tasks.items()):
        result = _result(ray, ref) if ref in over else None
        yield from task.ear.events()
        if result is None:
            continue
        del tasks[ref]
        ended, why = result
        if task.ear.ended is not None:
            pass  # told already, and true whatever became of its process afterwards
        elif ended is not None:
            yield Event(job=task.job, ended=ended)
        elif task.attempt < ATTEMPTS:
            yield Event(job=task.job, told=("again", task.attempt + 1, why))
            _submit(ray, share, task.job, task.attempt + 1, tasks)
        else:
            error = f"what carried it out died {ATTEMPTS} times, lastly: {why}; what it had finished is kept"
            seconds = time.monotonic() - task.begun
            yield Event(job=task.job, ended=Ended(status="failed", error=error, seconds=seconds))
        _forget(task.ear.path)


def _result(ray: Any, ref: Any) -> tuple[Ended | None, str]:
    """How a task that is over ended; None and why, where what carried it out died."""
    try:
        ended: Ended = ray.get(ref)
        return ended, ""
    except ray.exceptions.RayTaskError as error:
        # The cell tells its own failures, so this is none: the harness is not installed there, for example.
        told = str(error).strip().splitlines()[-1]
        return Ended(status="failed", error=f"a worker could not begin: {told}", stops=True), ""
    except ray.exceptions.RayError as error:
        told = str(error).strip().partition("\n")[0].split(". ")[0]
        return None, f"{type(error).__name__}: {told.removesuffix('.')}"


def _stop(ray: Any, tasks: Mapping[Any, _Task]) -> None:
    """Interrupt what is at work, and wait until it has kept what it has."""
    if not tasks:
        return
    for ref in tasks:
        ray.cancel(ref)
    ray.wait(list(tasks), num_returns=len(tasks), timeout=_STOP_SECONDS)
    for task in tasks.values():
        _forget(task.ear.path)


def _forget(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
        path.parent.rmdir()
