"""Cells on a Ray cluster: real processes of Ray, and a stand-in for what a real cluster seldom does."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from farruns import Started, command, parent, records, statuses

from harness.errors import UsageError
from harness.executors import afar
from harness.executors.base import Event
from harness.executors.ray import _carry_out, _Share, _share, head_of
from harness.experiment import Ended, Job


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
