"""Cells elsewhere, wherever that is: options, what must be shared, and how a cell tells of itself."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.executors import afar
from harness.executors.base import Event
from harness.experiment import Ended, Job


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


@pytest.mark.parametrize(("name", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_library_that_is_missing_is_one_line(
    cli: Callable[..., Any], odd: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    told = cli("run", odd / "tiny.yaml", "-p", odd / "odd_plugin.py", "--executor", name)
    assert (told.code, told.out) == (2, "")
    assert f"pip install 'crosslingual-transfer-harness[{name}]'" in told.err
    assert len(told.err.splitlines()) == 1


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
