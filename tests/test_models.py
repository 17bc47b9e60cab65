"""Which model answers which task: values of ``--model`` without opening any folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checkpoints import Checkpoint
from harness.errors import ModelError, UsageError
from harness.models import models_of_tasks

TASKS = ("panx", "udpos", "xnli")


def checkpoint(name: str) -> Checkpoint:
    """A checkpoint that nobody opens."""
    return Checkpoint(
        name=name,
        folder=Path(name),
        revision=None,
        config={"model_type": "bert"},
        weights=name,
        tokenizer="",
        pooling=None,
        dense=(),
        longest=None,
    )


def names(*given: str, tasks: tuple[str, ...] = TASKS) -> Mapping[str, str]:
    """Task to the name of its model."""
    return {task: found.name for task, found in models_of_tasks(given, tasks, checkpoint).items()}


def folder_of_tasks(folder: Path, *tasks: str) -> Path:
    """A folder with one model folder for each of some tasks."""
    for task in tasks:
        (folder / task).mkdir(parents=True)
        (folder / task / "config.json").write_text("{}", encoding="utf-8")
    return folder


def test_one_model_serves_every_task() -> None:
    assert names("owner/name") == dict.fromkeys(TASKS, "owner/name")


def test_a_task_may_have_its_own_model_and_the_rest_another() -> None:
    assert names("panx=owner/tagger", "owner/name") == {
        "panx": "owner/tagger",
        "udpos": "owner/name",
        "xnli": "owner/name",
    }
    assert names("owner/name", "panx=owner/tagger") == names("panx=owner/tagger", "owner/name")


def test_every_task_may_have_its_own_model() -> None:
    assert names("xnli=a", "panx=b", "udpos=c") == {"panx": "b", "udpos": "c", "xnli": "a"}


def test_a_model_that_serves_several_tasks_is_found_once() -> None:
    asked: list[str] = []

    def find(name: str) -> Checkpoint:
        asked.append(name)
        return checkpoint(name)

    found = models_of_tasks(["panx=a", "a"], TASKS, find)
    assert asked == ["a"]
    assert found["panx"] is found["xnli"]
    assert tuple(found) == TASKS


def test_a_folder_of_task_folders_stands_for_them(tmp_path: Path) -> None:
    folder = folder_of_tasks(tmp_path / "all", *TASKS, "pawsx")
    assert names(str(folder)) == {task: str(folder / task) for task in TASKS}
    assert names(f"{folder}/") == names(str(folder))


def test_a_task_named_beside_a_folder_need_not_be_in_it(tmp_path: Path) -> None:
    folder = folder_of_tasks(tmp_path / "all", "panx", "udpos")
    assert names(str(folder), "xnli=sample") == {
        "panx": str(folder / "panx"),
        "udpos": str(folder / "udpos"),
        "xnli": "sample",
    }


def test_a_task_named_beside_a_folder_goes_before_it(tmp_path: Path) -> None:
    folder = folder_of_tasks(tmp_path / "all", *TASKS)
    assert names(str(folder), "xnli=sample")["xnli"] == "sample"


def test_a_folder_of_task_folders_without_one_of_them_is_told(tmp_path: Path) -> None:
    folder = folder_of_tasks(tmp_path / "all", "panx")
    with pytest.raises(ModelError, match=r"it has none for udpos, xnli; add -m udpos=MODEL, or leave"):
        names(str(folder))


@pytest.mark.parametrize("own", ["config.json", "modules.json"])
def test_a_folder_that_is_a_model_is_one_whatever_lies_in_it(tmp_path: Path, own: str) -> None:
    folder = folder_of_tasks(tmp_path / "model", "panx")
    (folder / own).write_text("{}", encoding="utf-8")
    assert names(str(folder)) == dict.fromkeys(TASKS, str(folder))


def test_a_folder_without_any_model_is_left_to_the_one_who_opens_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert set(names(str(tmp_path / "empty")).values()) == {str(tmp_path / "empty")}


def test_an_existing_folder_whose_name_has_an_equals_sign_is_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("panx=1").mkdir()
    assert names("panx=1") == dict.fromkeys(TASKS, "panx=1")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), "no model for task panx, udpos, xnli; add -m MODEL"),
        (("panx=a",), "no model for task udpos, xnli; add -m MODEL for all others, or -m udpos=MODEL"),
        (("pawsx=a", "b"), "--model pawsx=a: task 'pawsx' is not selected"),
        (("panx=a", "panx=b", "c"), "--model panx=b: task 'panx' has the model a already"),
        (("a", "b"), "--model a and b: give one for all tasks, or TASK=MODEL for each"),
        (("a", "a"), "--model a and a: give one for all tasks"),
    ],
)
def test_what_cannot_be_meant_is_told(given: tuple[str, ...], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        names(*given)
    assert told in str(caught.value)


def test_what_the_finder_raises_is_passed_on() -> None:
    def find(name: str) -> Checkpoint:
        raise ModelError(f"no model folder {name}")

    with pytest.raises(ModelError, match="no model folder b"):
        models_of_tasks(["panx=b", "udpos=b", "xnli=b"], TASKS, find)


@given(
    own=st.dictionaries(st.sampled_from(TASKS), st.sampled_from("abc")),
    rest=st.none() | st.sampled_from("abc"),
    shuffle=st.randoms(use_true_random=False),
)
def test_each_task_has_its_own_model_or_the_common_one_in_whatever_order(
    own: dict[str, str], rest: str | None, shuffle: Random
) -> None:
    given_texts = [f"{task}={name}" for task, name in own.items()] + ([rest] if rest else [])
    shuffle.shuffle(given_texts)
    wanted = {task: own.get(task, rest) for task in TASKS}
    if None in wanted.values():
        with pytest.raises(UsageError, match="no model for task"):
            names(*given_texts)
    else:
        assert names(*given_texts) == wanted
