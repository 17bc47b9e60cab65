"""Heads that a checkpoint of ours carries: what sets their training apart is told wherever they answer."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import Record
from harness.report import summarise
from harness.report.cells import over_seeds
from harness.run import open_run

Cli = Callable[..., Any]

# A learning rate of its own: a training that another test asked for before would be found with what was changed there.
SAMPLE = "built-in sample, not the data set"
FAST = tuple(
    f"--hyper={change}"
    for change in ("max_steps=2", "batch_size=4", "learning_rate=2e-3", "warmup=0", "dropout=0")
)
CHANGED = "batch_size=4, dropout=0, learning_rate=2e-3, max_steps=2"
EVAL = ("eval", "--data", "sample", "--device", "cpu", "-l", "en")


def records(run: Path) -> list[dict[str, Any]]:
    """The main records of a run folder."""
    lines = (run / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return [record for line in lines if (record := json.loads(line))["main"]]


def evaluated(cli: Cli, run: Path, *arguments: object) -> dict[str, Any]:
    """The only main record of an evaluation in English."""
    said = cli(*EVAL, *arguments, "-o", run)
    assert said.code == 0, said.err
    (record,) = records(run)
    return record


def checkpoint_of(record: dict[str, Any]) -> Path:
    """The folder of the model that was trained for a record."""
    return Path(os.environ["HARNESS_HOME"]) / "checkpoints" / str(record["trained"]["checkpoint"])


@pytest.mark.parametrize(
    ("task", "options"),
    [
        pytest.param("pawsx", ("--hyper", "select=last"), id="other hyper-parameters"),
        pytest.param("pawsx", ("--train-from", "dev"), id="the selection set was learned"),
        pytest.param("pawsx", ("--train-from", "train:0-15"), id="some rows"),
        pytest.param("tydiqa", ("--train-from", "squad_v1/train"), id="another task's set"),
        pytest.param("panx", ("--split", "dev"), id="chosen on the scored split"),
    ],
)
def test_a_carried_head_has_the_caveats_of_the_run_that_trained_it(
    cli: Cli, tmp_path: Path, task: str, options: tuple[str, ...]
) -> None:
    here = evaluated(cli, tmp_path / "here", "-m", "sample", "-t", task, *FAST, *options)
    split = options if options[0] == "--split" else ()
    carried = evaluated(
        cli, tmp_path / "carried", "-m", checkpoint_of(here), "-t", task, *split, "--no-train"
    )
    assert carried["value"] == here["value"]
    assert len(here["caveats"]) > 1
    assert set(here["caveats"]) == set(carried["caveats"])


def test_a_head_that_another_protocol_trained_says_how(cli: Cli, tmp_path: Path) -> None:
    """Nothing was changed, so only the values themselves tell."""
    by_phang = ("-t", "pawsx", *FAST[:2], "--protocol", "phang2020")
    here = evaluated(cli, tmp_path / "here", "-m", "sample", *by_phang)
    assert not any("weight_decay" in caveat for caveat in here["caveats"])
    carried = evaluated(cli, tmp_path / "carried", "-m", checkpoint_of(here), "-t", "pawsx", "--no-train")
    values = "evaluate_every=1000, learning_rate=1e-05, max_steps=2, patience=30, select_limit=500"
    told = f"trained with batch_size=4, {values}, warmup=0.1, weight_decay=0.01, not as the protocol says"
    assert told in carried["caveats"]
    options = ("-t", "pawsx", "--protocol", "phang2020", "--no-train")
    same = evaluated(cli, tmp_path / "same", "-m", checkpoint_of(here), *options)
    assert set(same["caveats"]) == set(here["caveats"])


def test_a_head_that_learned_shorter_texts_says_so(cli: Cli, tmp_path: Path) -> None:
    here = evaluated(cli, tmp_path / "here", "-m", "sample", "-t", "pawsx", *FAST, "--max-length", "12")
    carried = evaluated(cli, tmp_path / "carried", "-m", checkpoint_of(here), "-t", "pawsx", "--no-train")
    assert (
        f"trained with {CHANGED.replace('max_st', 'max_length=12, max_st')}, warmup=0, not as the protocol says"
        in carried["caveats"]
    )


def test_a_head_that_another_task_trained_says_what_it_learned(cli: Cli, tmp_path: Path) -> None:
    here = evaluated(cli, tmp_path / "here", "-m", "sample", "-t", "xquad", *FAST)
    folder = checkpoint_of(here)
    carried = evaluated(cli, tmp_path / "carried", "-m", folder, "-t", "tydiqa", "--no-train")
    assert "trained on squad_v1/train, the protocol says tydiqa/train" in carried["caveats"]
    assert f"trained with {CHANGED}, warmup=0, not as the protocol says" in carried["caveats"]
    same = evaluated(cli, tmp_path / "same", "-m", folder, "-t", "mlqa", "--no-train")
    assert not any(caveat.startswith("trained on") for caveat in same["caveats"])


@pytest.fixture(scope="module")
def shared_head(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample model after a little PAWS-X and then a little QQP, whose heads have the same outputs."""
    from harness.cli.main import _run

    folder = tmp_path_factory.mktemp("shared") / "checkpoint"
    command = ["train", "-t", "pawsx,qqp", "--schedule", "sequential", "--data", "sample", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HARNESS_HOME", str(tmp_path_factory.mktemp("home")))
        assert _run([*command, *FAST, "-m", str(sample_model), "-o", str(folder)], debug=True) == 0
    return folder


def test_a_head_that_several_tasks_trained_names_them_the_last_one_last(
    cli: Cli, shared_head: Path, tmp_path: Path
) -> None:
    for task in ("pawsx", "qqp"):
        record = evaluated(cli, tmp_path / task, "-m", shared_head, "-t", task, "--no-train")
        told = f"trained on pawsx/train, then qqp/train, the protocol says {task}/train"
        assert told in record["caveats"]
        assert any(caveat.startswith("trained with batch_size=4, ") for caveat in record["caveats"])


def test_tasks_that_share_a_head_in_one_training_are_both_named(
    cli: Cli, sample_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    train = ("train", "-m", sample_model, "-t", "pawsx,qqp", "--data", "sample", "--device", "cpu", *FAST)
    assert cli(*train, "-o", folder).code == 0
    record = evaluated(cli, tmp_path / "run", "-m", folder, "-t", "qqp", "--no-train")
    assert "trained on pawsx/train + qqp/train, the protocol says qqp/train" in record["caveats"]


def test_other_heads_of_the_same_checkpoint_are_not_this_one_s(
    cli: Cli, trained_sequence: Path, tmp_path: Path
) -> None:
    record = evaluated(cli, tmp_path / "run", "-m", trained_sequence, "-t", "mnli", "--no-train")
    assert "trained on mnli/train 30, the protocol says mnli/train" in record["caveats"]
    assert not any("squad" in caveat for caveat in record["caveats"])


def test_a_checkpoint_that_is_not_ours_says_nothing_of_its_training(cli: Cli, tmp_path: Path) -> None:
    here = evaluated(cli, tmp_path / "here", "-m", "sample", "-t", "pawsx", *FAST)
    folder = tmp_path / "foreign"
    shutil.copytree(checkpoint_of(here), folder)
    (folder / "training.json").unlink()
    record = evaluated(cli, tmp_path / "run", "-m", folder, "-t", "pawsx", "--no-train")
    assert record["caveats"] == [SAMPLE]


def test_a_training_that_cannot_be_read_is_told(cli: Cli, tmp_path: Path) -> None:
    here = evaluated(cli, tmp_path / "here", "-m", "sample", "-t", "pawsx", *FAST)
    folder = tmp_path / "damaged"
    shutil.copytree(checkpoint_of(here), folder)
    told = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    del told["courses"][0]["head"]
    (folder / "training.json").write_text(json.dumps(told), encoding="utf-8")
    record = evaluated(cli, tmp_path / "run", "-m", folder, "-t", "pawsx", "--no-train")
    assert "how its head was trained cannot be read in training.json" in record["caveats"]


# A carried head and a new one


def both(cli: Cli, tmp_path: Path) -> Path:
    """A run folder with the answers of a carried head and those of a new one beside it."""
    folder = checkpoint_of(evaluated(cli, tmp_path / "here", "-m", "sample", "-t", "pawsx", *FAST))
    arguments = (*EVAL, "-m", folder, "-t", "pawsx", *FAST, "-o", tmp_path / "run")
    assert cli(*arguments).code == 0
    said = cli(*arguments, "--head-labels", "pawsx=none")
    assert said.code == 0, said.err
    return tmp_path / "run"


def test_a_new_head_beside_a_carried_one_is_no_seed_of_it(cli: Cli, tmp_path: Path) -> None:
    run = both(cli, tmp_path)
    lines = (run / "records.jsonl").read_text(encoding="utf-8").splitlines()
    found = {record["variant"]: record["seed"] for record in map(json.loads, lines)}
    (new,) = set(found) - {"xtreme.head"}
    assert found == {"xtreme.head": None, new: 0}
    assert new.startswith("xtreme+head=new,train.batch_size=4,")
    for table in summarise(open_run(run).records, {}).tasks:
        assert all(cell.seeds == 1 for cell in table.cells)


@pytest.mark.parametrize("task", ["panx", "udpos"])
def test_where_no_carried_head_fits_a_new_one_is_nothing_of_note(cli: Cli, tmp_path: Path, task: str) -> None:
    folder = checkpoint_of(evaluated(cli, tmp_path / "here", "-m", "sample", "-t", "pawsx", *FAST))
    record = evaluated(
        cli, tmp_path / "run", "-m", folder, "-t", task, *FAST, "--head-labels", f"{task}=none"
    )
    assert record["variant"].startswith("xtreme+train.batch_size=4,")


TRAINED = {"parent": "w", "task": "pawsx", "split": "train", "data": "d", "steps": 2}


@pytest.mark.parametrize(
    "other", [{}, *({**TRAINED, name: "another"} for name in ("parent", "task", "split", "data"))]
)
def test_heads_that_were_trained_on_different_things_are_no_seeds_of_one_training(
    make_record: Callable[..., Record], other: dict[str, Any]
) -> None:
    records = [make_record(seed=0, trained=TRAINED), make_record(seed=1, trained=other)]
    assert "2 different trainings are averaged as if they were seeds of one" in over_seeds(records).marks


@pytest.mark.parametrize("trained", [{}, TRAINED])
def test_seeds_of_one_training_are_averaged_without_a_mark(
    make_record: Callable[..., Record], trained: dict[str, Any]
) -> None:
    records = [make_record(seed=seed, trained={**trained, "checkpoint": str(seed)}) for seed in (0, 1)]
    assert over_seeds(records).marks == ()
