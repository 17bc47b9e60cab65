"""Cells in worker processes: one that dies, one that is interrupted, one whose starter is gone. Real processes throughout."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.executors import Event, local
from harness.executors.base import Queue, first_free, prefixes
from harness.executors.processes import threads_of
from harness.experiment import Conditions, Job, jobs_of
from harness.recipes import Recipe, RecipeModel
from harness.run import open_run
from harness.stages import Setting, Stage

RECIPE = Recipe(
    name="tiny",
    title="Tiny",
    question="Does it run?",
    models=(RecipeModel(name="small", model="sample"),),
    settings=(Setting(name="baseline"),),
    targets=("tatoeba",),
    languages=("de",),
    seeds=(0, 1, 2),
)
# A plugin of which a cell dies, hangs or tells its process as files beside it say.
PLUGIN = """
import os, signal, sys, time
from pathlib import Path
from dataclasses import replace
from harness import hookimpl
from harness.formats.retrieval import Retrieval
from harness_xtreme.tatoeba import TATOEBA

HERE = Path(__file__).parent

class Odd(Retrieval):
    name = "odd"
    def decode(self, examples, outputs, tuning, neighbours):
        (HERE / f"worker-{os.getpid()}").touch()
        for name, act in ACTS.items():
            if (HERE / name).exists():
                (HERE / name).unlink()
                act()
        return super().decode(examples, outputs, tuning, neighbours)

def wait():
    (HERE / "waiting").touch()
    while True:
        time.sleep(0.05)

ACTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": lambda: os._exit(0),
    "leave": lambda: sys.exit(7),
    "wait": wait,
}

@hookimpl
def harness_tasks():
    return [replace(TATOEBA, name="odd", format=Odd(searches=TATOEBA.format.searches))]
"""


@pytest.fixture
def home(isolated: Callable[..., Path]) -> Path:
    return isolated()


@pytest.fixture
def odd(home: Path, tmp_path: Path) -> Path:
    """The plugin in a folder of its own."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "odd_plugin.py").write_text(PLUGIN, encoding="utf-8")
    return folder


def cells(folder: Path, odd: Path, recipe: Recipe = RECIPE) -> tuple[Job, ...]:
    conditions = Conditions(data="sample", device="cpu", plugins=(str(odd / "odd_plugin.py"),))
    return jobs_of(replace(recipe, targets=("odd",)), conditions, folder)


def ends(events: Sequence[Event]) -> list[tuple[int, str]]:
    """Seed and status of each cell that ended, in that order."""
    return [(event.job.cell.seed, event.ended.status) for event in events if event.ended is not None]


def workers(odd: Path) -> set[int]:
    """Process ids of all workers that came as far as scoring."""
    return {int(path.name.removeprefix("worker-")) for path in odd.glob("worker-*")}


def is_gone(process: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its exit code yet."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        return state == "Z"
    return True


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so; fails when it never is."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.02)


@pytest.mark.full
def test_one_worker_does_all_cells_in_order_and_is_gone_afterwards(odd: Path, tmp_path: Path) -> None:
    jobs = cells(tmp_path / "experiment", odd)
    events = list(local(jobs, ["cpu"]))
    assert ends(events) == [(0, "done"), (1, "done"), (2, "done")]
    assert [event.told for event in events if event.told[:1] == ("started",)] == [("started", "cpu")] * 3
    assert [event.told for event in events if event.told[:1] == ("units",)] == [("units", 1)] * 3
    assert [event.told for event in events if event.told[:1] == ("unit",)] == [("unit", "odd/de")] * 3
    assert len(workers(odd)) == 1
    assert all(is_gone(process) for process in workers(odd))
    assert all(
        {record.unit for record in open_run(job.folder).records} == {("odd", "de", None)} for job in jobs
    )


@pytest.mark.full
def test_two_workers_share_the_cells(odd: Path, tmp_path: Path) -> None:
    """While the first waits in its cell, the second does the others."""
    (odd / "wait").touch()
    jobs = cells(tmp_path / "experiment", odd)
    seen: list[Event] = []
    events = local(jobs, ["cpu", "cpu"])
    for event in events:
        seen.append(event)
        if len(ends(seen)) == 2:
            break
    assert {status for _, status in ends(seen)} == {"done"}
    assert len(workers(odd)) == 2
    events.close()
    assert all(is_gone(process) for process in workers(odd))
    interrupted = [job for job in jobs if job.cell.seed not in dict(ends(seen))]
    assert [open_run(job.folder).manifest["status"] for job in interrupted] == ["interrupted"]


@pytest.mark.full
@pytest.mark.parametrize(
    ("act", "told"),
    [
        ("kill", "was ended by signal SIGKILL (out of memory, perhaps)"),
        ("exit", "ended with code 0"),
        ("leave", "ended with code 7"),
    ],
)
def test_a_worker_that_dies_fails_its_cell_alone_and_another_takes_its_place(
    odd: Path, tmp_path: Path, act: str, told: str
) -> None:
    (odd / act).touch()
    jobs = cells(tmp_path / "experiment", odd)
    events = list(local(jobs, ["cpu"]))
    assert ends(events) == [(0, "failed"), (1, "done"), (2, "done")]
    error = next(event.ended.error for event in events if event.ended is not None)
    assert error == f"its process {told} in the middle; what it had finished is kept"
    assert len(workers(odd)) == 2
    assert ends(list(local(jobs, ["cpu"]))) == [(0, "done"), (1, "done"), (2, "done")]


def test_a_worker_that_dies_before_it_has_read_its_cell_fails_that_cell_alone(
    odd: Path, tmp_path: Path
) -> None:
    """The pipe is closed with the cell still in it, which is another error than an empty one."""
    jobs = cells(tmp_path / "experiment", odd, replace(RECIPE, seeds=(0, 1)))
    seen: list[Event] = []
    for event in local(jobs, ["cpu"]):
        seen.append(event)
        if len(seen) == 1:
            for child in children(os.getpid()):
                os.kill(child, signal.SIGKILL)
    assert ends(seen) == [(0, "failed"), (1, "done")]


def children(process: int) -> list[int]:
    """Worker processes of a process; multiprocessing has one of its own that tracks resources."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = path.read_text(encoding="utf-8").rpartition(")")[2].split()[1]
            command = (path.parent / "cmdline").read_text(encoding="utf-8")
            if int(parent) == process and "spawn_main" in command:
                found.append(int(path.parent.name))
    return found


@pytest.mark.full
def test_a_cell_that_hangs_is_interrupted_when_nobody_wants_more(odd: Path, tmp_path: Path) -> None:
    (odd / "wait").touch()
    (job, *_) = cells(tmp_path / "experiment", odd)
    events = local([job], ["cpu"])
    assert next(events).told == ("started", "cpu")
    wait_for((odd / "waiting").exists)
    events.close()
    assert all(is_gone(process) for process in workers(odd))
    assert open_run(job.folder).manifest["status"] == "interrupted"


@pytest.mark.full
def test_cells_can_be_carried_out_from_another_thread(odd: Path, tmp_path: Path) -> None:
    """Signals are the main thread's business alone; nothing here may need them."""
    seen: list[Event] = []
    jobs = cells(tmp_path / "experiment", odd, replace(RECIPE, seeds=(0,)))
    thread = threading.Thread(target=lambda: seen.extend(local(jobs, ["cpu"])))
    thread.start()
    thread.join()
    assert ends(seen) == [(0, "done")]


# What a terminal, a batch system or a crash does to the process that started the workers

STARTER = """
    import signal, sys
    from pathlib import Path
    from harness.executors import local
    from harness.experiment import Conditions, jobs_of
    from harness.recipes import Recipe, RecipeModel
    from harness.stages import Setting, Stage

    if __name__ == "__main__":
        # Where tests run in the background of a shell, Ctrl-C is ignored, and so it is in all that they start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        hyper = {"": {"epochs": "100000", "batch_size": "8", "learning_rate": "1e-5", "select": "last"}}
        recipe = Recipe(
            name="long", title="Long", question="Does it stop?",
            models=(RecipeModel(name="small", model="sample"),),
            settings=(Setting(name="long", stages=(Stage(tasks=("copa",), hyper=hyper),)),),
            targets=("tatoeba",), languages=("de",),
        )
        for event in local(jobs_of(recipe, Conditions(data="sample", device="cpu"), Path(sys.argv[1])), ["cpu"]):
            print(*event.told, flush=True)
"""


@contextlib.contextmanager
def started(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process group with a starter and its worker in the middle of a long training."""
    program = folder / "starter.py"
    program.write_text(textwrap.dedent(STARTER), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(program), str(folder / "experiment")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("step"):
                break
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("how", ["Ctrl-C", pytest.param("killed", marks=pytest.mark.full)])
def test_a_training_is_kept_when_its_starter_ends(home: Path, tmp_path: Path, how: str) -> None:
    """Ctrl-C goes to the whole group, a kill to the starter alone; both times the worker writes its state and ends."""
    with started(tmp_path) as process:
        (worker,) = children(process.pid)
        if how == "Ctrl-C":
            os.killpg(process.pid, signal.SIGINT)
        else:
            os.kill(process.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=120)
        wait_for(lambda: is_gone(worker))
    if how == "Ctrl-C":
        assert err.count("KeyboardInterrupt") == err.count("Traceback"), err
        assert "spawn_main" not in err, "the worker has told of the interruption too"
    states = list((home / "checkpoints").glob("*.work/state-*"))
    assert len(states) == 1
    assert not list((home / "checkpoints").glob("*.work/.draft-*"))


@pytest.mark.full
def test_a_second_signal_does_not_keep_the_state_from_being_written(home: Path, tmp_path: Path) -> None:
    with started(tmp_path) as process:
        (worker,) = children(process.pid)
        for _ in range(3):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGTERM)
                os.kill(worker, signal.SIGINT)
        wait_for(lambda: is_gone(worker))
    assert len(list((home / "checkpoints").glob("*.work/state-*"))) == 1


# How workers share a machine


def test_workers_on_a_cpu_share_its_cores_and_one_alone_takes_what_it_likes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert threads_of(["cpu"]) is None
    assert threads_of(["cuda:0", "cuda:1"]) is None
    assert [threads_of(["cpu"] * workers) for workers in (2, 3, 8, 20)] == [4, 2, 1, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [threads_of(["cpu"] * workers) for workers in (2, 3)] == [3, 2]


THREADS = """
import os, torch
from pathlib import Path
here = Path(__file__).parent / f"threads-{os.getpid()}"
here.write_text(f"{torch.get_num_threads()} {os.environ.get('OMP_NUM_THREADS')}", encoding="utf-8")
"""


@pytest.mark.full
def test_several_workers_really_take_their_share(
    odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    plugin = odd / "odd_plugin.py"
    plugin.write_text(plugin.read_text(encoding="utf-8") + THREADS, encoding="utf-8")
    cores = len(os.sched_getaffinity(0))
    jobs = cells(tmp_path / "experiment", odd, replace(RECIPE, seeds=(0, 1)))
    assert {status for _, status in ends(list(local(jobs, ["cpu", "cpu"])))} == {"done"}
    share = max(1, cores // 2)
    told = {path.read_text(encoding="utf-8") for path in odd.glob("threads-*")}
    assert told == {f"{share} {share}"}
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_cell_that_would_wait_for_another_process_is_begun_later(odd: Path, tmp_path: Path) -> None:
    copa, siqa = Stage(tasks=("copa",)), Stage(tasks=("siqa",))
    settings = (
        Setting(name="copa", stages=(copa,)),
        Setting(name="copa > siqa", stages=(copa, siqa)),
        Setting(name="siqa", stages=(siqa,)),
        Setting(name="baseline"),
    )
    recipe = replace(RECIPE, settings=settings, seeds=(0,))
    first, chain, single, baseline = cells(tmp_path / "experiment", odd, recipe)
    assert first_free([first, chain, single, baseline], [], set()) == 0
    assert first_free([chain, single, baseline], [first], set()) == 1
    assert first_free([chain, baseline], [first], set()) == 1
    assert first_free([chain], [first], set()) is None
    assert first_free([chain, single], [baseline], {*prefixes(first)}) == 0
    # Another seed is another training.
    other = cells(tmp_path / "experiment", odd, replace(recipe, seeds=(1,)))[1]
    assert first_free([other, single], [first], set()) == 0

    queue = Queue(waiting=[first, chain])
    assert (queue.take_free(), queue.take_free()) == (first, None)
    queue.hear(Event(job=first, told=("training", "copa", 10, 0)))
    assert queue.take_free() is None
    queue.hear(Event(job=first, told=("units", 1)))
    assert queue.take_free() == chain, "what it would have waited for is trained, though that cell goes on"
    busy = Queue(waiting=[first, chain])
    assert (busy.take(), busy.take()) == (first, chain), "a worker that would be idle waits as well"
