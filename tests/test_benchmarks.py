"""Each benchmark runs on a few examples and prints its table; how fast anything is, is not a test's business."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"


def table(script: str, *arguments: str) -> list[list[str]]:
    """What a benchmark prints, as the words of each line."""
    done = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def test_gpu_runs_its_code_on_a_cpu_and_its_checks_hold() -> None:
    """Every row is there, and the program says itself if a result is not the CPU's."""
    lines = table("gpu.py", "--device", "cpu", "--tiny", "--repeats", "1", "--dtype", "bfloat16")
    ways = {tuple(line[:2]) for line in lines if line[1:2] in (["padded"], ["packed"])}
    assert ways == {
        (kind, way) for kind in ("classification", "tagging", "questions") for way in ("padded", "packed")
    }
    assert sum(line[:1] == ["check:"] for line in lines) == 4
    assert any(line[:3] == ["all", "test", "sets"] for line in lines)


@pytest.mark.full
def test_packing_compares_four_ways_that_agree() -> None:
    lines = table("packing.py", "--rows", "40", "--layers", "1", "--repeats", "1")
    ways = [line[0] for line in lines if line[:1] in (["plain"], ["sorted"], ["padded"], ["packed"])]
    assert ways == 4 * ["plain", "sorted", "padded", "packed"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_gpu_says_where_there_is_none() -> None:
    (line,) = table("gpu.py")
    assert line[:4] == ["no", "CUDA", "device", "here:"]


@pytest.mark.full
@pytest.mark.usefixtures("minilm")
def test_inference_compares_four_ways_on_every_format(real_data: Path) -> None:
    few = ("--examples", "24", "--questions", "4", "--languages", "2", "--repeats", "1", "--dtype", "float32")
    lines = table("inference.py", "--data", str(real_data), *few)
    rows = [tuple(line[:2]) for line in lines if line[:1] and line[0] in ("xnli", "panx", "udpos", "xquad")]
    assert {task for task, _ in rows} == {"xnli", "panx", "udpos", "xquad"}
    for task in ("xnli", "panx", "udpos", "xquad"):
        ways = [way for name, way in rows if name == task]
        assert ways[:2] == ["harness", "bare"]
        assert ways[2:] in (["trainer", "trainer-max"], ["loop", "loop-max"])


@pytest.mark.full
@pytest.mark.usefixtures("minilm")
def test_inference_measures_the_peak_of_each_way(real_data: Path) -> None:
    few = ("--examples", "4", "--repeats", "1", "--dtype", "bfloat16", "--tasks", "xnli", "--memory")
    lines = table("inference.py", "--data", str(real_data), *few)
    peaks = [float(line[-1]) for line in lines if line[:1] == ["xnli"]]
    assert len(peaks) == 4
    assert min(peaks) > 100


@pytest.mark.full
@pytest.mark.usefixtures("minilm")
def test_training_compares_the_engine_with_a_plain_loop_on_every_head(real_data: Path) -> None:
    few = ("--steps", "2", "--batch-size", "2", "--repeats", "1", "--dtype", "float32,bfloat16")
    lines = table("training.py", "--data", str(real_data), *few)
    for task in ("mnli", "panx", "squad_v1"):
        ways = [line[1] for line in lines if line[:1] == [task]]
        assert ways[:2] == ["plain", "harness"]
        assert len(ways) == 2 * len(set(ways))


@pytest.mark.full
@pytest.mark.usefixtures("minilm")
def test_reading_gives_the_answers_of_the_usual_lists(real_data: Path) -> None:
    lines = table("reading.py", "--data", str(real_data), "--questions", "3", "--repeats", "1")
    rows = [line for line in lines if line[:1] in (["n-best"], ["harness,"])]
    assert len(rows) == 6
    assert {line[-1] for line in rows} == {"100.00%"}


@pytest.mark.full
def test_long_sets_are_answered_in_blocks_and_at_once() -> None:
    lines = table("longsets.py", "--counts", "40")
    rows = [tuple(line[:3]) for line in lines[1:]]
    assert rows == [(task, way, "40") for task in ("xnli", "panx") for way in ("blocks", "once")]


@pytest.mark.full
def test_scoring_gives_the_same_values_on_both_sides() -> None:
    lines = table("scoring.py", "--tokens", "3000", "--questions", "200", "--repeats", "1")
    rows = [line for line in lines if line[:1] in (["tag"], ["SQuAD"])]
    assert len(rows) == 3
    assert all(line[-1] == line[-3] for line in rows)
