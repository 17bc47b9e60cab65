"""Tasks with a head through the command line: trained once, found again, with seeds, after failures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from headruns import (
    CAVEAT,
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
from safetensors.torch import load_file

from harness.cli.progress import Lines


def test_a_head_is_trained_once_and_read_for_every_task_and_language_that_needs_it(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path]
) -> None:
    isolated()
    run = tmp_path / "run"
    said = cli(*EVAL, "-t", "xquad,mlqa", "-l", "en,zh", "-o", run)
    assert said.code == 0, said.err
    assert said.err.count("fine-tuning on") == 1
    assert "fine-tuning on squad_v1/train (en, 24 examples, seed 0): 2 steps" in said.err
    assert {(record["task"], record["language"]) for record in records(run)} == {
        (task, language) for task in ("mlqa", "xquad") for language in ("en", "zh")
    }
    (training,) = manifest(run)["trainings"]
    assert {record["trained"]["checkpoint"] for record in records(run)} == {training["checkpoint"]}
    said = cli(*EVAL, "-t", "xquad", "-l", "de", "-o", run)
    assert said.code == 0
    assert "fine-tuning" not in said.err


def test_records_tell_how_the_head_came_about_and_what_the_model_read(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    folder = trained(cli, "udpos", run, "en,ar")
    told = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    for record in records(run):
        facts = record["trained"]
        assert (facts["task"], facts["split"], facts["language"]) == ("udpos", "train", "en")
        assert (facts["examples"], facts["steps"], facts["best_step"]) == (40, 2, None)
        assert facts["checkpoint"] == folder.name
        assert facts["parent"] == told["parent"]["weights"] == manifest(run)["model"]["weights"]
        assert facts["data"] == told["courses"][0]["data"]
        assert record["weights"] != facts["parent"]
        assert (record["seed"], record["model"], record["variant"]) == (0, "sample", VARIANT)
        assert record["caveats"] == [
            "built-in sample, not the data set",
            f"{CAVEAT}, not as the protocol says",
        ]
    (arabic,) = records(run, language="ar", metric="tag_f1")
    words = [len(tags) for tags in predicted(run, "udpos", "ar", "gold")]
    assert arabic["n"] == arabic["inputs"]["examples"] == len(words) == 10
    assert arabic["inputs"]["words"] == sum(words)
    assert arabic["inputs"]["max_length"] == 128
    assert {"rows", "pieces", "unknown", "truncated", "lost", "distinct", "empty"} <= set(arabic["inputs"])


def test_a_training_file_tells_lineage_and_curve(cli: Cli, tmp_path: Path) -> None:
    told = json.loads((trained(cli, "udpos", tmp_path / "run") / "training.json").read_text(encoding="utf-8"))
    assert told["changed"] == HYPER
    assert (told["steps"], told["planned_steps"], told["stopped_early"]) == (2, 2, False)
    assert [entry["step"] for entry in told["curve"]] == [1, 2]
    assert all(entry["loss"] > 0 for entry in told["curve"])
    assert [entry["learning_rate"] for entry in told["curve"]] == [1e-3, 5e-4]
    assert told["courses"][0]["from"] == "udpos/train"
    assert (told["courses"][0]["selected_on"], told["selection"], told["best"]) == (None, [], None)
    assert told["courses"][0]["head"]["kind"] == "token"


def test_a_checkpoint_is_chosen_on_the_selection_set_unless_the_last_is_wanted(
    cli: Cli, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    hyper = [part for part in FAST if part not in ("--hyper", "select=last")] + ["evaluate_every=1"]
    said = cli(*EVAL[:5], "-t", "panx", "-l", "en", "-o", run, *(f"--hyper={value}" for value in hyper))
    assert said.code == 0, said.err
    (training,) = manifest(run)["trainings"]
    folder = Path(os.environ["HARNESS_HOME"]) / "checkpoints" / training["checkpoint"]
    told = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert told["courses"][0]["selected_on"] == {"from": "panx/dev", "examples": 8, "metric": "tag_f1"}
    assert [entry["step"] for entry in told["selection"]] == [1, 2]
    best = max(entry["score"] for entry in told["selection"])
    first = next(entry["step"] for entry in told["selection"] if entry["score"] == best)
    assert told["best"] == {"step": first, "score": best}
    assert {record["trained"]["best_step"] for record in records(run)} == {first}


def test_a_second_run_computes_nothing_and_changes_no_record(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = (*EVAL, "-t", "udpos,xquad,tatoeba", "-l", "en,ar", "-o", run)
    assert cli(*arguments).code == 0
    before = (run / "records.jsonl").read_bytes()
    said = cli(*arguments)
    assert said.code == 0
    assert "0 units to compute, 5 done before" in said.err
    assert "fine-tuning" not in said.err
    assert (run / "records.jsonl").read_bytes() == before
    assert set(manifest(run)["work"].values()) == {0}


def test_a_finished_run_needs_no_checkpoint(cli: Cli, tmp_path: Path, isolated: Callable[..., Path]) -> None:
    home = isolated()
    run = tmp_path / "run"
    arguments = (*EVAL, "-t", "udpos", "-l", "en", "-o", run)
    assert cli(*arguments).code == 0
    before = (run / "records.jsonl").read_bytes()
    shutil.rmtree(home / "checkpoints")
    said = cli(*arguments)
    assert said.code == 0
    assert "0 units to compute, 1 done before" in said.err
    assert not (home / "checkpoints").exists()
    assert (run / "records.jsonl").read_bytes() == before


def test_predictions_that_are_gone_are_made_again_without_training(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = (*EVAL, "-t", "udpos", "-l", "en,ar", "-o", run)
    assert cli(*arguments).code == 0
    before = (run / "records.jsonl").read_bytes()
    made = predictions(run, "udpos")
    (path,) = (run / "predictions").rglob("ar.parquet")
    path.unlink()
    said = cli(*arguments)
    assert "1 unit to compute, 1 done before" in said.err
    assert "fine-tuning" not in said.err
    assert predictions(run, "udpos") == made
    assert (run / "records.jsonl").read_bytes() == before


def test_a_training_that_was_lost_is_done_again_and_gives_the_same(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path]
) -> None:
    runs = []
    for name in ("first", "second"):
        isolated(name)
        runs.append(tmp_path / f"run-{name}")
        said = cli(*EVAL, "-t", "udpos", "-l", "ar", "-o", runs[-1])
        assert "fine-tuning" in said.err
    assert (runs[0] / "records.jsonl").read_bytes() == (runs[1] / "records.jsonl").read_bytes()
    assert predictions(runs[0], "udpos") == predictions(runs[1], "udpos")


def test_overwriting_reads_the_head_again_but_trains_nothing(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = (*EVAL, "-t", "udpos", "-l", "en,ar", "-o", run)
    assert cli(*arguments).code == 0
    before = (run / "records.jsonl").read_bytes()
    said = cli(*arguments, "--overwrite", "always")
    assert "2 units to compute, 0 done before" in said.err
    assert "fine-tuning" not in said.err
    assert manifest(run)["work"]["batches"] > 0
    assert (run / "records.jsonl").read_bytes() == before


def test_another_hyper_parameter_adds_records_of_another_variant(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli(*EVAL, "-t", "udpos", "-l", "en", "-o", run).code == 0
    first = records(run)
    said = cli(*EVAL, "-t", "udpos", "-l", "en", "-o", run, "--hyper", "udpos.clip=0.5")
    assert "1 unit to compute, 0 done before" in said.err
    # What was asked for last counts; nothing else of the first ones is changed.
    assert [record for record in records(run) if record["variant"] == VARIANT] == [
        {**record, "main": False} for record in first
    ]
    others = [record for record in records(run) if record["variant"] != VARIANT]
    assert {record["metric"] for record in others} == {record["metric"] for record in first}
    for record in others:
        assert any("clip=0.5" in caveat for caveat in record["caveats"])
    assert [record["main"] for record in others] == [record["main"] for record in first]
    assert others[0]["trained"]["checkpoint"] != first[0]["trained"]["checkpoint"]


def test_another_training_set_is_no_part_of_the_same_numbers(cli: Cli, tmp_path: Path) -> None:
    """Else a table would show the mean of heads that learned different things."""
    run = tmp_path / "run"
    assert cli(*EVAL, "-t", "udpos", "-l", "en", "-o", run).code == 0
    assert cli(*EVAL, "-t", "udpos", "-l", "ar", "-o", run, "--train-from", "train:20").code == 0
    variants = {record["language"]: record["variant"] for record in records(run)}
    assert variants["en"] == VARIANT
    assert variants["ar"] != VARIANT


def test_each_seed_has_its_record_and_the_report_shows_their_mean(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = (*EVAL, "-t", "udpos", "-l", "en,ar", "-o", run, "--seeds", "0,1,2")
    said = cli(*arguments, "--json")
    assert said.code == 0, said.err
    found = records(run, language="ar", metric="tag_f1")
    assert [record["seed"] for record in found] == [0, 1, 2]
    assert len({record["weights"] for record in found}) == 3
    assert len({record["variant"] for record in found}) == 1
    assert len({record["value"] for record in found}) > 1
    assert set(predictions(run, "udpos")) == {
        (f"seed-{seed}", code) for seed in range(3) for code in ("ar", "en")
    }
    assert len(set(predictions(run, "udpos").values())) > 3
    mean = sum(record["value"] for record in found) / 3
    shown = cli("report", run, "--by-language")
    assert f"{mean:.2f}" in shown.out
    assert "means over 3 seeds" in (run / "report.md").read_text(encoding="utf-8")
    alone = [record for record in found if record["seed"] == 0]
    assert cli(*EVAL, "-t", "udpos", "-l", "ar", "-o", tmp_path / "alone").code == 0
    assert records(tmp_path / "alone", metric="tag_f1") == alone


def test_a_seed_that_is_computed_again_leaves_the_file_as_it_was(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = (*EVAL, "-t", "udpos", "-l", "en,ar", "-o", run, "--seeds", "0,1,2")
    assert cli(*arguments).code == 0
    before = (run / "records.jsonl").read_bytes()
    (path,) = (run / "predictions").rglob("seed-0/ar.parquet")
    path.unlink()
    said = cli(*arguments)
    assert "1 unit to compute, 5 done before" in said.err
    assert (run / "records.jsonl").read_bytes() == before
    assert cli(*arguments[:-1], "2,0,1", "--overwrite", "always").code == 0
    assert (run / "records.jsonl").read_bytes() == before


def test_a_seed_is_added_to_a_run_without_computing_the_others(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert cli(*EVAL, "-t", "udpos", "-l", "ar", "-o", run, "--seeds", "1").code == 0
    first = records(run)
    said = cli(*EVAL, "-t", "udpos", "-l", "ar", "-o", run, "--seeds", "0,1")
    assert "1 unit to compute, 1 done before" in said.err
    assert records(run, seed=1) == first
    assert len(records(run, seed=0)) == len(first)


def test_after_a_failure_of_one_unit_the_same_command_computes_that_unit_alone(
    cli: Cli, tmp_path: Path
) -> None:
    plugin = tmp_path / "fragile_tagging.py"
    plugin.write_text(
        "from dataclasses import replace\n"
        "from pathlib import Path\n"
        "from harness import hookimpl\n"
        "from harness.formats.tagging import Tagging\n"
        "from harness_xtreme.udpos import UDPOS\n"
        "class Fragile(Tagging):\n"
        "    def reader(self, examples, rows):\n"
        "        if len(examples) == 10 and not Path(__file__).with_name('mended').exists():\n"
        "            if any('ال' in word for example in examples for word in example.words):\n"
        "                raise RuntimeError('cannot read\\nArabic')\n"
        "        return super().reader(examples, rows)\n"
        "@hookimpl\n"
        "def harness_tasks():\n"
        "    task = replace(UDPOS, name='fragile', format=Fragile(labels=UDPOS.format.labels))\n"
        "    training = {name: replace(one, task='fragile', select=None) for name, one in UDPOS.training.items()}\n"
        "    return [replace(task, training=training)]\n",
        encoding="utf-8",
    )
    run = tmp_path / "run"
    arguments = (*EVAL, "-t", "fragile,udpos", "-l", "en,ar", "-o", run, "-p", plugin)
    said = cli(*arguments)
    assert said.code == 3, said.err
    (line,) = [line for line in said.err.splitlines() if " failed: " in line]
    for word in ("fragile/ar", "plugin fragile_tagging", "RuntimeError", "cannot read Arabic"):
        assert word in line
    before = records(run)
    assert {(record["task"], record["language"]) for record in before} == {
        ("fragile", "en"),
        ("udpos", "ar"),
        ("udpos", "en"),
    }
    (tmp_path / "mended").touch()
    said = cli(*arguments)
    assert said.code == 0, said.err
    assert "1 unit to compute, 3 done before" in said.err
    assert "fine-tuning" not in said.err
    after = records(run)
    assert [record for record in after if (record["task"], record["language"]) != ("fragile", "ar")] == before
    # The same training under two names is one training, and the two tasks agree.
    for language in ("en", "ar"):
        assert predicted(run, "fragile", language) == predicted(run, "udpos", language)
        (one,) = records(run, task="fragile", language=language, metric="tag_f1")
        (other,) = records(run, task="udpos", language=language, metric="tag_f1")
        assert one["weights"] == other["weights"]


def test_an_interrupted_training_goes_on_and_ends_as_if_it_had_not_been(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = isolated("straight-home")
    longer = {**HYPER, "max_steps": "4"}
    hyper = [f"--hyper={name}={value}" for name, value in longer.items()]
    arguments = (*EVAL[:5], *hyper, "-t", "udpos", "-l", "ar")
    assert cli(*arguments, "-o", tmp_path / "straight").code == 0
    home = isolated("broken-home")

    def interrupted(self: Lines, step: int, loss: float) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Lines, "trained", interrupted)
        said = cli(*arguments, "-o", tmp_path / "run")
    assert said.code == 130
    assert said.complaint == "harness: interrupted; the same command goes on from here"
    assert [path.suffix for path in (home / "checkpoints").iterdir() if path.is_dir()] == [".work"]
    (unit,) = manifest(tmp_path / "run")["units"]
    assert (manifest(tmp_path / "run")["status"], unit["status"]) == ("interrupted", "missing")
    said = cli(*arguments, "-o", tmp_path / "run")
    assert said.code == 0, said.err
    assert "4 steps, 2 done before" in said.err
    assert (tmp_path / "run/records.jsonl").read_bytes() == (tmp_path / "straight/records.jsonl").read_bytes()
    found = [
        next(path for path in (where / "checkpoints").iterdir() if path.is_dir())
        for where in (straight, home)
    ]
    weights = [load_file(folder / "model.safetensors") for folder in found]
    assert set(weights[0]) == set(weights[1])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not any(path.suffix == ".work" for path in (home / "checkpoints").iterdir())


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that do not outlive the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.full
def test_two_processes_that_want_the_same_head_train_it_once(
    tmp_path: Path, isolated: Callable[..., Path], processes: list[subprocess.Popen[str]]
) -> None:
    home = isolated()
    for name in ("one", "two"):
        command = [sys.executable, "-m", "harness", *EVAL, "-t", "udpos", "-l", "en", "-o", name]
        processes.append(
            subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        )
    told = [process.communicate(timeout=600)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert sum("fine-tuning on" in text for text in told) == 1
    assert Path("one/records.jsonl").read_bytes() == Path("two/records.jsonl").read_bytes()
    (folder,) = [path for path in (home / "checkpoints").iterdir() if path.is_dir()]
    assert (folder / "training.json").is_file()


@pytest.mark.full
def test_all_nine_tasks_run_on_the_sample(cli: Cli, tmp_path: Path) -> None:
    run = tmp_path / "run"
    said = cli(*EVAL, "-t", "xtreme", "-o", run)
    assert said.code == 0, said.err
    assert said.err.count("fine-tuning on") <= 6
    assert {record["task"] for record in records(run)} == {
        "bucc2018",
        "mlqa",
        "panx",
        "pawsx",
        "tatoeba",
        "tydiqa",
        "udpos",
        "xnli",
        "xquad",
    }
    assert len(manifest(run)["trainings"]) == 6
    assert "overall, not xtreme's number: mean of 9 of 9 tasks" in said.out
