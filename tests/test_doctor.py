"""``harness doctor``: what it says of the machine, and how steady it finds a model's scores to be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch

from harness.checkpoints import Checkpoint

SMALL = ("-t", "xnli,panx,xquad", "-L", "6", "--device", "cpu", "--dtype", "float32")


def test_it_says_what_the_machine_has(cli: Callable[..., Any]) -> None:
    told = cli("doctor", "--json")
    assert told.code == 0
    found = json.loads(told.out)["environment"]
    assert found["cores"] == os.cpu_count()
    assert found["packages"]["torch"] == torch.__version__
    assert found["cache"]["folder"] == os.environ["HARNESS_HOME"]
    assert found["cache"]["writable"] is True
    assert {entry["status"] for entry in found["plugins"]} == {"loaded"}
    lines = cli("doctor").out.splitlines()
    assert [line.split()[0] for line in lines] == list(found)


def test_scores_of_a_packed_model_depend_on_no_batch(cli: Callable[..., Any]) -> None:
    told = cli("doctor", "--batch-invariance", *SMALL, "--json")
    assert told.code == 0, told.err
    rows = json.loads(told.out)["batch_invariance"]
    assert [row["task"] for row in rows] == [name for name in ("xnli", "panx", "xquad") for _ in range(3)]
    for row in rows:
        assert (row["packed"], row["largest"], row["flips"]) == (True, 0.0, 0)
        assert row["compared"] >= row["rows"] >= 6
    lines = cli("doctor", "--batch-invariance", *SMALL).out.splitlines()
    assert sum(", without padding, against single rows: " in line for line in lines) == 9


def test_of_a_model_that_must_be_padded_it_says_so(
    cli: Callable[..., Any], tiny_model: Callable[..., Checkpoint]
) -> None:
    told = cli("doctor", "--batch-invariance", "-m", tiny_model("deberta-v2").folder, *SMALL)
    assert told.code == 0, told.err
    assert told.out.count("tokens, padded, against single rows: largest score difference ") == 9


def test_a_task_without_a_head_is_refused(cli: Callable[..., Any]) -> None:
    unscored = cli("doctor", "--batch-invariance", "-t", "mlm")
    assert (unscored.code, "task 'mlm' has no scores to compare" in unscored.err) == (2, True)
    told = cli("doctor", "--batch-invariance", "-t", "tatoeba")
    assert told.code == 2
    assert told.complaint.startswith("harness: task 'tatoeba' has no scores to compare: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--batch-invariance", "-L", "0"), "--limit 0: must be at least 1"),
        (("--batch-invariance", "-t", ","), "--tasks names no task; "),
        (("-t", "xnli"), "--tasks goes with --batch-invariance only"),
    ],
)
def test_what_would_measure_nothing_is_refused(
    cli: Callable[..., Any], arguments: tuple[str, ...], said: str
) -> None:
    told = cli("doctor", *arguments)
    assert told.code == 2
    assert told.complaint.startswith(f"harness: {said}")
