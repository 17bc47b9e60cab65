"""Several models in one run: each task is answered by its own, and one that is broken costs its own tasks alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from told import assert_one_line

Cli = Callable[..., Any]
CHOICE = ("--data", "sample", "-l", "de")


@pytest.fixture
def model(tmp_path: Path, sample_model: Path) -> Path:
    return Path(shutil.copytree(sample_model, tmp_path / "one"))


def values(said: Any) -> dict[str, float]:
    """The main number of each task."""
    assert said.code in (0, 3), said.err
    return {record["task"]: record["value"] for record in json.loads(said.out)["records"] if record["main"]}


def other_tokenizer(model: Path) -> Path:
    """The same weights with a tokenizer that reads text backwards."""
    other = Path(shutil.copytree(model, model.with_name("other")))
    path = other / "tokenizer.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    told["normalizer"] = {"type": "Replace", "pattern": {"String": "e"}, "content": "x"}
    path.write_text(json.dumps(told), encoding="utf-8")
    return other


def test_models_of_equal_weights_and_other_tokenizers_are_two_models(
    cli: Cli, tmp_path: Path, model: Path
) -> None:
    other = other_tokenizer(model)
    alone = {
        **values(cli("eval", "-m", model, *CHOICE, "-t", "bucc2018", "-o", tmp_path / "a", "--json")),
        **values(cli("eval", "-m", other, *CHOICE, "-t", "tatoeba", "-o", tmp_path / "b", "--json")),
    }
    models = ("-m", f"bucc2018={model}", "-m", f"tatoeba={other}")
    both = cli("eval", *models, *CHOICE, "-t", "bucc2018,tatoeba", "-o", tmp_path / "both", "--json")
    assert values(both) == alone
    told = json.loads((tmp_path / "both" / "run.json").read_text(encoding="utf-8"))
    assert len(told["model"]["others"]) == 1
    # Where only the tokenizer differs, what one model scored is not the other's.
    again = cli("eval", "-m", model, *CHOICE, "-t", "tatoeba", "-o", tmp_path / "both")
    assert_one_line(again, [str(tmp_path / "both"), "another"])


@pytest.mark.parametrize("broken", ["bucc2018", "tatoeba"])
def test_a_model_that_cannot_be_opened_costs_its_own_tasks_alone(
    cli: Cli, tmp_path: Path, model: Path, broken: str
) -> None:
    """Whichever comes first."""
    bad = Path(shutil.copytree(model, tmp_path / "bad"))
    weights = load_file(bad / "model.safetensors")
    left = {name: value for name, value in weights.items() if "layer.1." not in name}
    save_file(left, bad / "model.safetensors", metadata={"format": "pt"})
    good = {"bucc2018": "tatoeba", "tatoeba": "bucc2018"}[broken]
    models = ("-m", f"{broken}={bad}", "-m", f"{good}={model}")
    said = cli("eval", *models, *CHOICE, "-t", "bucc2018,tatoeba", "-o", tmp_path / "run", "--json")
    assert set(values(said)) == {good}
    (failure,) = json.loads(said.out)["failures"]
    assert failure["task"] == broken
    assert str(bad) in failure["error"]


def test_a_head_beside_an_encoder_that_changed_is_another_model(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    fast = ("--hyper=max_steps=2", "--hyper=select=last")
    made = cli("train", "-m", "sample", "-t", "mnli,copa", "--data", "sample", *fast, "-o", folder)
    assert made.code == 0, made.err
    ask = ("eval", "-m", folder, "--data", "sample", "-l", "en", "-o", tmp_path / "run")
    assert cli(*ask, "-t", "mnli").code == 0
    # Another selection is no other model.
    more = cli(*ask, "-t", "mnli,copa")
    assert more.code == 0, more.err
    assert "1 unit to compute, 1 done before" in more.err
    path = next((folder / "heads").rglob("*.safetensors"))
    save_file({name: value + 1 for name, value in load_file(path).items()}, path, metadata={"format": "pt"})
    assert_one_line(cli(*ask, "-t", "mnli"), [str(tmp_path / "run"), "another", "heads was"])
