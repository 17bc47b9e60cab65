"""Cells as jobs of Slurm: submitit's local cluster in its place, and a stand-in for what a site may do."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from farruns import Started, command, parent, records

from harness.errors import UsageError
from harness.executors import afar
from harness.executors.base import Event
from harness.executors.slurm import _carry_out as submit_all
from harness.executors.slurmoptions import slurm_options
from harness.experiment import Ended, Job
from harness.stages import Setting, Stage

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


def test_without_slurm_it_says_so(
    cli: Callable[..., Any], odd: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    submitit_is_installed()
    monkeypatch.setenv("PATH", str(tmp_path))
    told = cli("run", odd / "tiny.yaml", "-p", odd / "odd_plugin.py", "--executor", "slurm")
    assert told.code == 2
    assert told.err.startswith("harness: --executor slurm: no srun here; ")
