"""What a plan tells of heads before anything is computed, and where training is not allowed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from headruns import (
    EVAL,
    Cli,
    plan_of,
    trained,
)


def test_a_dry_run_tells_each_training_once_and_computes_nothing(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path]
) -> None:
    home = isolated()
    said = cli(*EVAL[:5], "-t", "xquad,mlqa,xnli,tatoeba", "-l", "en,de", "-o", tmp_path / "run", "--dry-run")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("train ")] == ["train"] * 2
    assert "a span head on sample, learned from squad_v1/train (en, 24 examples), 3 steps" in said.out
    assert "a pooled head on sample, learned from mnli/train (en, 60 examples), 10 steps" in said.out
    assert "5 epochs, chosen on xnli/dev, learning rate 3e-05, warm-up 0 %, weight decay 0, " in said.out
    assert "last checkpoint" in said.out
    assert sum("a head that is trained" in line for line in lines) == 6
    assert not (tmp_path / "run").exists()
    assert sorted(path.name for path in home.iterdir()) == ["models"]


def test_a_dry_run_as_json_says_which_unit_needs_which_training(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path]
) -> None:
    isolated()
    arguments = (*EVAL, "-t", "xquad,mlqa,udpos,tatoeba", "-l", "en,de", "-o", tmp_path / "run")
    value = plan_of(cli(*arguments, "--dry-run", "--json"))
    trainings = {training["checkpoint"]: training for training in value["trainings"]}
    needed = {(unit["task"], unit["language"]): unit["training"] for unit in value["units"]}
    assert len(trainings) == 2
    assert needed["xquad", "en"] == needed["xquad", "de"] == needed["mlqa", "en"] == needed["mlqa", "de"]
    assert trainings[needed["xquad", "en"]]["learned"] == "squad_v1/train"
    assert trainings[needed["xquad", "en"]]["head"] == "span"
    assert trainings[needed["udpos", "en"]]["learned"] == "udpos/train"
    assert needed["tatoeba", "de"] is None
    assert [(entry["steps"], entry["done"], entry["seed"]) for entry in trainings.values()] == [
        (2, False, 0)
    ] * 2
    assert not (tmp_path / "run").exists()


def test_a_training_that_was_done_is_told_as_done_before(cli: Cli, tmp_path: Path) -> None:
    folder = trained(cli, "udpos", tmp_path / "run")
    arguments = (*EVAL, "-t", "udpos", "-l", "ar", "-o", tmp_path / "other", "--dry-run")
    (training,) = plan_of(cli(*arguments, "--json"))["trainings"]
    assert (training["checkpoint"], training["done"]) == (folder.name, True)
    assert "done before" in cli(*arguments).out


def test_seeds_are_trainings_of_their_own_in_the_plan(cli: Cli, tmp_path: Path) -> None:
    arguments = (*EVAL, "-t", "panx,udpos", "-l", "en", "-o", tmp_path / "run", "--seeds", "0,5")
    value = plan_of(cli(*arguments, "--dry-run", "--json"))
    assert [training["seed"] for training in value["trainings"]] == [0, 5, 0, 5]
    assert len({training["checkpoint"] for training in value["trainings"]}) == 4
    assert [(unit["task"], unit["seed"]) for unit in value["units"]] == [
        ("panx", 0),
        ("panx", 5),
        ("udpos", 0),
        ("udpos", 5),
    ]


@pytest.mark.parametrize(
    ("task", "kind"), [("xnli", "pooled"), ("panx", "token"), ("udpos", "token"), ("mlqa", "span")]
)
def test_an_encoder_without_a_head_is_refused_where_training_is_not_allowed(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path], task: str, kind: str
) -> None:
    home = isolated()
    said = cli(*EVAL, "-t", f"tatoeba,{task}", "-l", "de", "-o", tmp_path / "run", "--no-train")
    assert (said.code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert f"task '{task}' needs a {kind} head and sample does not bring it (it has no head)" in line
    assert "leave out --no-train" in line
    assert not (tmp_path / "run").exists()
    assert sorted(path.name for path in home.iterdir()) == ["models"]


def test_tasks_without_a_head_need_no_training(cli: Cli, tmp_path: Path) -> None:
    said = cli(*EVAL[:5], "-t", "tatoeba", "-l", "de", "-o", tmp_path / "run", "--no-train")
    assert said.code == 0, said.err
