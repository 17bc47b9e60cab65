"""Wishes for training that cannot be met: told with what is allowed, before anything is computed where that can be known.

What cannot be known before costs the units that need that head, and no others.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness_tasks
import pytest
from told import assert_one_line

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
FAST = tuple(f"--hyper={name}={value}" for name, value in HYPER.items())


def failures(said: Any) -> list[str]:
    """The lines of a run about units that failed."""
    assert said.code == 3, said.err
    assert "Traceback" not in said.err
    assert "internal error" not in said.err
    return [line for line in said.err.splitlines() if " failed: " in line]


def scored(run: Path) -> set[tuple[str, str]]:
    """Task and language of what is in ``records.jsonl``."""
    if not (run / "records.jsonl").exists():
        return set()
    lines = (run / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return {(record["task"], record["language"]) for record in map(json.loads, lines)}


# Options


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(("--hyper", "rate=1"), ["no hyper-parameter 'rate'", "learning_rate"], id="name"),
        pytest.param(("--hyper", "epochs=many"), ["epochs=many is not allowed"], id="number"),
        pytest.param(
            ("--hyper", "epochs=1", "--hyper", "epochs=2"),
            ["--hyper epochs is given twice"],
            id="value twice",
        ),
        pytest.param(("--hyper", "epochs"), ["--hyper epochs", "[TASK.]NAME=VALUE"], id="no value"),
        pytest.param(("--hyper", "xnli.epochs=1"), ["task 'xnli' is not selected"], id="task of a value"),
        pytest.param(("--hyper", "select=best"), ["only 'last' is allowed"], id="select"),
        pytest.param(("--hyper", "max_length=999"), ["999 is not within 3 to 128"], id="length of training"),
        pytest.param(("--hyper", "dropout=5"), ["dropout=5 is not allowed"], id="dropout"),
        pytest.param(
            ("--train-from", "nosuch"), ["nosuch", "task 'udpos'", "splits test, dev, train"], id="split"
        ),
        pytest.param(("--train-from", "nosuch/dev"), ["unknown task 'nosuch'"], id="task"),
        pytest.param(("--train-from", "xnli=train"), ["task 'xnli' is not selected"], id="task of a set"),
        pytest.param(("--train-from", "mnli/train"), ["their heads differ"], id="other head"),
        pytest.param(("--train-from", "panx/train"), ["their heads differ"], id="other labels"),
        pytest.param(("--train-from", "train:0"), ["train:0", "holds no row"], id="no row"),
        pytest.param(("--train-from", "train:7-3"), ["train:7-3", "holds no row"], id="backwards"),
        pytest.param(
            ("--train-from", "train:40-50"), ["udpos/train has no row in this range"], id="past the end"
        ),
        pytest.param(
            ("--train-from", "train:30-50"),
            ["rows 30 to 50 of udpos/train", "there are only 40"],
            id="beyond",
        ),
        pytest.param(("--train-from", "train:x"), ["[TASK=][OTHER/]SPLIT[:RANGE]"], id="range"),
        pytest.param(
            ("--train-from", "test"), ["every example of this split was learned", "RANGE"], id="all"
        ),
        pytest.param(("--train-from", "test:10"), ["every example of this split was learned"], id="all rows"),
        pytest.param(("--head-labels", "xnli=a,b"), ["--head-labels xnli=a,b", "selected"], id="labels"),
        pytest.param(
            ("--head-labels", "udpos=none", "--head-labels", "udpos=A,B"),
            ["--head-labels is given twice for task 'udpos'"],
            id="labels twice",
        ),
        pytest.param(
            ("--train-from", "train:9", "--train-from", "train"),
            ["--train-from is given twice for every task"],
            id="set twice",
        ),
        pytest.param(("--head-labels", "udpos"), ["TASK=label,label"], id="no labels"),
        pytest.param(("--seeds", "0,0"), ["give different whole numbers"], id="seed twice"),
        pytest.param(("--seeds", "-1"), ["whole numbers from 0"], id="negative seed"),
        pytest.param(("--seeds", ""), ["give different whole numbers"], id="no seed"),
        pytest.param(("--seeds", str(2**64)), ["seeds", "from 0"], id="seed that torch cannot take"),
        pytest.param(
            ("--layer", "2"), ["--layer goes with tasks that compare vectors only; udpos"], id="layer"
        ),
        pytest.param(
            ("--pooling", "cls"), ["--pooling goes with tasks that compare vectors only"], id="pooling"
        ),
        pytest.param(
            ("--skip-special-tokens",),
            [
                "--skip-special-tokens goes with tasks that compare vectors only",
                "leave --skip-special-tokens out",
            ],
            id="special tokens",
        ),
        pytest.param(
            ("-t", "tatoeba", "-l", "de", "--hyper", "tatoeba.epochs=1"),
            ["--hyper for task 'tatoeba'", "no head is trained for it"],
            id="hyper of vectors",
        ),
        pytest.param(("--protocol", "mine"), ["no protocol 'mine'", "xtreme, phang2020"], id="protocol"),
    ],
)
def test_a_wish_that_cannot_be_met_is_told_with_what_can(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path], arguments: tuple[str, ...], words: list[str]
) -> None:
    home = isolated()
    given = ("eval", "-m", "sample", "--data", "sample", "-t", "udpos", "-l", "en", "-o", tmp_path / "run")
    assert_one_line(cli(*given, *arguments), words)
    assert not (tmp_path / "run").exists()
    assert sorted(path.name for path in home.iterdir()) == ["models"]


def test_seeds_that_are_no_numbers_are_a_usage_error(cli: Cli, tmp_path: Path) -> None:
    said = cli(
        "eval", "-m", "sample", "--data", "sample", "-t", "udpos", "-o", tmp_path / "run", "--seeds", "a"
    )
    assert said.code == 2
    assert "whole numbers, comma-separated" in said.err


@pytest.mark.parametrize("value", ["epochs=0", "learning_rate=0", "max_steps=1,warmup=1"])
def test_a_head_that_would_learn_nothing_is_never_scored(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path], value: str
) -> None:
    """Its head would be as random as at the start. (The first step of a warm-up has the rate 0.)"""
    isolated()
    run = tmp_path / "run"
    changed = dict(part.split("=") for part in value.split(","))
    hyper = [f"--hyper={name}={number}" for name, number in {**HYPER, **changed}.items()]
    given = ("eval", "-m", "sample", "--data", "sample", *hyper, "-t", "udpos", "-l", "en", "-o", run)
    said = cli(*given)
    assert said.code in (2, 3), said.err
    assert "internal error" not in said.err
    assert scored(run) == set()


# Training sets


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The sample as a data folder that can be changed."""
    return Path(shutil.copytree(SAMPLES, tmp_path / "data"))


def test_a_training_set_that_is_missing_costs_the_tasks_that_need_it(
    cli: Cli, tmp_path: Path, data: Path
) -> None:
    shutil.rmtree(data / "glue_data")
    (data / "squad/v1.1/train-v1.1.json").unlink()
    run = tmp_path / "run"
    arguments = ("eval", "-m", "sample", "--data", data, *FAST, "-l", "en,de", "-o", run)
    said = cli(*arguments, "-t", "mlqa,tatoeba,udpos,xnli,xquad")
    told = failures(said)
    assert len(told) == 6
    for task, missing in (
        ("xnli", "glue_data/MNLI/train.tsv"),
        ("mlqa", "squad/v1.1/train-v1.1.json"),
        ("xquad", "squad/v1.1/train-v1.1.json"),
    ):
        lines = [line for line in told if f" {task}/" in line]
        assert len(lines) == 2
        for line in lines:
            assert f"{task}: its head must be trained, and " in line
            assert missing in line
            assert "--train-from" in line
            assert "--split" not in line
    assert scored(run) == {("tatoeba", "de"), ("udpos", "de"), ("udpos", "en")}
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "partial"
    report = (run / "report.md").read_text(encoding="utf-8")
    assert "its head must be trained" in report
    shutil.copytree(SAMPLES / "glue_data", data / "glue_data")
    shutil.copy(SAMPLES / "squad/v1.1/train-v1.1.json", data / "squad/v1.1")
    said = cli(*arguments, "-t", "mlqa,tatoeba,udpos,xnli,xquad")
    assert said.code == 0, said.err
    assert "6 units to compute, 3 done before" in said.err


def test_without_any_training_set_nothing_is_run(cli: Cli, tmp_path: Path, data: Path) -> None:
    shutil.rmtree(data / "glue_data")
    arguments = ("eval", "-m", "sample", "--data", data, *FAST, "-t", "xnli", "-l", "en,de")
    said = cli(*arguments, "-o", tmp_path / "run")
    assert_one_line(said, ["xnli: its head must be trained", "mnli/en/train", "(likewise xnli/"])
    assert not (tmp_path / "run").exists()


def test_a_selection_set_that_is_missing_is_told(cli: Cli, tmp_path: Path, data: Path) -> None:
    (data / "panx/dev-en.tsv").unlink()
    arguments = ("eval", "-m", "sample", "--data", data, "-t", "panx", "-l", "de", "-o", tmp_path / "run")
    assert_one_line(
        cli(*arguments, *FAST[:-1]), ["panx: its head must be trained", "panx/en/dev", "dev-en.tsv"]
    )
    assert cli(*arguments, *FAST).code == 0, "without selection it is not needed"


def test_with_fail_fast_a_missing_training_set_ends_the_run(cli: Cli, tmp_path: Path, data: Path) -> None:
    shutil.rmtree(data / "glue_data")
    arguments = ("eval", "-m", "sample", "--data", data, *FAST, "-t", "udpos,xnli", "-l", "en")
    said = cli(*arguments, "-o", tmp_path / "run", "--fail-fast")
    assert_one_line(said, ["xnli", "its head must be trained", "mnli/en/train"])
    assert not (tmp_path / "run").exists()


def test_a_training_set_that_is_malformed_is_told_with_file_and_line(
    cli: Cli, tmp_path: Path, data: Path
) -> None:
    path = data / "panx/train-en.tsv"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[4] = "word\tB-NOSUCH"
    path.write_text("\n".join(lines), encoding="utf-8")
    run = tmp_path / "run"
    arguments = ("eval", "-m", "sample", "--data", data, *FAST, "-t", "panx,udpos", "-l", "en", "-o", run)
    (line,) = failures(cli(*arguments))
    for word in ("panx/en", "its head must be trained", "train-en.tsv, line 5", "B-NOSUCH"):
        assert word in line
    assert scored(run) == {("udpos", "en")}


def test_data_that_change_while_a_run_waits_are_told(
    cli: Cli, tmp_path: Path, data: Path, isolated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan read the training set, and then it is gone."""
    from harness import courses

    isolated()
    lesson = courses.lesson_of

    def gone(*arguments: Any) -> Any:
        (data / "ud/UD_English-Sample/en_sample-ud-train.conllu").unlink()
        return lesson(*arguments)

    monkeypatch.setattr("harness.tuning.lesson_of", gone)
    run = tmp_path / "run"
    said = cli("eval", "-m", "sample", "--data", data, *FAST, "-t", "tatoeba,udpos", "-l", "de", "-o", run)
    (line,) = failures(said)
    assert "udpos/en/train" in line
    assert "plugin" not in line
    assert scored(run) == {("tatoeba", "de")}


# Plugins

PLUGIN = """
from dataclasses import replace
from harness import FilesSource, hookimpl
from harness.formats.tagging import Tagging
from harness_xtreme.panx import PANX, xtreme_files

class Own(Tagging):
    def targets(self, examples, rows):
        {targets}
        return super().targets(examples, rows)

def read(paths, language):
    training = "train" in str(paths["sentences"])
    {read}
    words = ["one", "two"] if training else ["three", "four"]
    yield {{"id": "1", "words": words, "tags": ["O", "X" if training and {odd} else "O"]}}

@hookimpl
def harness_tasks():
    source = FilesSource(name="own", files=xtreme_files, read=read, homepage="here")
    training = {{name: replace(one, task="own", select=None) for name, one in PANX.training.items()}}
    return [replace(PANX, name="own", sources=(source,), training=training, format=Own(labels=PANX.format.labels))]
"""


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        pytest.param(
            {"read": "if training: raise ZeroDivisionError('no rows')"},
            ["plugin own_training", "ZeroDivisionError", "no rows"],
            id="reader",
        ),
        pytest.param(
            {"targets": "raise ZeroDivisionError('no targets')"},
            ["plugin own_training", "ZeroDivisionError", "no targets"],
            id="targets",
        ),
        pytest.param({"odd": "True"}, ["own/train", "example 1", "'X'"], id="labels"),
        pytest.param({"read": "if training: return"}, ["own/en/train", "no example"], id="no row"),
    ],
)
def test_a_plugin_that_cannot_teach_costs_its_own_task_alone(
    cli: Cli, tmp_path: Path, data: Path, plugin: dict[str, str], words: list[str]
) -> None:
    path = tmp_path / "own_training.py"
    filled = PLUGIN.format(**{"targets": "pass", "read": "pass", "odd": "False", **plugin})
    path.write_text(filled, encoding="utf-8")
    run = tmp_path / "run"
    arguments = ("eval", "-m", "sample", "--data", data, *FAST, "-t", "own,udpos", "-l", "en", "-o", run)
    (line,) = failures(cli(*arguments, "-p", path))
    for word in ("own/en", *words):
        assert word in line, f"{word!r} is not in {line!r}"
    assert scored(run) == {("udpos", "en")}


# While it trains


def test_a_training_that_diverges_is_tried_once_and_told_for_every_unit_that_needs_it(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path]
) -> None:
    home = isolated()
    run = tmp_path / "run"
    hyper = [f"--hyper={name}={value}" for name, value in {**HYPER, "learning_rate": "1e11"}.items()]
    arguments = ("eval", "-m", "sample", "--data", "sample", *hyper, "-l", "en,de", "-o", run)
    said = cli(*arguments, "-t", "mlqa,tatoeba,xquad")
    told = failures(said)
    assert len(told) == 4
    for line in told:
        assert "training sample on squad_v1/train: the loss of step 2 of 2 is nan in float32" in line
        assert "smaller --hyper learning_rate" in line
    assert said.err.count("harness: fine-tuning on") == 1
    assert scored(run) == {("tatoeba", "de")}
    kept = [path for path in (home / "checkpoints").iterdir() if path.is_dir()]
    assert all(path.suffix == ".work" for path in kept), "no checkpoint that could be read by mistake"


def test_an_error_of_the_model_while_it_trains_blames_no_plugin_and_costs_its_task_alone(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.engine.train import Trainer

    isolated()
    tried: list[str] = []

    def fail(self: Trainer, *arguments: object) -> None:
        tried.append(self.lessons[0].headed.head.kind)
        raise RuntimeError("device-side assert")

    monkeypatch.setattr(Trainer, "_gradient_interruptibly", fail)
    run = tmp_path / "run"
    arguments = ("eval", "-m", "sample", "--data", "sample", *FAST, "-l", "en,de", "-o", run)
    told = failures(cli(*arguments, "-t", "tatoeba,udpos,xquad"))
    assert len(told) == 4
    for line in told:
        assert "device-side assert" in line
        assert "plugin" not in line
    assert tried == ["token", "span"], "a training that failed is not tried again for the next language"
    assert scored(run) == {("tatoeba", "de")}
