"""Cells on a Ray cluster and as jobs of Slurm: real processes of Ray, and of submitit's local cluster in place of Slurm."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import UsageError
from harness.executors import afar
from harness.executors.base import Event
from harness.executors.ray import _carry_out, _Share, _share, head_of
from harness.executors.slurm import _carry_out as submit_all
from harness.executors.slurmoptions import slurm_options
from harness.experiment import Conditions, Ended, Job, jobs_of
from harness.recipes import Recipe, RecipeModel
from harness.stages import Setting, Stage

RECIPE = """
title: Tiny
question: Does it run anywhere?
models: [sample]
settings:
  - name: baseline
  - each: [copa]
targets: [odd]
languages: [de]
data: sample
stage:
  hyper: {epochs: 2, batch_size: 8, learning_rate: 1e-3, select: last}
"""
# A task of which a cell waits, once, where a file beside it says so.
PLUGIN = """
import os, time
from pathlib import Path
from dataclasses import asdict, replace
from harness import hookimpl
from harness.formats.retrieval import Retrieval
from harness_xtreme.tatoeba import TATOEBA

HERE = Path(__file__).parent

class Odd(Retrieval):
    name = "odd"
    def decode(self, examples, outputs, tuning, neighbours):
        if (HERE / "broken").exists():
            raise RuntimeError("cannot count to three")
        try:
            (HERE / "wait").rename(HERE / "waiting.tmp")
        except FileNotFoundError:
            return super().decode(examples, outputs, tuning, neighbours)
        (HERE / "waiting.tmp").write_text(str(os.getpid()))
        (HERE / "waiting.tmp").rename(HERE / "waiting")
        while True:
            time.sleep(0.05)

@hookimpl
def harness_tasks():
    return [replace(TATOEBA, name="odd", format=Odd(searches=TATOEBA.format.searches))]
"""


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with the plugin and the recipe."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "odd_plugin.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


def command(odd: Path, out: Path, *arguments: object) -> list[str]:
    given = ("run", odd / "tiny.yaml", "-p", odd / "odd_plugin.py", "-o", out, *arguments)
    return [sys.executable, "-m", "harness", *map(str, given)]


def records(out: Path) -> dict[str, bytes]:
    """Records and predictions of all cells."""
    paths = [*(out / "runs").rglob("records.jsonl"), *(out / "runs").rglob("*.parquet")]
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(paths)}


def statuses(out: Path) -> list[str]:
    told = json.loads((out / "experiment.json").read_text(encoding="utf-8"))
    return [cell["status"] for cell in told["cells"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A program at work. It writes into files: a pipe would stay open as long as jobs that outlive it."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so; fails when the program ends before, with what it said."""
        until = time.monotonic() + 900
        while not condition():
            assert self.process.poll() is None, f"it ended before: {self.err.read_text(encoding='utf-8')}"
            assert time.monotonic() < until, "it never happened"
            time.sleep(0.05)

    def end(self) -> tuple[int, str, str]:
        """Its exit code, and what it said on standard output and standard error."""
        code = self.process.wait(timeout=900)
        return code, self.out.read_text(encoding="utf-8"), self.err.read_text(encoding="utf-8")


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[list[str]], Started]]:
    """Starts a program in a process group of its own, which is gone when the test is over."""
    running: list[Started] = []

    def start(arguments: list[str]) -> Started:
        out, err = (tmp_path / f"{len(running)}.{kind}" for kind in ("out", "err"))
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = subprocess.Popen(arguments, stdout=to_out, stderr=to_err, start_new_session=True)
        running.append(Started(process=process, out=out, err=err))
        return running[-1]

    yield start
    for one in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()


@pytest.fixture
def local_records(
    isolated: Callable[..., Path], odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, bytes]:
    """What the experiment gives in a process of this machine with one thread, and with a cache of its own."""
    # Sums in a training depend on the number of threads in their last bits.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    isolated("home-local")
    out = tmp_path / "local"
    done = subprocess.run(command(odd, out), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = records(out)
    assert len(found) == 8
    return found


# On a Ray cluster


def ray_is_installed() -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed; pip install 'crosslingual-transfer-harness[ray]'")


CLUSTER = """
import json, sys
from ray.cluster_utils import Cluster

small = {"object_store_memory": 80 * 1024 * 1024, "include_log_monitor": False}
head = {"num_cpus": 0, "include_dashboard": False, "no_monitor": True, **small}
cluster = Cluster(initialize_head=True, head_node_args=head)
nodes = [cluster.add_node(num_cpus=1, **small) for _ in range(2)]
raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def cluster(isolated: Callable[..., Path], tmp_path: Path) -> Iterator[Mapping[str, Any]]:
    """A head that does nothing and two nodes with a core each: an address, and the processes that are the nodes."""
    ray_is_installed()
    settings = {
        "USAGE_STATS_ENABLED": "0",
        "worker_niceness": "0",
        "prestart_worker_first_driver": "0",
        "raylet_start_wait_time_s": "120",
        "agent_register_timeout_ms": "900000",
    }
    log = tmp_path / "cluster.log"
    with (
        log.open("w", encoding="utf-8") as stream,
        subprocess.Popen(
            [sys.executable, "-c", CLUSTER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
            env={**os.environ, **{f"RAY_{name}": value for name, value in settings.items()}},
        ) as process,
    ):
        assert process.stdout is not None
        told = next((line for line in process.stdout if line.startswith("{")), "")
        assert told, f"the cluster did not start: {log.read_text(encoding='utf-8')}"
        yield json.loads(told)
        process.communicate(input="", timeout=900)


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])


@pytest.mark.full
def test_an_experiment_outlives_a_node_of_a_ray_cluster(
    cluster: Mapping[str, Any],
    local_records: Mapping[str, bytes],
    isolated: Callable[..., Path],
    odd: Path,
    tmp_path: Path,
    started: Callable[[list[str]], Started],
) -> None:
    """A node is killed, raylet and workers, while one of its cells is at work; the other node takes it up."""
    isolated("home-ray")
    (odd / "wait").touch()
    out = tmp_path / "ray"
    program = started(command(odd, out, "--executor", "ray", "--ray-address", cluster["address"]))
    program.wait_for((odd / "waiting").exists)
    worker = int((odd / "waiting").read_text(encoding="utf-8"))
    raylet = parent(worker)
    assert raylet in cluster["raylets"]
    os.kill(raylet, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker, signal.SIGKILL)
    code, told, err = program.end()
    assert code == 0, err
    assert "begun again, attempt 2 of 3: " in err
    assert statuses(out) == ["done", "done"]
    assert records(out) == local_records
    assert told == f"experiment: {out}\nreport:     {out / 'report.html'}\n"
    assert all(line.startswith("harness:") for line in err.splitlines()), "Ray's own messages are shown"
    assert not list((out / ".cells").iterdir())

    # A cell that fails of itself is not begun again; interrupted, another keeps what it has.
    (odd / "broken").touch()
    broken = command(odd, tmp_path / "broken", "--executor", "ray", "--ray-address", cluster["address"])
    failed = subprocess.run(broken, check=False, capture_output=True, text=True)
    assert failed.returncode == 3, failed.stderr
    assert "begun again" not in failed.stderr
    assert statuses(tmp_path / "broken") == ["partial", "partial"]
    (odd / "broken").unlink()
    (odd / "waiting").unlink()
    (odd / "wait").touch()
    program = started(broken)
    program.wait_for((odd / "waiting").exists)
    program.process.send_signal(signal.SIGINT)
    code, _, err = program.end()
    assert code == 130, err
    runs = [json.loads(path.read_text("utf-8"))["status"] for path in tmp_path.glob("broken/runs/*/run.json")]
    assert "interrupted" in runs


class FakeRay:
    """As much of Ray as the executor uses: tasks are over at once and end as they are told to."""

    class exceptions:
        class RayError(Exception):
            """What carried a task out died."""

        class RayTaskError(RayError):
            """The function raised."""

    def __init__(self, *ends: Callable[[afar.Errand], Ended]) -> None:
        self.ends = list(ends)
        self.asked: list[afar.Errand] = []
        self.stopped: list[int] = []

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "Resources": {"CPU": 1.0}}, {"Alive": False, "Resources": {"CPU": 64.0}}]

    def remote(self, *_: object, **__: object) -> Any:
        def submit(errand: afar.Errand) -> int:
            self.asked.append(errand)
            return len(self.asked) - 1

        task = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=submit))
        return lambda _: task

    def wait(self, refs: list[int], **_: object) -> tuple[list[int], list[int]]:
        return [ref for ref in refs if ref not in self.stopped], []

    def get(self, ref: int) -> Ended:
        return self.ends.pop(0)(self.asked[ref])

    def cancel(self, ref: int) -> None:
        self.stopped.append(ref)


def dies(_: afar.Errand) -> Ended:
    raise FakeRay.exceptions.RayError("The node died. It had a name.")


def raises(_: afar.Errand) -> Ended:
    raise FakeRay.exceptions.RayTaskError("Traceback\nModuleNotFoundError: no harness")


def ends_well(errand: afar.Errand) -> Ended:
    afar.say(errand.told, ("started", "cpu of a"))
    return Ended(status="done")


def tells_its_end_and_dies(errand: afar.Errand) -> Ended:
    afar.say(errand.told, ("ended", asdict(Ended(status="done"))))
    return dies(errand)


def events_of(ray: FakeRay, *jobs: Job) -> list[Event]:
    return list(_carry_out(ray, _Share(cores=1, gpus=0), None, jobs, 1))


def test_a_cell_whose_node_died_is_begun_again_and_no_more_than_three_times(job: Job) -> None:
    ray = FakeRay(dies, ends_well)
    again, began, ended = events_of(ray, job)
    assert again.told == ("again", 2, "RayError: The node died")
    assert began.told == ("started", "cpu of a")
    assert ended.ended == Ended(status="done")
    assert [errand.told.name for errand in ray.asked] == ["ray-1.told", "ray-2.told"]
    *before, last = events_of(FakeRay(dies, dies, dies), job)
    assert [event.told[:2] for event in before] == [("again", 2), ("again", 3)]
    assert last.ended is not None
    assert (last.ended.status, last.ended.stops) == ("failed", False)
    assert "died 3 times, lastly: RayError: The node died; what it had finished is kept" in last.ended.error


def test_a_cell_that_could_not_begin_stops_the_experiment_and_is_not_begun_again(job: Job) -> None:
    (event,) = events_of(FakeRay(raises), job)
    assert event.ended is not None
    assert (event.ended.error, event.ended.stops) == (
        "a worker could not begin: ModuleNotFoundError: no harness",
        True,
    )


def test_a_cell_that_told_its_end_has_ended_whatever_became_of_its_node(job: Job) -> None:
    ray = FakeRay(tells_its_end_and_dies)
    assert [event.ended for event in events_of(ray, job)] == [Ended(status="done")]
    assert len(ray.asked) == 1


def test_cells_are_asked_for_one_by_one_where_a_cluster_does_one_at_a_time_and_stopped_on_close(
    job: Job,
) -> None:
    other = replace(job, folder=job.folder.with_name("other"))
    ray = FakeRay(ends_well, ends_well)
    assert [event.job for event in events_of(ray, job, other) if event.ended] == [job, other]
    ray = FakeRay(dies)
    events = _carry_out(ray, _Share(cores=1, gpus=0), None, [job, other], 1)
    assert next(events).told[:1] == ("again",)
    events.close()
    assert (len(ray.asked), ray.stopped) == (1, []), "nothing is at work between two attempts"


def test_a_cell_takes_its_share_of_a_node() -> None:
    head, small, large = {"CPU": 0.0}, {"CPU": 8.0}, {"CPU": 64.0, "GPU": 4.0}
    assert (_share([head, small], "auto", None).cores, _share([head, small], "auto", None).gpus) == (8, 0)
    on_gpus = _share([head, small, large], "auto", None)
    assert (on_gpus.cores, on_gpus.gpus) == (16, 1)
    assert [on_gpus.fits(node) for node in (head, small, large)] == [0, 0, 4]
    on_cpus = _share([head, small, large], "cpu", 4)
    assert [on_cpus.fits(node) for node in (head, small, large)] == [0, 2, 16]
    with pytest.raises(UsageError, match="no node of the Ray cluster has a GPU"):
        _share([head, small], "cuda", None)
    with pytest.raises(UsageError, match=r"a cell takes 65 cores and a GPU .* the largest of 2 has 64 cores"):
        _share([head, large], "auto", 65)


# As jobs of Slurm

LOCAL_SLURM = ("--executor", "slurm", "--slurm", "cluster=local")


def submitit_is_installed() -> None:
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("submitit is not installed; pip install 'crosslingual-transfer-harness[slurm]'")


@pytest.mark.full
def test_jobs_outlive_the_harness_a_preemption_and_a_kill(
    local_records: Mapping[str, bytes],
    isolated: Callable[..., Path],
    odd: Path,
    tmp_path: Path,
    started: Callable[[list[str]], Started],
) -> None:
    """The harness is interrupted and asked again; a job is preempted, queued again, and killed; another one ends it."""
    submitit_is_installed()
    isolated("home-slurm")
    out = tmp_path / "slurm"
    asked = command(odd, out, *LOCAL_SLURM)
    (odd / "wait").touch()
    program = started(asked)
    program.wait_for((odd / "waiting").exists)
    first = int((odd / "waiting").read_text(encoding="utf-8"))
    os.killpg(program.process.pid, signal.SIGINT)
    code, _, err = program.end()
    assert code == 130, err
    assert "go on; the same command finds them again" in err
    assert not is_gone(first)

    (odd / "waiting").unlink()
    (odd / "wait").touch()
    program = started(asked)
    program.wait_for(lambda: ", as before" in program.err.read_text(encoding="utf-8"))
    os.kill(first, signal.SIGUSR2)
    program.wait_for((odd / "waiting").exists)
    second = int((odd / "waiting").read_text(encoding="utf-8"))
    assert second != first, "the job was not queued again"
    controller = parent(second)
    for killed in (controller, second):
        os.kill(killed, signal.SIGKILL)
    code, told, err = program.end()
    assert code == 0, err
    assert "as before" in err
    assert "begun again, attempt 2 of 3: its job " in err
    assert told == f"experiment: {out}\nreport:     {out / 'report.html'}\n"
    assert records(out) == local_records

    again = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "queued" not in again.stderr, "what is done is submitted again"
    assert again.stderr.splitlines()[-1] == "harness: 2 of 2 cells done"


def is_gone(process: int) -> bool:
    return not Path(f"/proc/{process}").exists()


class FakeSite:
    """A Slurm whose jobs write what they are told to write, and are over at once unless they hang."""

    def __init__(self, folder: Path, *acts: Callable[[afar.Errand], object]) -> None:
        self.options = slurm_options([], device="cpu", cores=None)
        self.folder, self.acts = folder, list(acts)
        self.arrays: list[list[str]] = []
        self.at_work: set[str] = set()
        self.stopped: list[str] = []
        self.state = "NODE_FAIL"

    def submit(self, errands: Sequence[afar.Errand]) -> list[Any]:
        first = sum(map(len, self.arrays))
        self.arrays.append([str(first + number) for number in range(len(errands))])
        for name, errand in zip(self.arrays[-1], errands, strict=True):
            if self.acts.pop(0)(errand) is HANGS:
                self.at_work.add(name)
        return [self.find(errands[0].job, name) for name in self.arrays[-1]]

    def find(self, _: Job, name: str) -> Any:
        paths = SimpleNamespace(result_pickle=self.folder / f"{name}.pkl", stderr=self.folder / f"{name}.err")
        return SimpleNamespace(job_id=name, state=self.state, paths=paths)

    def is_over(self, handle: Any) -> bool:
        return handle.job_id not in self.at_work

    def stop(self, handle: Any) -> None:
        self.stopped.append(handle.job_id)
        self.at_work.discard(handle.job_id)


HANGS = object()


def hangs(errand: afar.Errand) -> object:
    afar.say(errand.told, ("started", "cpu of a"))
    return HANGS


def is_done(errand: afar.Errand) -> object:
    errand.job.folder.mkdir(parents=True, exist_ok=True)
    (errand.job.folder / "run.json").write_text("{}", encoding="utf-8")
    afar.say(errand.told, ("ended", asdict(Ended(status="done", seconds=1.0))))
    return errand


def vanishes(_: afar.Errand) -> object:
    """A node that fails."""


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.executors.slurm._POLL_SECONDS", 0.01)
    monkeypatch.setattr("harness.executors.slurm._GRACE_SECONDS", 0.0)


def submitted(site: FakeSite, *jobs: Job) -> Generator[Event, None, None]:
    return submit_all(cast("Any", site), None, jobs, 1)


@pytest.mark.usefixtures("at_once")
def test_a_job_that_died_is_submitted_again_and_no_more_than_three_times(job: Job, tmp_path: Path) -> None:
    site = FakeSite(tmp_path, vanishes, is_done)
    told = list(submitted(site, job))
    assert [event.told[:2] for event in told] == [("queued", "job 0"), ("again", 2), ()]
    assert told[-1].ended == Ended(status="done", seconds=1.0)
    (job.folder / "run.json").unlink()
    told = list(submitted(FakeSite(tmp_path, vanishes, vanishes, vanishes), job))
    assert [event.told[:1] for event in told] == [("queued",), ("again",), ("again",), ()]
    assert told[-1].ended is not None
    assert told[-1].ended.error.startswith("its job 2 ended before it did (NODE_FAIL); its output is in ")


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("how", ["cancelled", "raised"])
def test_a_job_that_was_cancelled_or_failed_of_itself_is_not_submitted_again(
    job: Job, tmp_path: Path, how: str
) -> None:
    site = FakeSite(tmp_path, vanishes)
    if how == "cancelled":
        site.state = "CANCELLED by 1000"
    else:
        (tmp_path / "0.pkl").touch()
    *_, last = submitted(site, job)
    assert last.ended is not None
    assert last.ended.status == "failed"
    assert len(site.arrays) == 1


@pytest.mark.usefixtures("at_once")
def test_a_harness_that_comes_back_finds_its_jobs(job: Job, tmp_path: Path) -> None:
    """One is done meanwhile, one is at work still; where something else is asked, that one is stopped first."""
    other = replace(job, folder=job.folder.with_name("other"))
    site = FakeSite(tmp_path, is_done, hangs)
    events = submitted(site, job, other)
    assert next(events).told == ("queued", "job 0")
    events.close()
    assert site.arrays == [["0", "1"]], "not one array"

    events = submitted(site, job, other)
    assert next(events).ended == Ended(status="done", seconds=1.0)
    assert next(events).told == ("queued", "job 1, as before")
    assert next(events).told == ("started", "cpu of a")
    events.close()

    changed = replace(other, recipe=replace(other.recipe, languages=("de", "fr")))
    site.acts.append(is_done)
    told = list(submitted(site, changed))
    assert (site.stopped, site.arrays) == (["1"], [["0", "1"], ["2"]])
    assert told[-1].ended == Ended(status="done", seconds=1.0)


@pytest.mark.usefixtures("at_once")
def test_a_cell_that_would_wait_for_the_training_of_another_is_not_submitted_yet(
    job: Job, tmp_path: Path
) -> None:
    def with_stages(name: str, *tasks: str) -> Job:
        stages = tuple(Stage(tasks=(task,)) for task in tasks)
        cell = replace(job.cell, setting=Setting(name=name, stages=stages))
        return replace(job, cell=cell, folder=job.folder.with_name(name))

    site = FakeSite(tmp_path, is_done, is_done, is_done)
    told = list(submitted(site, with_stages("a", "copa"), with_stages("b", "copa", "siqa"), job))
    assert site.arrays == [["0", "1"], ["2"]]
    assert [event.job.folder.name for event in told if event.ended] == ["a", job.folder.name, "b"]


def test_values_of_slurm_become_parameters_of_a_job() -> None:
    given = ["partition=long", "time=1-00:00:00", "gpus=1", "memory=64"]
    options = slurm_options(given, device="auto", cores=8)
    assert options.device == "cuda"
    assert options.parameters("harness-tiny") == {
        "name": "harness-tiny",
        "timeout_min": 1440,
        "mem_gb": 64.0,
        "cpus_per_task": 8,
        "gpus_per_node": 1,
        "slurm_signal_delay_s": 300,
        "slurm_partition": "long",
    }
    plain = slurm_options([], device="auto", cores=None)
    assert (plain.device, plain.cluster, plain.minutes) == ("cpu", "slurm", 60)
    assert slurm_options([], device="cuda", cores=None).device == "cuda"


def test_slurm_takes_the_parameters(tmp_path: Path) -> None:
    """submitit's own check of names and types, without a Slurm."""
    submitit_is_installed()
    from submitit.slurm.slurm import _make_sbatch_string

    parameters = slurm_options(["gpus=1", "qos=high", "account=me"], device="auto", cores=2).parameters("x")
    renamed = {"name": "job_name", "timeout_min": "time", "mem_gb": "mem"}
    given = {renamed.get(name, name.removeprefix("slurm_")): value for name, value in parameters.items()}
    text = _make_sbatch_string(command="true", folder=tmp_path, **given)
    for line in ("--time=60", "--gpus-per-node=1", "--cpus-per-task=2", "--qos=high", "--signal=USR2@300"):
        assert f"#SBATCH {line}" in text


@pytest.mark.parametrize(
    ("texts", "device", "said"),
    [
        (["time"], "auto", "--slurm time: give KEY=VALUE with one of account "),
        (["nodes=3"], "auto", "--slurm nodes=3: give KEY=VALUE with one of account "),
        (["time=soon"], "auto", "--slurm time=soon: give minutes, or"),
        (["time=0"], "auto", "--slurm time=0: give minutes, or"),
        (["memory=32G"], "auto", "--slurm memory=32G: give GiB"),
        (["gpus=2"], "auto", "--slurm gpus=2: give 0 or 1"),
        (["gpus=0"], "cuda", "--device cuda does not go with --slurm gpus=0"),
        (["time=1", "time=2"], "auto", "--slurm time is given twice, as 1 and 2"),
    ],
)
def test_a_value_of_slurm_that_is_not_allowed_is_refused(texts: list[str], device: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        slurm_options(texts, device=device, cores=None)
    assert str(error.value).startswith(said)


# What is not there


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--ray-address", "auto"), "--ray-address goes with --executor ray only"),
        (("--executor", "ray", "--slurm", "time=1"), "--slurm goes with --executor slurm only"),
        (("--cores", "2"), "--cores goes with --executor ray or slurm only"),
        (
            ("--executor", "ray", "--device", "cuda:1"),
            "--device cuda:1: --executor ray gives each cell its device",
        ),
        (("--executor", "slurm", "--slurm", "x=1"), "--slurm x=1: give KEY=VALUE"),
        (("--ray-address", ""), "--ray-address goes with --executor ray only"),
        (("--executor", "ray", "--ray-address", ""), "--ray-address '': give auto, local, or HOST:PORT"),
        (
            ("--executor", "ray", "--ray-address", "foo"),
            "--ray-address 'foo': give auto, local, or HOST:PORT",
        ),
        (
            ("--executor", "ray", "--ray-address", "a:0"),
            "--ray-address 'a:0': give auto, local, or HOST:PORT",
        ),
        (
            ("--executor", "ray", "--ray-address", "host:99999"),
            "--ray-address 'host:99999': give auto, local, or",
        ),
        (
            ("--executor", "ray", "--ray-address", "ray://a:1"),
            "--ray-address ray://a:1: the harness must run on",
        ),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_options_that_do_not_go_together_are_one_line(
    cli: Callable[..., Any], odd: Path, arguments: tuple[str, ...], said: str, dry: tuple[str, ...]
) -> None:
    told = cli("run", odd / "tiny.yaml", "-p", odd / "odd_plugin.py", *arguments, *dry)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(f"harness: {said}")
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [("--executor", "ray", "--ray-address", "nowhere:1"), ("--executor", "slurm")]
)
def test_a_plan_needs_no_cluster(
    cli: Callable[..., Any],
    odd: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    for module in ("ray", "submitit"):
        monkeypatch.setitem(sys.modules, module, None)
    given = ("run", odd / "tiny.yaml", "-p", odd / "odd_plugin.py", "-o", tmp_path / "out", "--dry-run")
    here = cli(*given, "--device", "cpu")
    there = cli(*given, *arguments)
    assert (there.code, there.out) == (0, here.out), there.err
    assert ("the Ray cluster was not asked" in there.err) == ("ray" in arguments)


def test_a_head_that_does_not_answer_is_told_before_ray_is_asked(
    cli: Callable[..., Any], odd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening, so that nobody else takes it
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        given = ("run", odd / "tiny.yaml", "-p", odd / "odd_plugin.py", "--executor", "ray")
        told = cli(*given, "--ray-address", address)
    assert (told.code, told.out) == (2, "")
    assert told.err.startswith(
        f"harness: --ray-address {address}: no Ray cluster there (Connection refused); "
    )
    assert len(told.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("address", "head"),
    [
        ("auto", None),
        ("local", None),
        ("node-1.site:6379", ("node-1.site", 6379)),
        ("[::1]:65535", ("::1", 65_535)),
    ],
)
def test_an_address_is_a_word_or_a_head(address: str, head: tuple[str, int] | None) -> None:
    assert head_of(address) == head


@pytest.mark.parametrize(("name", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_library_that_is_missing_is_one_line(
    cli: Callable[..., Any], odd: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    told = cli("run", odd / "tiny.yaml", "-p", odd / "odd_plugin.py", "--executor", name)
    assert (told.code, told.out) == (2, "")
    assert f"pip install 'crosslingual-transfer-harness[{name}]'" in told.err
    assert len(told.err.splitlines()) == 1


def test_without_slurm_it_says_so(
    cli: Callable[..., Any], odd: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    submitit_is_installed()
    monkeypatch.setenv("PATH", str(tmp_path))
    told = cli("run", odd / "tiny.yaml", "-p", odd / "odd_plugin.py", "--executor", "slurm")
    assert told.code == 2
    assert told.err.startswith("harness: --executor slurm: no srun here; ")


# What another machine must share, and how it tells


@pytest.fixture
def job(isolated: Callable[..., Path], tmp_path: Path) -> Job:
    isolated()
    recipe = Recipe(
        name="tiny",
        title="Tiny",
        question="Does it run?",
        models=(RecipeModel(name="small", model="sample"),),
        settings=(Setting(name="baseline"),),
        targets=("tatoeba",),
        languages=("de",),
    )
    return jobs_of(recipe, Conditions(data="sample", device="cpu"), tmp_path / "experiment")[0]


def test_a_machine_that_does_not_share_a_folder_says_which(job: Job, tmp_path: Path) -> None:
    asked = afar.errand(job, device="cpu", threads=1, name="ray-1.told")
    other = tmp_path / "other"
    for changed, words in (
        (replace(asked, told=other / "x" / "y" / "told"), f"the experiment's folder {other}"),
        (replace(asked, cache=other), f"the cache {other} (HARNESS_HOME)"),
        (replace(asked, mark="of another cache"), f"the cache {asked.cache} (HARNESS_HOME)"),
        (replace(asked, folder=other), f"the folder {other}, in which the command was given"),
    ):
        ended = afar.carry_out(changed)
        assert (ended.status, ended.stops) == ("failed", True)
        assert f"does not see {words}" in ended.error
    ended = afar.carry_out(replace(asked, version="0.0"))
    assert ended.stops
    assert "the harness that asks is 0.0" in ended.error


def test_no_token_leaves_this_process(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slurm's errands lie in a folder that others read."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HF_HOME", "somewhere")
    settings = afar.errand(job, device="cpu", threads=1, name="ray-1.told").settings
    assert settings["HF_HOME"] == "somewhere"
    assert "hf_secret" not in settings.values()


def test_a_cache_has_one_mark(job: Job) -> None:
    first, second = (afar.errand(job, device="cpu", threads=1, name=f"ray-{n}.told") for n in (1, 2))
    assert len(first.mark) == 32
    assert second.mark == first.mark
    assert [path.name for path in first.cache.glob(".identity*")] == [".identity"]


def test_a_cell_tells_its_steps_and_its_end_in_a_file(job: Job) -> None:
    asked = afar.errand(job, device="cpu", threads=None, name="ray-1.told")
    ended = afar.carry_out(asked)
    assert ended.status == "done", ended.error
    ear = afar.Ear(job=asked.job, path=asked.told)
    told = list(ear.events())
    assert [event.told[0] for event in told if event.told] == ["started", "units", "unit"]
    assert ear.ended == told[-1].ended == ended
    assert list(ear.events()) == []


def test_lines_are_heard_once_and_whole(job: Job, tmp_path: Path) -> None:
    path = tmp_path / "told"
    ear = afar.Ear(job=job, path=path)
    assert list(ear.events()) == []
    path.write_bytes(b'["step", 1]\n["step"')
    assert list(ear.events()) == [Event(job=job, told=("step", 1))]
    with path.open("ab") as stream:
        # Its writer died in the middle, and the one that took the cell up wrote on.
        stream.write(b'["started", "cpu of b"]\n["step", 2]\n')
    assert list(ear.events()) == [Event(job=job, told=("step", 2))]
    ended = Ended(status="partial", error="Größe", seconds=1.5)
    afar.say(path, ("ended", {"status": "partial", "error": "Größe", "seconds": 1.5, "stops": False}))
    assert list(ear.events()) == [Event(job=job, ended=ended)]
    assert afar.Ear(job=job, path=path).last_end() == ended
