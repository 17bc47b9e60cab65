"""Carries out the cells of an experiment in processes of this machine, one per device. Knows jobs; knows no model.

A worker process does one cell after the other. If it dies, its cell has failed, and a new one takes its place. Ctrl-C in a
terminal goes to every process, so workers are deaf to it: the process that started them tells each of them to stop, once,
and a worker whose starter has died stops of its own accord. A worker that is stopped keeps what it has. Workers that
compute on the CPU share its cores evenly.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from harness.executors.base import Event, Executor, Queue
from harness.experiment import Ended, Job
from harness.signals import deaf
from harness.telling import Teller

# Writing the state of a training of a large model may take minutes.
_STOP_SECONDS = 600
_THREADS, _WAITING = "OMP_NUM_THREADS", "OMP_WAIT_POLICY"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Threads:
    """How a process on the CPU computes: with so many threads, None for as many as it likes; whether cores are too few."""

    number: int | None
    crowded: bool


@dataclass(kw_only=True)
class _Worker:
    """A process and what it is doing."""

    device: str
    process: Any
    pipe: Connection
    job: Job | None = None
    begun: float = field(default_factory=time.monotonic)


def processes(devices: Sequence[str]) -> Executor:
    """Processes of this machine, one for each of the devices."""
    return Executor(
        device=devices[0].partition(":")[0],
        carry_out=lambda jobs, sharing: local(jobs, devices, sharing),
        processes=len(devices),
    )


def local(
    jobs: Sequence[Job], devices: Sequence[str], sharing: int | None = None
) -> Generator[Event, None, None]:
    """Carry out jobs, one process per device, and tell what happens as it does.

    Args:
        jobs: In the order in which they are begun; with several processes, one that would have to wait for what another
            process is training is begun later where there is another one to do.
        devices: One process for each, e.g. ``["cpu"]`` or ``["cuda:0", "cuda:1"]``.
        sharing: Processes that share the cores of the CPU, None for these. Training comes out the same to the last bit only
            with the same number of threads, so an experiment goes on with the shares that it began with.
    """
    queue = Queue(waiting=list(jobs))
    devices = list(devices[: max(1, len(jobs))])
    cpus = devices.count("cpu")
    threads = _Threads(
        number=threads_of(["cpu"] * (sharing or cpus)), crowded=sharing is not None and cpus > sharing
    )
    workers = [_start(device, threads) for device in devices]
    try:
        while queue.waiting or any(worker.job is not None for worker in workers):
            for number, worker in enumerate(workers):
                if worker.job is None and queue.waiting:
                    if not worker.process.is_alive():
                        worker = workers[number] = _start(worker.device, threads)
                    worker.job = queue.take()
                    worker.begun = time.monotonic()
                    with contextlib.suppress(OSError):  # it has died since; the sentinel tells
                        worker.pipe.send(_on(worker.job, worker.device))
                    yield Event(job=worker.job, told=("started", worker.device))
            busy = [worker for worker in workers if worker.job is not None]
            ready = wait([worker.pipe for worker in busy] + [worker.process.sentinel for worker in busy])
            for worker in busy:
                if worker.pipe in ready or worker.process.sentinel in ready:
                    for event in _heard(worker):
                        queue.hear(event)
                        yield event
    finally:
        for worker in workers:
            _stop(worker)
        for worker in workers:
            _end(worker)


def threads_of(devices: Sequence[str]) -> int | None:
    """How many threads each of several processes on the CPU takes, so that they share its cores; None for one alone.

    No more than ``OMP_NUM_THREADS`` allows, where it is set.
    """
    workers = sum(device == "cpu" for device in devices)
    if workers < 2:
        return None
    given = os.environ.get(_THREADS, "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = max(1, cores // workers)
    return min(share, int(given)) if given.isdecimal() and int(given) else share


def _on(job: Job, device: str) -> Job:
    return replace(job, conditions=replace(job.conditions, device=device))


def _heard(worker: _Worker) -> Iterator[Event]:
    """What a worker has told since, and the end of its cell."""
    job = worker.job
    assert job is not None
    try:
        while worker.pipe.poll():
            told = worker.pipe.recv()
            if told[0] == "ended":
                worker.job = None
                yield Event(job=job, ended=told[1])
                return
            yield Event(job=job, told=told)
    except (EOFError, OSError):  # it has died, perhaps in the middle of a message
        _end(worker)
    if not worker.process.is_alive():
        worker.job = None
        error = f"its process {_how(worker)} in the middle; what it had finished is kept"
        seconds = time.monotonic() - worker.begun
        yield Event(job=job, ended=Ended(status="failed", error=error, seconds=seconds))


def _how(worker: _Worker) -> str:
    """How a process ended, in words."""
    code = worker.process.exitcode
    if code is None or code >= 0:
        return f"ended with code {code}"
    known = {number.value: number.name for number in signal.Signals}
    perhaps = " (out of memory, perhaps)" if -code == signal.SIGKILL else ""
    return f"was ended by signal {known.get(-code, -code)}{perhaps}"


def _start(device: str, threads: _Threads) -> _Worker:
    own = threads if device == "cpu" else _Threads(number=None, crowded=False)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, own.number), daemon=False)
    # From its birth the child is deaf too, and libraries read the number of threads when they are loaded.
    with deaf(), _limited(own):
        process.start()
    theirs.close()
    return _Worker(device=device, process=process, pipe=ours)


@contextlib.contextmanager
def _limited(threads: _Threads) -> Iterator[None]:
    """Within, a process that is started takes so many threads, which sleep where others wait for their core."""
    wanted = {_WAITING: "PASSIVE"} if threads.crowded else {}
    if threads.number is not None:
        wanted[_THREADS] = str(threads.number)
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _stop(worker: _Worker) -> None:
    """Let an idle process go; interrupt one that is at work."""
    if worker.job is not None:
        worker.process.terminate()
        return
    with contextlib.suppress(OSError):
        worker.pipe.send(None)


def _end(worker: _Worker) -> None:
    """Wait for a process that has been told to stop, or that has died."""
    worker.process.join(timeout=_STOP_SECONDS)
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()


def _work(pipe: Connection, threads: int | None) -> None:
    """The loop of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_stop_without_starter, daemon=True).start()
    try:
        while True:
            job = pipe.recv()
            if job is None:
                return
            # Torch comes with this, and only here.
            from harness.cellwork import carry_out
            from harness.engine.hardware import limit_threads

            limit_threads(threads)
            pipe.send(("ended", carry_out(job, Teller(pipe.send))))
    except (KeyboardInterrupt, EOFError, OSError):
        return


def _interrupt(number: int, _frame: object) -> None:
    """Stop as with Ctrl-C, once: a second signal must not keep the state from being written."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _stop_without_starter() -> None:
    """Stop this process when the one that started it is gone, so that nobody works on for nobody."""
    starter = multiprocessing.parent_process()
    if starter is not None:
        starter.join()
        os.kill(os.getpid(), signal.SIGTERM)
