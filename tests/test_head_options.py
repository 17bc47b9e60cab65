"""What the user changes about a task with a head: what is learned, limits, lengths, splits, batches; and the same from Python."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from headruns import (
    EVAL,
    FAST,
    HYPER,
    VARIANT,
    Cli,
    manifest,
    predicted,
    predictions,
    records,
    trained,
)

import harness


def test_what_is_learned_is_not_scored_in_any_language(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = cli(*EVAL, "-t", "pawsx", "-l", "en,de", "-o", run, "--train-from", "pawsx=test:0-4")
    assert said.code == 0, said.err
    assert "fine-tuning on pawsx/test rows 0-4 (en, 5 examples, seed 0)" in said.err
    for language in ("en", "de"):
        assert predicted(run, "pawsx", language, "id") == [str(number) for number in range(6, 13)]
    for record in records(run):
        assert record["n"] == record["inputs"]["examples"] == 7
        assert "5 examples of this split were learned and are left out" in record["caveats"]
        assert "trained on pawsx/test rows 0-4, the protocol says pawsx/train" in record["caveats"]
        assert record["trained"]["examples"] == 5
    report = (run / "report.md").read_text(encoding="utf-8")
    assert "were learned and are left out" in report


def test_the_plan_says_how_many_are_left_out(cli: Cli, tmp_path: Path) -> None:
    arguments = (*EVAL, "-t", "xquad", "-l", "en,zh", "-o", tmp_path / "run")
    said = cli(*arguments, "--train-from", "xquad/dev:3", "--dry-run")
    assert "learned from xquad/dev rows 0-2 (en, 3 examples)" in said.out
    assert said.out.count("9 examples, 9 distinct, from xquad, a head that is trained, 3 left out") == 2


def test_a_limit_is_taken_of_what_is_left(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = (*EVAL, "-t", "pawsx", "-l", "en", "-o", run, "--train-from", "test:0-4", "--limit", "6")
    assert cli(*arguments).code == 0
    ids = predicted(run, "pawsx", "en", "id")
    assert len(ids) == 6
    assert not set(ids) & {"1", "2", "3", "4", "5"}


def test_another_tasks_split_teaches_the_same_head(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = cli(*EVAL, "-t", "xnli,xquad", "-l", "en", "-o", run, "--train-from", "xnli=xnli/dev")
    assert said.code == 0, said.err
    (record,) = records(run, task="xnli", metric="accuracy")
    assert (record["trained"]["task"], record["trained"]["split"], record["n"]) == ("xnli", "dev", 18)
    assert "trained on xnli/dev, the protocol says mnli/train" in record["caveats"]
    assert not any("left out" in caveat for caveat in record["caveats"])
    (other,) = records(run, task="xquad", metric="squad_f1")
    assert other["trained"]["task"] == "squad_v1"
    assert not any("trained on" in caveat for caveat in other["caveats"])


def test_learning_the_selection_set_takes_the_last_checkpoint_and_says_so(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    hyper = [part for part in FAST if part not in ("--hyper", "select=last")]
    arguments = (*EVAL[:5], "-t", "pawsx", "-l", "en", "-o", run, "--train-from", "dev")
    said = cli(*arguments, *(f"--hyper={value}" for value in hyper))
    assert said.code == 0, said.err
    assert "selection score" not in said.err
    for record in records(run):
        assert "the last checkpoint was taken, for the selection set was learned" in record["caveats"]
        assert record["n"] == 12


def test_a_limit_a_split_and_a_length_of_the_user_are_marked(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--limit", "3", "--split", "panx=dev", "--max-length", "12")
    said = cli(*EVAL, "-t", "panx,udpos", "-l", "en", "-o", run, *options)
    assert said.code == 0, said.err
    (panx,) = records(run, task="panx", metric="tag_f1")
    assert (panx["n"], panx["limited"], panx["split"]) == (3, 3, "dev")
    assert "split dev, the task's own is test" in panx["caveats"]
    assert any("chosen on" in caveat for caveat in panx["caveats"]) is False
    for record in records(run):
        assert record["inputs"]["max_length"] == 12
        assert "texts are cut at 12 tokens, not where the protocol says" in record["caveats"]
        assert record["variant"] != VARIANT
    assert sum(len(tags) for tags in predicted(run, "panx", "en")) == panx["inputs"]["words"]
    checkpoint = Path(os.environ["HARNESS_HOME"]) / "checkpoints" / panx["trained"]["checkpoint"]
    assert (
        json.loads((checkpoint / "training.json").read_text(encoding="utf-8"))["courses"][0]["max_length"]
        == 12
    )


def test_scoring_the_set_that_chose_the_checkpoint_is_marked(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    hyper = [part for part in FAST if part not in ("--hyper", "select=last")]
    arguments = (*EVAL[:5], "-t", "panx", "-l", "de", "-o", run, "--split", "dev")
    assert cli(*arguments, *(f"--hyper={value}" for value in hyper)).code == 0
    for record in records(run):
        assert "the checkpoint was chosen on the English part of the scored split dev" in record["caveats"]


def test_a_limit_trains_the_same_head(cli: Cli, tmp_path: Path) -> None:
    folder = trained(cli, "udpos", tmp_path / "all")
    assert trained(cli, "udpos", tmp_path / "few", "en", "--limit", "2") == folder


def test_a_deterministic_run_does_not_depend_on_batches_or_on_what_else_is_run(
    cli: Cli, tmp_path: Path
) -> None:
    arguments = (*EVAL, "--deterministic")
    for name, more in (
        ("small", ("-t", "udpos,xquad", "-l", "en,ar", "--batch-tokens", "1")),
        ("large", ("-t", "udpos,xquad", "-l", "en,ar", "--batch-tokens", "100000")),
        ("alone", ("-t", "xquad", "-l", "ar")),
    ):
        said = cli(*arguments, *more, "-o", tmp_path / name)
        assert said.code == 0, said.err
    for task in ("udpos", "xquad"):
        assert predictions(tmp_path / "small", task) == predictions(tmp_path / "large", task)
    assert manifest(tmp_path / "small")["work"] == manifest(tmp_path / "large")["work"]
    alone = predictions(tmp_path / "alone", "xquad")
    assert alone == {
        key: value
        for key, value in predictions(tmp_path / "small", "xquad").items()
        if key == ("seed-0", "ar")
    }
    assert (tmp_path / "small/records.jsonl").read_bytes() == (tmp_path / "large/records.jsonl").read_bytes()


def test_without_it_the_size_of_batches_changes_no_answer(cli: Cli, tmp_path: Path) -> None:
    for name, tokens in (("small", "1"), ("large", "100000")):
        arguments = (*EVAL, "-t", "udpos,xquad", "-l", "en,ar", "-o", tmp_path / name)
        assert cli(*arguments, "--batch-tokens", tokens).code == 0
    for language in ("en", "ar"):
        small, large = (predicted(tmp_path / name, "udpos", language) for name in ("small", "large"))
        assert small == large
        small, large = (predicted(tmp_path / name, "xquad", language) for name in ("small", "large"))
        assert [answer["text"] for answer in small] == [answer["text"] for answer in large]
    work = [manifest(tmp_path / name)["work"] for name in ("small", "large")]
    assert work[0]["batches"] > work[1]["batches"]


def test_trading_time_for_memory_trains_the_same_head(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path]
) -> None:
    for name, more in (("plain", ()), ("saving", ("--gradient-checkpointing",))):
        isolated(name)
        assert cli(*EVAL, "-t", "udpos", "-l", "ar", "-o", tmp_path / f"run-{name}", *more).code == 0
    assert predictions(tmp_path / "run-plain", "udpos") == predictions(tmp_path / "run-saving", "udpos")


def test_python_gives_the_run_that_the_command_line_gives(cli: Cli, tmp_path: Path) -> None:
    arguments = (*EVAL, "-t", "udpos,xquad", "-l", "en", "--seeds", "0,1", "-o", tmp_path / "cli")
    assert cli(*arguments).code == 0
    run = harness.evaluate(
        model="sample",
        tasks=["udpos", "xquad"],
        languages="en",
        data="sample",
        hyper=[f"{name}={value}" for name, value in HYPER.items()],
        seeds=(0, 1),
        output=tmp_path / "python",
    )
    assert not run.failures
    assert [record.seed for record in run.records if record.metric == "tag_f1"] == [0, 1]
    assert (tmp_path / "python/records.jsonl").read_bytes() == (tmp_path / "cli/records.jsonl").read_bytes()


def test_python_takes_one_text_for_several(isolated: object, tmp_path: Path) -> None:
    run = harness.evaluate(
        model="sample",
        tasks="pawsx",
        languages="en",
        data="sample",
        train_from="test:0-4",
        hyper=list(FAST[1::2]),
        output=tmp_path / "run",
    )
    assert {record.n for record in run.records} == {7}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"train": False}, "task 'udpos' needs a token head"),
        ({"hyper": "nosuch=1"}, "no hyper-parameter 'nosuch'"),
        ({"seeds": ()}, "give different whole numbers"),
        ({"seeds": (1, 1)}, "give different whole numbers"),
        ({"seeds": (-1,)}, "give different whole numbers"),
        ({"train_from": ["nosuch"]}, "has the splits test, dev, train"),
    ],
)
def test_python_raises_what_the_command_line_tells(
    isolated: object, tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(harness.UsageError) as caught:
        harness.evaluate(
            model="sample", tasks="udpos", languages="en", data="sample", output=tmp_path / "run", **options
        )
    assert told in str(caught.value)
    assert not (tmp_path / "run").exists()
