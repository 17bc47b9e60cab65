"""Commands that torchrun starts in several processes: the records of one process, one voice, one end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

COMMAND = Path(__file__).parent / "programs" / "command.py"
HYPER = ("max_steps=3", "batch_size=4", "learning_rate=1e-3", "warmup=0", "select=last")
SAMPLE = ("--data", "sample", "--device", "cpu")
EVAL = ("eval", "-m", "sample", *SAMPLE, *(part for pair in HYPER for part in ("--hyper", pair)))
# The sample is one batch otherwise, and the second process would have nothing to do.
SMALL_BATCHES = ("-b", "64")
TASKS = ("-t", "xnli,panx,tatoeba", "-l", "de,sw")
Together = Callable[..., Any]


def content(folder: Path) -> dict[str, Any]:
    """Records of a run, byte for byte, and its predictions, row for row: a set in blocks has several row groups."""
    tables = sorted((folder / "predictions").rglob("*.parquet"))
    return {
        "records.jsonl": (folder / "records.jsonl").read_bytes(),
        **{path.relative_to(folder).as_posix(): pq.read_table(path).to_pylist() for path in tables},
    }


@pytest.fixture(scope="module")
def homes(
    together: Together, sample_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Makes a HARNESS_HOME of its own, with the heads that one process trained, and without vectors."""
    trained = tmp_path_factory.mktemp("trained")
    (trained / "models").symlink_to(sample_model.parent, target_is_directory=True)
    (done,) = together(
        "-m", "harness", *EVAL, *TASKS, "-o", trained / "run", size=1, HARNESS_HOME=str(trained)
    )
    assert done.code == 0, done.err

    def fresh(folder: Path) -> Path:
        folder.mkdir()
        (folder / "models").symlink_to(sample_model.parent, target_is_directory=True)
        shutil.copytree(trained / "checkpoints", folder / "checkpoints")
        shutil.copytree(trained / "run", folder / "one")
        return folder

    return fresh


def test_two_processes_give_the_records_of_one(
    together: Together, homes: Callable[..., Path], tmp_path: Path
) -> None:
    """Retrieval, sentences and tags, in blocks of a few examples; the first process speaks, both end alike."""
    home = homes(tmp_path / "home")
    first, second = together(
        COMMAND, '{"block": 7}', *EVAL, *TASKS, *SMALL_BATCHES, "-o", home / "two", HARNESS_HOME=str(home)
    )
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert content(home / "two") == content(home / "one")
    assert "6 units done" in first.err
    assert "accuracy" in first.out
    assert (second.out, second.err) == ("", "")
    manifest = json.loads((home / "two" / "run.json").read_text(encoding="utf-8"))
    before = json.loads((home / "one" / "run.json").read_text(encoding="utf-8"))
    assert manifest["hardware"]["processes"] == 2
    assert before["hardware"]["processes"] == 1
    assert manifest["work"]["sentences"] == before["work"]["sentences"] > 0


@pytest.mark.full
def test_what_fails_in_one_process_fails_in_the_run(
    together: Together, homes: Callable[..., Path], tmp_path: Path
) -> None:
    """The units whose batches it could not run; retrieval and what was done before stay."""
    home = homes(tmp_path / "home")
    asked = (*EVAL, *TASKS, *SMALL_BATCHES, "-o", home / "two")
    done = together(COMMAND, '{"broken": 1}', *asked, HARNESS_HOME=str(home))
    assert [entry.code for entry in done] == [3, 3], done[0].err
    assert "xnli/de failed: xnli/de: RuntimeError in process 1: broken chip" in done[0].err
    assert "4 of 6 units failed" in done[0].complaint
    assert done[1].err == ""
    again = together("-m", "harness", *EVAL, *TASKS, "-o", home / "two", HARNESS_HOME=str(home))
    assert [entry.code for entry in again] == [0, 0], again[0].err
    assert "4 units to compute, 2 done before" in again[0].err
    one, two = content(home / "one"), content(home / "two")
    # The lines stand in the order in which they were computed.
    assert sorted(two.pop("records.jsonl").splitlines()) == sorted(one.pop("records.jsonl").splitlines())
    assert two == one


@pytest.mark.full
@pytest.mark.parametrize(
    ("before", "arguments", "code", "line"),
    [
        ((), ("-t", "nonsense"), 2, "harness: unknown task 'nonsense'"),
        ((), (*TASKS, "--nonsense"), 2, "Error: No such option"),
        ((COMMAND, '{"strange": 1}'), TASKS, 70, "harness: internal error, please report it"),
    ],
)
def test_an_error_is_one_line_of_one_process(
    together: Together, before: Sequence[object], arguments: Sequence[str], code: int, line: str
) -> None:
    """Whether all have it or only one; all end with the same code, and nobody waits for the others."""
    done = together(*(before or ("-m", "harness")), *EVAL, *arguments)
    assert [entry.code for entry in done] == [code, code], done[0].err + done[1].err
    said = "".join(entry.err for entry in done)
    assert len(re.findall(r"^(?:harness|Error): ", said, re.MULTILINE)) == 1, said
    assert line in said
    assert "Traceback" not in said


def test_an_experiment_is_not_started_twice(together: Together) -> None:
    done = together("-m", "harness", "run", "phang2020-sample", "--data", "sample")
    assert [entry.code for entry in done] == [2, 2]
    assert done[0].err.startswith(
        "harness: harness run has worker processes of its own, and 2 of it were started"
    )
    assert done[1].err == ""


TRAIN = (
    "train",
    "-m",
    "sample",
    "-t",
    "mnli,squad_v1",
    *SAMPLE,
    "--mlm-share",
    "0.3",
    "--train-size",
    "mnli=30",
)
STEPS = ("--hyper", "max_steps=6", "--hyper", "batch_size=5", "--hyper", "warmup=0", "--hyper", "dropout=0")


def facts_of(folder: Path) -> dict[str, Any]:
    """The lineage file of a checkpoint."""
    found: dict[str, Any] = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.full
def test_intermediate_training_in_two_processes_is_that_of_one(together: Together, tmp_path: Path) -> None:
    """Two tasks and masked LM: not every step has a gradient for every head."""
    for name, size in (("one", 1), ("two", 2)):
        home = tmp_path / f"home {name}"
        done = together(
            "-m", "harness", *TRAIN, *STEPS, "-o", tmp_path / name, size=size, HARNESS_HOME=str(home)
        )
        assert [entry.code for entry in done] == [0] * size, done[0].err
        assert f"checkpoint: {tmp_path / name}" in done[0].out
        assert all((entry.out, entry.err) == ("", "") for entry in done[1:])
    one, two = facts_of(tmp_path / "one"), facts_of(tmp_path / "two")
    assert (one["ranks"], two["ranks"]) == ([[0, 1]], [[0, 2]])
    for name in ("key", "steps", "tokens", "courses"):
        assert two[name] == one[name], name
    for first, second in zip(one["curve"], two["curve"], strict=True):
        assert second["losses"] == pytest.approx(first["losses"], rel=1e-3)
    for first, second in zip(one["dev"], two["dev"], strict=True):
        assert (second["task"], second["n"]) == (first["task"], first["n"])
    paths = [path.relative_to(tmp_path / "one") for path in sorted((tmp_path / "one").rglob("*.safetensors"))]
    assert len(paths) >= 3
    for path in paths:
        first_state, second_state = load_file(tmp_path / "one" / path), load_file(tmp_path / "two" / path)
        for key, value in first_state.items():
            torch.testing.assert_close(second_state[key], value, atol=2e-4, rtol=1e-2, msg=f"{path} {key}")


@pytest.mark.full
@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_launchers(sample_model: Path, homes: Callable[..., Path], tmp_path: Path, launcher: str) -> None:
    """The real ones, with their own ways of telling a process its place."""
    home = homes(tmp_path / "home")
    start = {
        "torchrun": ("torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
        "accelerate": (
            *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
            *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
        ),
    }[launcher]
    environment = {**os.environ, "HARNESS_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *start, "-m", "harness", *EVAL, *TASKS, "-o", str(home / "two")]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert content(home / "two") == content(home / "one")
    manifest = json.loads((home / "two" / "run.json").read_text(encoding="utf-8"))
    assert manifest["hardware"]["processes"] == 2
    assert done.stdout.count("run:    ") == 1


@pytest.mark.full
def test_where_one_is_killed_all_end_and_the_same_command_completes(
    together: Together, homes: Callable[..., Path], tmp_path: Path
) -> None:
    """In the middle of an evaluation, by the operating system; then by one process alone."""
    home = homes(tmp_path / "home")

    def kill(processes: Sequence[subprocess.Popen[str]]) -> None:
        assert processes[0].stderr is not None
        assert "units to compute" in processes[0].stderr.readline()
        processes[1].kill()

    arguments = (
        *EVAL[:3],
        *SAMPLE,
        "-t",
        "tatoeba,bucc2018",
        "--layer",
        "all",
        "-b",
        "64",
        "-o",
        home / "killed",
    )
    first, second = together("-m", "harness", *arguments, meanwhile=kill, HARNESS_HOME=str(home))
    assert second.code == -signal.SIGKILL
    assert first.code == 2
    assert "another process of this run is gone" in first.complaint
    manifest = json.loads((home / "killed" / "run.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "failed"
    assert all(not unit["error"] for unit in manifest["units"])
    (alone,) = together("-m", "harness", *arguments, size=1, HARNESS_HOME=str(home))
    assert alone.code == 0, alone.err
    (whole,) = together(
        "-m", "harness", *arguments[:-1], home / "whole", size=1, HARNESS_HOME=str(homes(tmp_path / "other"))
    )
    assert whole.code == 0, whole.err
    assert content(home / "killed") == content(home / "whole")
