"""Models that carry a head: read in whatever order and under whatever names its labels are, or left aside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from headruns import (
    FAST,
    Cli,
    changed,
    manifest,
    named,
    plan_of,
    predicted,
    predictions,
    records,
    trained,
)


@pytest.mark.parametrize("task", ["udpos", "xquad", "pawsx"])
def test_a_fine_tuned_folder_as_the_model_gives_what_its_training_run_gave(
    cli: Cli, tmp_path: Path, task: str
) -> None:
    folder = trained(cli, task, tmp_path / "trained", "en,de")
    run = tmp_path / "carried"
    said = cli("eval", "-m", folder, "--data", "sample", "-t", task, "-l", "en,de", "-o", run, "--no-train")
    assert said.code == 0, said.err
    assert "fine-tuning" not in said.err
    assert manifest(run)["trainings"] == []
    for language in ("en", "de"):
        assert predicted(run, task, language) == predicted(tmp_path / "trained", task, language)
    for ours, theirs in zip(records(run), records(tmp_path / "trained"), strict=True):
        assert (ours["value"], ours["stderr"], ours["items"]) == (
            theirs["value"],
            theirs["stderr"],
            theirs["items"],
        )
        assert ours["weights"] == theirs["weights"]
        assert (ours["seed"], ours["trained"], ours["variant"]) == (None, {}, "xtreme.head")
        assert ours["caveats"] == theirs["caveats"]
    assert {place for place, _ in predictions(run, task)} == {"seed-none"}


def test_what_is_predicted_by_these_few_steps_is_not_always_the_same(cli: Cli, tmp_path: Path) -> None:
    """Else comparing predictions would show little."""
    trained(cli, "udpos", tmp_path / "udpos", "en,de")
    trained(cli, "xquad", tmp_path / "xquad", "en,de")
    tags = {tag for tags in predicted(tmp_path / "udpos", "udpos", "en") for tag in tags}
    answers = {answer["text"] for answer in predicted(tmp_path / "xquad", "xquad", "en")}
    assert len(tags) > 2
    assert len(answers) > 2


def test_a_plan_tells_a_head_that_the_model_brings(cli: Cli, tmp_path: Path) -> None:
    folder = trained(cli, "udpos", tmp_path / "trained")
    said = cli("eval", "-m", folder, "--data", "sample", "-t", "udpos", "-l", "en", "--dry-run")
    assert said.code == 0
    assert "the model's own head" in said.out
    assert not any(line.startswith("train ") for line in said.out.splitlines())


@pytest.mark.parametrize("task", ["panx", "xnli"])
def test_a_head_of_another_task_is_left_behind_and_the_plan_says_so(
    cli: Cli, tmp_path: Path, task: str
) -> None:
    folder = trained(cli, "udpos", tmp_path / "trained")
    arguments = ("eval", "-m", folder, "--data", "sample", "-t", task, "-l", "en", *FAST)
    said = cli(*arguments, "-o", tmp_path / "run", "--dry-run")
    assert "on an encoder that carries another head" in said.out
    said = cli(*arguments, "-o", tmp_path / "run")
    assert said.code == 0, said.err
    assert "fine-tuning on" in said.err
    (parent,) = {record["trained"]["parent"] for record in records(tmp_path / "run")}
    assert parent == records(tmp_path / "trained")[0]["weights"]
    said = cli(*arguments, "-o", tmp_path / "refused", "--no-train")
    assert said.code == 2
    told = {"panx": "its head has the labels ADJ, ADP", "xnli": "its head is of kind 'token', not 'pooled'"}
    assert told[task] in said.complaint


@pytest.mark.parametrize(("task", "order"), [("udpos", 16), ("pawsx", 1), ("xnli", 2)])
def test_the_order_of_a_heads_labels_does_not_matter(cli: Cli, tmp_path: Path, task: str, order: int) -> None:
    folder = trained(cli, task, tmp_path / "trained")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    labels = [config["id2label"][str(number)] for number in range(len(config["id2label"]))]
    rows = [(number + order) % len(labels) for number in range(len(labels))]
    assert rows != sorted(rows)
    other = changed(
        folder,
        tmp_path / "permuted",
        config=named([labels[row].upper() for row in rows]),
        rows=rows,
    )
    run = tmp_path / "run"
    said = cli("eval", "-m", other, "--data", "sample", "-t", task, "-l", "en", "-o", run, "--no-train")
    assert said.code == 0, said.err
    assert predicted(run, task, "en") == predicted(tmp_path / "trained", task, "en")


def test_a_head_that_names_no_label_is_read_as_the_user_names_it(cli: Cli, tmp_path: Path) -> None:
    folder = trained(cli, "udpos", tmp_path / "trained")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    labels = [config["id2label"][str(number)] for number in range(17)]
    rows = list(reversed(range(17)))
    generic = named([f"LABEL_{number}" for number in range(17)])
    other = changed(folder, tmp_path / "generic", config=generic, rows=rows)
    arguments = ("eval", "-m", other, "--data", "sample", "-t", "udpos", "-l", "en")
    said = cli(*arguments, "-o", tmp_path / "run")
    assert said.code == 2
    for word in (
        "17 outputs but names none of them",
        "task 'udpos'",
        f"--head-labels udpos={','.join(labels)} in the order",
        "--head-labels udpos=none to train a new one",
    ):
        assert word in said.complaint
    assert not (tmp_path / "run").exists()
    order = ",".join(reversed(labels))
    said = cli(*arguments, "-o", tmp_path / "run", "--no-train", "--head-labels", f"udpos={order}")
    assert said.code == 0, said.err
    assert predicted(tmp_path / "run", "udpos", "en") == predicted(tmp_path / "trained", "udpos", "en")
    wrong = ",".join(labels)
    said = cli(*arguments, "-o", tmp_path / "wrong", "--no-train", "--head-labels", f"udpos={wrong}")
    assert predicted(tmp_path / "wrong", "udpos", "en") != predicted(tmp_path / "run", "udpos", "en")


def test_a_head_may_be_left_aside(cli: Cli, tmp_path: Path) -> None:
    folder = trained(cli, "udpos", tmp_path / "trained")
    arguments = ("eval", "-m", folder, "--data", "sample", "-t", "udpos", "-l", "en", *FAST)
    value = plan_of(cli(*arguments, "--head-labels", "udpos=none", "--dry-run", "--json"))
    assert len(value["trainings"]) == 1
    said = cli(*arguments, "--head-labels", "udpos=none", "--no-train")
    assert said.code == 2
    assert "left aside as --head-labels says" in said.complaint


def test_tasks_with_models_of_their_own_are_one_run(cli: Cli, tmp_path: Path) -> None:
    tagger = trained(cli, "udpos", tmp_path / "udpos")
    reader = trained(cli, "xquad", tmp_path / "xquad")
    run = tmp_path / "run"
    models = ("-m", f"udpos={tagger}", "-m", f"xquad={reader}", "-m", "sample")
    said = cli("eval", *models, "--data", "sample", "-t", "udpos,xquad,tatoeba", "-l", "en,de", "-o", run)
    assert said.code == 0, said.err
    assert "fine-tuning" not in said.err
    for task in ("udpos", "xquad"):
        assert predicted(run, task, "en") == predicted(tmp_path / task, task, "en")
    weights = {record["task"]: record["weights"] for record in records(run)}
    assert len(set(weights.values())) == 3
    assert manifest(run)["model"]["tasks"] == weights
    names = {record["task"]: record["model"] for record in records(run)}
    assert names == {"tatoeba": "sample", "udpos": str(tagger), "xquad": str(reader)}


def test_a_folder_of_task_folders_is_one_model_and_its_run_takes_more_selections(
    cli: Cli, tmp_path: Path
) -> None:
    folder = tmp_path / "all"
    for task in ("udpos", "xquad"):
        shutil.copytree(trained(cli, task, tmp_path / task), folder / task)
    run = tmp_path / "run"
    arguments = ("eval", "-m", folder, "--data", "sample", "-o", run, "--no-train")
    said = cli(*arguments, "-t", "udpos,xquad", "-l", "en")
    assert said.code == 0, said.err
    for task in ("udpos", "xquad"):
        assert predicted(run, task, "en") == predicted(tmp_path / task, task, "en")
    first = records(run)
    said = cli(*arguments, "-t", "udpos,xquad", "-l", "ar")
    assert said.code == 0, said.err
    assert [record for record in records(run) if record["language"] == "en"] == first
    said = cli(*arguments, "-t", "pawsx,udpos", "-l", "en")
    assert said.code == 2
    assert "it has none for pawsx; add -m pawsx=MODEL" in said.complaint
