"""Learning is real: a few minutes of fine-tuning a real model on real English data beat what needs no learning."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.full


def run(cli: Callable[..., Any], folder: Path, model: Path, data: Path, *options: str) -> dict[str, float]:
    """English scores of one task by metric, after fine-tuning with a fixed seed."""
    said = cli(
        "eval", "-m", model, "--data", data, "-l", "en", "-o", folder, "--hyper", "warmup=0.1", "--hyper", "select=last",
        "--hyper", "learning_rate=2e-4", "--json", *options,
    )  # fmt: skip
    assert said.code == 0, said.err
    return {record["metric"]: record["value"] for record in json.loads(said.out)["records"]}


def majority_share(folder: Path) -> float:
    """Share of the most frequent tag or label among the gold answers of a run's only prediction file, in percent."""
    import pyarrow.parquet as pq

    (path,) = folder.glob("predictions/**/*.parquet")
    gold = [json.loads(text) for text in pq.read_table(path).column("gold").to_pylist()]
    labels = Counter(label for answer in gold for label in (answer if isinstance(answer, list) else [answer]))
    return 100 * labels.most_common(1)[0][1] / labels.total()


def test_named_entities_are_learned(
    cli: Callable[..., Any], tmp_path: Path, minilm: Path, real_data: Path
) -> None:
    """Who tags every token O finds no entity, F1 0."""
    folder = tmp_path / "run"
    scores = run(
        cli, folder, minilm, real_data, "-t", "panx", "--split", "dev", "--train-from", "train:1500", "--hyper", "epochs=2"
    )  # fmt: skip
    assert scores["tag_f1"] > 40
    assert scores["token_accuracy"] > majority_share(folder) + 15


def test_parts_of_speech_are_learned(
    cli: Callable[..., Any], tmp_path: Path, minilm: Path, real_data: Path
) -> None:
    folder = tmp_path / "run"
    scores = run(
        cli, folder, minilm, real_data, "-t", "udpos", "--split", "dev", "--train-from", "train:800", "--hyper", "epochs=2",
        "-L", "300",
    )  # fmt: skip
    assert scores["token_accuracy"] > majority_share(folder) + 40


def test_inference_between_sentences_is_learned(
    cli: Callable[..., Any], tmp_path: Path, minilm: Path, real_data: Path
) -> None:
    """Three balanced classes: guessing gives a third. The margin is three standard errors of 400 items and more."""
    folder = tmp_path / "run"
    scores = run(
        cli, folder, minilm, real_data, "-t", "xnli", "--split", "dev", "--train-from", "train:3000", "--hyper", "epochs=2",
        "-L", "400",
    )  # fmt: skip
    assert scores["accuracy"] > majority_share(folder) + 8
