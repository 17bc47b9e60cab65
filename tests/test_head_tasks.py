"""Tasks with a head through the command line and Python: trained, found again, read from checkpoints, told in the plan.

Every test trains with the same few steps in the session's cache folder, so each head is trained once.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import harness_tasks
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

import harness
from harness.cli.progress import Lines

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


# The plan


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


# --no-train


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


# What is computed, and what is not computed twice


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


# Seeds


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


# Failures of single units


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


# Models that carry a head


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


# --train-from


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


# Lengths, limits, splits


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


# Batches


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


# Python


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


# Several processes


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
