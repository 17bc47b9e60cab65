"""Killed at any moment, the same command goes on, and what lies on disk in the end is that of an undisturbed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import Record
from harness.run import RunWriter

TASKS = ["-t", "tatoeba,bucc2018", "--data", "sample", "--layer", "all", "-b", "64"]


def start(model: Path, home: Path, output: Path) -> subprocess.Popen[str]:
    """Start an evaluation in a process of its own."""
    command = [sys.executable, "-m", "harness", "eval", "-m", str(model), *TASKS, "-o", str(output)]
    environment = {**os.environ, "HARNESS_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment, cwd=home
    )


def finish(model: Path, home: Path, output: Path) -> str:
    """Run to the end and return what was said on standard error."""
    process = start(model, home, output)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return said


def kill_after(process: subprocess.Popen[str], lines: int, delay: float) -> bool:
    """Kill -9 so many seconds after so many lines of progress; whether it was still running."""
    assert process.stderr is not None
    for _ in range(lines):
        process.stderr.readline()
    time.sleep(delay)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    return alive


def content(folder: Path) -> dict[str, bytes]:
    """Records and predictions of a run, byte for byte."""
    paths = [folder / "records.jsonl", *sorted((folder / "predictions").rglob("*.parquet"))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def undisturbed(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run gives that nobody disturbs."""
    home = tmp_path_factory.mktemp("undisturbed")
    finish(sample_model, home, home / "run")
    return content(home / "run")


def assert_undisturbed_by(
    model: Path, home: Path, kills: list[tuple[int, float]], undisturbed: dict[str, bytes]
) -> int:
    """Kill a run several times, let it finish, compare; how many kills hit a running process."""
    hits = sum(kill_after(start(model, home, home / "run"), lines, delay) for lines, delay in kills)
    finish(model, home, home / "run")
    assert content(home / "run") == undisturbed
    assert not list((home / "run").rglob("*.tmp"))
    return hits


@pytest.mark.full
def test_a_killed_run_goes_on_to_the_same_records(
    sample_model: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    """Killed while it encodes, then between units."""
    assert assert_undisturbed_by(sample_model, tmp_path, [(1, 0.02), (3, 0.0)], undisturbed) >= 1


@pytest.mark.full
@pytest.mark.parametrize("trial", range(0, 10, 3))
def test_kills_at_many_moments_leave_no_trace(
    sample_model: Path, tmp_path: Path, undisturbed: dict[str, bytes], trial: int
) -> None:
    """Moments spread over encoding, writing and scoring."""
    assert_undisturbed_by(
        sample_model, tmp_path, [(1 + trial % 7, 0.017 * trial), (1, 0.05 + 0.06 * trial)], undisturbed
    )


def test_a_second_run_encodes_nothing_and_keeps_every_byte(
    cli: Callable[..., Any],
    isolated: Callable[..., Path],
    sample_model: Path,
    tmp_path: Path,
    undisturbed: dict[str, bytes],
) -> None:
    """In the same folder nothing is computed; in another, vectors come from the store; all as in another process."""
    isolated("home-second")

    def run(name: str) -> str:
        told = cli("eval", "-m", sample_model, *TASKS, "-o", tmp_path / name)
        assert told.code == 0, told.err
        return str(told.err)

    run("one")
    assert "0 units to compute, 7 done before" in run("one")
    run("two")
    assert content(tmp_path / "one") == content(tmp_path / "two") == undisturbed
    assert '"sentences": 0' in (tmp_path / "two" / "run.json").read_text(encoding="utf-8")


@pytest.mark.full
@pytest.mark.parametrize("left", [None, 0, 100, -1])
def test_what_one_unit_lost_is_all_that_is_computed_again(
    sample_model: Path, tmp_path: Path, undisturbed: dict[str, bytes], left: int | None
) -> None:
    """A prediction file that was deleted, or cut by a copy that did not end, comes back, and only its unit is computed."""
    finish(sample_model, tmp_path, tmp_path / "run")
    victim = next(iter((tmp_path / "run" / "predictions").rglob("sw.parquet")))
    if left is None:
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:left])
    told = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert told["command"][:2] == ["eval", "-m"]
    assert "1 unit to compute, 6 done before" in finish(sample_model, tmp_path, tmp_path / "run")
    assert content(tmp_path / "run") == undisturbed


def test_no_record_stands_beside_predictions_of_another_recipe(
    make_record: Callable[..., Record], tmp_path: Path
) -> None:
    """Killed between the new predictions and their records, a run has neither, not the old records."""
    old = [make_record(language=language, recipe="old") for language in ("de", "sw")]
    unit, variant = old[0].unit, old[0].variant
    with RunWriter(tmp_path / "run", {}, "run", "missing") as writer:
        writer.add(old)
        writer.make_way(unit, variant, "old", "data")
        assert writer.records == old
        writer.make_way(unit, variant, "new", "data")
        assert writer.records == old[1:]
        writer.make_way(old[1].unit, variant, "old", "other data")
        assert writer.records == []
