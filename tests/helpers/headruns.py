"""Runs of tasks with a head on the sample: the same few steps everywhere, so that a session trains each head once."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness_tasks
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

Cli = Callable[..., Any]


SAMPLES = Path(str(harness_tasks.__file__)).parent / "samples"


HYPER = {
    "max_steps": "2",
    "batch_size": "4",
    "learning_rate": "1e-3",
    "warmup": "0",
    "dropout": "0",
    "select": "last",
}


FAST = tuple(part for name, value in HYPER.items() for part in ("--hyper", f"{name}={value}"))


EVAL = ("eval", "-m", "sample", "--data", "sample", *FAST)


# How a record's variant tells of them.
VARIANT = "xtreme+" + ",".join(f"train.{name}={value}" for name, value in sorted(HYPER.items())) + ".head"


CAVEAT = "trained with " + ", ".join(f"{name}={value}" for name, value in sorted(HYPER.items()))


def manifest(run: Path) -> Any:
    """Content of ``run.json``."""
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def records(run: Path, **wanted: object) -> list[dict[str, Any]]:
    """The lines of ``records.jsonl`` in which some members have some values."""
    lines = (run / "records.jsonl").read_text(encoding="utf-8").splitlines()
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [record for record in found if all(record[name] == value for name, value in wanted.items())]


def predictions(run: Path, task: str) -> dict[tuple[str, str], bytes]:
    """Seed's folder and language to the bytes of the prediction file."""
    paths = (run / "predictions" / task).rglob("*.parquet")
    return {(path.parent.name, path.stem): path.read_bytes() for path in paths}


def predicted(run: Path, task: str, language: str, column: str = "prediction") -> list[Any]:
    """One column of a prediction file."""
    (path,) = (run / "predictions" / task).rglob(f"{language}.parquet")
    values: list[str] = pq.read_table(path)[column].to_pylist()
    return values if column == "id" else [json.loads(value) for value in values]


def plan_of(said: Any) -> Any:
    """What ``--dry-run --json`` printed."""
    assert said.code == 0, said.err
    return json.loads(said.out)


def trained(cli: Cli, task: str, run: Path, languages: str = "en", *more: object) -> Path:
    """The checkpoint folder that a run of one task trains."""
    said = cli(*EVAL, "-t", task, "-l", languages, "-o", run, *more)
    assert said.code == 0, said.err
    (training,) = manifest(run)["trainings"]
    folder = Path(os.environ["HARNESS_HOME"]) / "checkpoints" / str(training["checkpoint"])
    assert folder.is_dir()
    return folder


def changed(folder: Path, target: Path, *, config: dict[str, Any], rows: list[int] | None = None) -> Path:
    """A copy of a checkpoint with other members of its configuration, the rows of its last layer in another order."""
    shutil.copytree(folder, target)
    told = json.loads((target / "config.json").read_text(encoding="utf-8"))
    (target / "config.json").write_text(json.dumps({**told, **config}), encoding="utf-8")
    if rows is not None:
        weights = load_file(target / "model.safetensors")
        for name in [name for name in weights if name.startswith("classifier.") and "dense" not in name]:
            weights[name] = weights[name][torch.tensor(rows)].clone()
        save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    return target


def named(labels: list[str]) -> dict[str, Any]:
    """The part of a configuration that names outputs."""
    return {
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }
