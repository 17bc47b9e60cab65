"""Checkpoints that are not what a task needs: told in one line, before anything is computed where that can be known.

A head that is partly random, that means something else, or whose numbers nobody vouches for is never scored.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from told import assert_one_line
from torch import Tensor

from harness.cli.progress import Lines

Cli = Callable[..., Any]
Change = Callable[[Path], object]

FAST = tuple(
    f"--hyper={value}"
    for value in (
        "max_steps=2",
        "batch_size=4",
        "learning_rate=1e-3",
        "warmup=0",
        "dropout=0",
        "select=last",
    )
)
DATA = ("--data", "sample")


def assert_failed_units(said: Any, words: Sequence[str], units: int) -> None:
    """A run of which some units failed: each told in one line that blames no plugin, and all at the end."""
    assert said.code == 3, said.err
    assert "Traceback" not in said.err
    assert all(line.startswith("harness: ") for line in said.err.strip().splitlines()), said.err
    told = [line for line in said.err.splitlines() if " failed: " in line]
    assert len(told) == units, said.err
    for line in told:
        assert "plugin" not in line
        for word in words:
            assert word in line, f"{word!r} is not in {line!r}"


def scored(run: Path) -> set[tuple[str, str]]:
    """Task and language of what is in ``records.jsonl``."""
    if not (run / "records.jsonl").exists():
        return set()
    lines = (run / "records.jsonl").read_text(encoding="utf-8").splitlines()
    return {(record["task"], record["language"]) for record in map(json.loads, lines)}


@pytest.fixture
def trained(cli: Cli, tmp_path: Path) -> Callable[[str], Path]:
    """Gives a copy of the checkpoint that a task trains, to be damaged."""

    def copy(task: str) -> Path:
        return Path(shutil.copytree(original(cli, task, tmp_path / f"train-{task}"), tmp_path / f"my-{task}"))

    return copy


def original(cli: Cli, task: str, run: Path) -> Path:
    """The checkpoint in the cache folder that a task trains."""
    said = cli("eval", "-m", "sample", *DATA, *FAST, "-t", task, "-l", "en", "-o", run)
    assert said.code == 0, said.err
    (training,) = json.loads((run / "run.json").read_text(encoding="utf-8"))["trainings"]
    return Path(os.environ["HARNESS_HOME"]) / "checkpoints" / str(training["checkpoint"])


def tensors(change: Callable[[dict[str, Tensor]], object]) -> Change:
    """Change the tensors of a model folder."""

    def apply(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        change(weights)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def without(part: str) -> Change:
    """Take tensors out."""
    return tensors(lambda weights: [weights.pop(name) for name in [name for name in weights if part in name]])


def first_rows(part: str, count: int) -> Change:
    """Keep only the first rows of some tensors."""

    def change(weights: dict[str, Tensor]) -> None:
        for name in [name for name in weights if part in name]:
            weights[name] = weights[name][:count].clone()

    return tensors(change)


def config(**members: object) -> Change:
    """Change members of the configuration; None takes one out."""

    def apply(folder: Path) -> None:
        path = folder / "config.json"
        told = {**json.loads(path.read_text(encoding="utf-8")), **members}
        kept = {name: value for name, value in told.items() if value is not None}
        path.write_text(json.dumps(kept), encoding="utf-8")

    return apply


def named(*labels: str) -> Change:
    """Give the outputs names."""
    return config(
        id2label={str(number): label for number, label in enumerate(labels)},
        label2id={label: number for number, label in enumerate(labels)},
    )


def text(name: str, content: str) -> Change:
    """Write a file into the folder."""
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


def both(*changes: Change) -> Change:
    """One change after the other."""
    return lambda folder: [change(folder) for change in changes]


# What can be known before anything is computed


@pytest.mark.parametrize(
    ("task", "change", "words"),
    [
        pytest.param(
            "xnli",
            without("classifier."),
            ["4 tensors of its pooled head are missing", "classifier.dense.bias", "never scored"],
            id="no head",
        ),
        pytest.param(
            "udpos",
            without("classifier.bias"),
            ["1 tensors of its token head are missing", "(classifier.bias)"],
            id="half a head",
        ),
        pytest.param("xquad", without("qa_outputs"), ["of its span head", "qa_outputs.weight"], id="no span"),
        pytest.param(
            "xnli",
            first_rows("classifier.out_proj", 2),
            ["of another shape", "classifier.out_proj.weight"],
            id="head of two outputs that says three",
        ),
        pytest.param(
            "xnli",
            lambda folder: (folder / "model.safetensors").write_bytes(
                (folder / "model.safetensors").read_bytes()[:-100]
            ),
            ["model.safetensors", "cut short"],
            id="weights cut",
        ),
        pytest.param(
            "xnli", text("model.safetensors", ""), ["not a whole safetensors file"], id="no weights"
        ),
        pytest.param("xnli", text("harness_head.json", "{"), ["harness_head.json", "JSON"], id="own head"),
        pytest.param("xnli", text("harness_head.json", "{}"), ["damaged", "kind"], id="own head empty"),
        pytest.param(
            "xnli", config(id2label={"x": "entailment"}), ["config.json", "id2label"], id="label map"
        ),
        pytest.param(
            "xnli",
            text("adapter_config.json", "{}"),
            ["adapter_config.json", "low-rank adapters", "merge_and_unload"],
            id="adapter beside the weights",
        ),
        pytest.param("xnli", config(hidden_act="nosuch"), ["cannot be opened", "nosuch"], id="configuration"),
        pytest.param("xnli", config(id2label=["entailment"]), ["config.json", "id2label"], id="label list"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_told_before_anything_is_computed(
    cli: Cli,
    tmp_path: Path,
    trained: Callable[[str], Path],
    task: str,
    change: Change,
    words: list[str],
) -> None:
    folder = trained(task)
    change(folder)
    said = cli("eval", "-m", folder, *DATA, *FAST, "-t", task, "-l", "en", "-o", tmp_path / "run")
    assert_one_line(said, [str(folder), *words])
    assert not (tmp_path / "run").exists()


def test_the_head_of_one_task_that_is_not_whole_stops_a_run_of_several(
    cli: Cli, tmp_path: Path, trained: Callable[[str], Path]
) -> None:
    whole, broken = trained("xnli"), trained("udpos")
    without("classifier.")(broken)
    models = ("-m", f"xnli={whole}", "-m", f"udpos={broken}")
    said = cli("eval", *models, *DATA, "-t", "udpos,xnli", "-l", "en", "-o", tmp_path / "run")
    assert_one_line(said, [str(broken), "of its token head are missing"])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(named("yes", "no", "maybe"), ["has the labels yes, no, maybe, not"], id="others"),
        pytest.param(
            both(named("entailment", "neutral"), first_rows("classifier.out_proj", 2)),
            ["has the labels entailment, neutral, not entailment, neutral, contradiction"],
            id="too few",
        ),
        pytest.param(
            named("entailment", "neutral", "neutral"),
            ["has the labels entailment, neutral, neutral"],
            id="twice",
        ),
        pytest.param(
            config(architectures=["XLMRobertaForTokenClassification"]),
            ["its head is of kind 'token', not 'pooled'"],
            id="kind",
        ),
        pytest.param(config(architectures=["XLMRobertaModel"]), ["it has no head"], id="says it has none"),
        pytest.param(config(architectures=None), ["it has no head"], id="says nothing"),
    ],
)
def test_a_head_that_means_something_else_is_refused_where_training_is_not_allowed(
    cli: Cli, tmp_path: Path, trained: Callable[[str], Path], change: Change, words: list[str]
) -> None:
    folder = trained("xnli")
    change(folder)
    said = cli("eval", "-m", folder, *DATA, "-t", "xnli", "-l", "en", "-o", tmp_path / "run", "--no-train")
    assert_one_line(said, ["task 'xnli' needs a pooled head", str(folder), *words, "leave out --no-train"])
    assert not (tmp_path / "run").exists()


GENERIC = named("LABEL_0", "LABEL_1", "LABEL_2")


@pytest.mark.parametrize(
    ("change", "labels", "words"),
    [
        pytest.param(GENERIC, "entailment,neutral", ["3 outputs"], id="too few"),
        pytest.param(
            GENERIC, "entailment,neutral,neutral", ["entailment, neutral, contradiction"], id="twice"
        ),
        pytest.param(GENERIC, "yes,no,maybe", ["entailment, neutral, contradiction"], id="others"),
        pytest.param(GENERIC, "", ["--head-labels"], id="nothing"),
        pytest.param(
            both(named("LABEL_0", "LABEL_1"), first_rows("classifier.out_proj", 2)),
            "entailment,neutral,contradiction",
            ["2 outputs"],
            id="more than the head has, in order",
        ),
        pytest.param(
            both(named("LABEL_0", "LABEL_1"), first_rows("classifier.out_proj", 2)),
            "contradiction,neutral,entailment",
            ["2 outputs"],
            id="more than the head has, in another order",
        ),
    ],
)
def test_names_for_a_heads_outputs_that_do_not_fit_are_refused(
    cli: Cli, tmp_path: Path, trained: Callable[[str], Path], change: Change, labels: str, words: list[str]
) -> None:
    """Whoever names labels wants that head to be read, and not another one to be trained."""
    folder = trained("xnli")
    change(folder)
    arguments = ("eval", "-m", folder, *DATA, *FAST, "-t", "xnli", "-l", "en", "-o", tmp_path / "run")
    assert_one_line(cli(*arguments, "--head-labels", f"xnli={labels}"), ["--head-labels xnli=", *words])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-length", "129"), ["--max-length 129 is not within 3 to 128", "my-xnli"]),
        (("--max-length", "2"), ["--max-length 2 is not within 3 to 128"]),
    ],
)
def test_a_length_that_the_model_cannot_read_is_refused(
    cli: Cli,
    tmp_path: Path,
    trained: Callable[[str], Path],
    arguments: tuple[str, ...],
    words: list[str],
) -> None:
    said = cli(
        "eval", "-m", trained("xnli"), *DATA, "-t", "xnli", "-l", "en", "-o", tmp_path / "run", *arguments
    )
    assert_one_line(said, words)
    assert not (tmp_path / "run").exists()


def test_a_shorter_limit_of_the_model_is_kept_to(
    cli: Cli, tmp_path: Path, trained: Callable[[str], Path]
) -> None:
    folder = trained("xnli")
    path = folder / "tokenizer_config.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**told, "model_max_length": 20}), encoding="utf-8")
    said = cli("eval", "-m", folder, *DATA, "-t", "xnli", "-l", "en", "-o", tmp_path / "run", "--json")
    assert said.code == 0, said.err
    assert {record["inputs"]["max_length"] for record in json.loads(said.out)["records"]} == {20}


# What shows when the model is opened


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            without("layer.1.output.dense.weight"),
            [
                "1 tensors of the model and its head are missing",
                "layer.1.output.dense.weight",
                "nothing is scored",
            ],
            id="encoder",
        ),
        pytest.param(
            first_rows("layer.0.intermediate.dense.bias", 5),
            ["layer.0.intermediate.dense.bias"],
            id="encoder's shape",
        ),
        pytest.param(text("tokenizer.json", "{"), ["cannot be opened"], id="tokenizer"),
    ],
)
def test_a_checkpoint_that_cannot_be_opened_costs_its_own_task_alone(
    cli: Cli, tmp_path: Path, trained: Callable[[str], Path], change: Change, words: list[str]
) -> None:
    folder = trained("xnli")
    change(folder)
    run = tmp_path / "run"
    models = ("-m", f"xnli={folder}", "-m", "sample")
    said = cli("eval", *models, *DATA, "-t", "tatoeba,xnli", "-l", "de,en", "-o", run, "--no-train")
    assert_failed_units(said, ["xnli/", str(folder), *words], units=2)
    assert scored(run) == {("tatoeba", "de")}


def test_a_head_of_another_kind_shows_in_the_plan(
    cli: Cli, tmp_path: Path, trained: Callable[[str], Path]
) -> None:
    folder = trained("xnli")
    text("harness_head.json", '{"kind": "token", "labels": ["O"], "mean": false}')(folder)
    models = ("-m", f"xnli={folder}", "-m", "sample")
    said = cli("eval", *models, *DATA, "-t", "tatoeba,xnli", "-o", tmp_path / "run", "--no-train")
    assert_one_line(said, ["its head is of kind 'token', not 'pooled'"])
    assert not (tmp_path / "run").exists()


OWN = '{"kind": "pooled", "labels": ["entailment", "neutral", "contradiction"], "mean": false}'


@pytest.mark.parametrize(
    ("state", "words"),
    [
        pytest.param(None, ["harness_head.safetensors"], id="gone"),
        pytest.param({}, ["harness_head.safetensors", "dense.bias, dense.weight"], id="empty"),
        pytest.param(
            {
                "dense.weight": (96, 96),
                "dense.bias": (96,),
                "out.weight": (2, 96),
                "out.bias": (2,),
            },
            ["out.weight"],
            id="shape",
        ),
    ],
)
def test_a_head_of_the_harness_own_that_is_not_whole_is_never_scored(
    cli: Cli,
    tmp_path: Path,
    sample_model: Path,
    state: dict[str, tuple[int, ...]] | None,
    words: list[str],
) -> None:
    folder = tmp_path / "own"
    shutil.copytree(sample_model, folder)
    (folder / "harness_head.json").write_text(OWN, encoding="utf-8")
    if state is not None:
        save_file(
            {name: torch.zeros(shape) for name, shape in state.items()}, folder / "harness_head.safetensors"
        )
    said = cli("eval", "-m", folder, *DATA, "-t", "xnli", "-l", "de", "-o", tmp_path / "run")
    assert_failed_units(said, ["xnli/de", str(folder), *words], units=1)
    assert scored(tmp_path / "run") == set()


@pytest.mark.parametrize("task", ["udpos", "xnli", "xquad"])
def test_a_tokenizer_with_more_pieces_than_the_model_knows_is_told(
    cli: Cli, tmp_path: Path, trained: Callable[[str], Path], task: str
) -> None:
    """The tokenizer of another model; on a GPU this would end the process."""
    folder = trained(task)
    both(first_rows("word_embeddings.weight", 300), config(vocab_size=300))(folder)
    run = tmp_path / "run"
    said = cli("eval", "-m", folder, *DATA, "-t", task, "-l", "en,de", "-o", run, "--no-train")
    assert_failed_units(said, [str(folder), "tokenizer", "300"], units=2)
    assert "index out of range" not in said.err
    assert scored(run) == set()


def test_a_tokenizer_that_does_not_fit_an_encoder_is_told_before_it_is_trained(
    cli: Cli, tmp_path: Path, sample_model: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sample_model, folder)
    both(first_rows("word_embeddings.weight", 300), config(vocab_size=300))(folder)
    run = tmp_path / "run"
    said = cli("eval", "-m", folder, *DATA, *FAST, "-t", "tatoeba,udpos", "-l", "de", "-o", run)
    assert said.code == 2
    for word in (str(folder), "tokenizer", "300"):
        assert word in said.complaint
    assert "index out of range" not in said.err
    assert scored(run) == set()


def test_weights_that_give_no_numbers_are_told(
    cli: Cli, tmp_path: Path, trained: Callable[[str], Path]
) -> None:
    folder = trained("udpos")

    def change(weights: dict[str, Tensor]) -> None:
        weights["classifier.weight"][3, 5] = float("nan")

    tensors(change)(folder)
    said = cli("eval", "-m", folder, *DATA, "-t", "udpos", "-l", "en", "-o", tmp_path / "run")
    assert_failed_units(said, [str(folder), "NaN or infinite in float32", "check the weights"], units=1)
    assert scored(tmp_path / "run") == set()


# Checkpoints of the harness's own in the cache folder


@pytest.fixture
def cached(cli: Cli, tmp_path: Path, isolated: Callable[..., Path]) -> Path:
    """The checkpoint of UDPOS in a cache folder of its own."""
    folder = original(cli, "udpos", tmp_path / "trained")
    home = isolated()
    return Path(shutil.copytree(folder, home / "checkpoints" / folder.name))


def gone(name: str) -> Change:
    """Take a file out."""
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(gone("training.json"), id="no training.json"),
        pytest.param(text("training.json", "{"), id="training.json no JSON"),
        pytest.param(text("training.json", "{}"), id="training.json empty", marks=pytest.mark.full),
        pytest.param(text("training.json", "[]"), id="training.json a list", marks=pytest.mark.full),
        pytest.param(gone("model.safetensors"), id="no weights"),
        pytest.param(text("model.safetensors", "x"), id="weights cut"),
        pytest.param(gone("config.json"), id="no config", marks=pytest.mark.full),
        pytest.param(gone("tokenizer.json"), id="no tokenizer", marks=pytest.mark.full),
        pytest.param(without("classifier."), id="no head"),
        pytest.param(lambda folder: [path.unlink() for path in folder.iterdir()], id="nothing"),
    ],
)
def test_a_damaged_checkpoint_of_the_cache_is_told_with_what_to_do_and_costs_its_task_alone(
    cli: Cli, tmp_path: Path, cached: Path, change: Change
) -> None:
    change(cached)
    run = tmp_path / "run"
    arguments = ("eval", "-m", "sample", *DATA, *FAST, "-t", "tatoeba,udpos", "-l", "en,de", "-o", run)
    said = cli(*arguments)
    assert_failed_units(said, ["udpos/", str(cached), "remove the folder", "train"], units=2)
    assert scored(run) == {("tatoeba", "de")}
    shutil.rmtree(cached)
    said = cli(*arguments)
    assert said.code == 0, said.err
    assert "2 units to compute, 1 done before" in said.err
    assert scored(run) == {("tatoeba", "de"), ("udpos", "de"), ("udpos", "en")}


@pytest.mark.parametrize("file", ["progress.json", "model.safetensors", "optimizer.safetensors"])
def test_a_damaged_state_of_an_unfinished_training_is_told_with_what_to_do(
    cli: Cli, tmp_path: Path, cached: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    shutil.rmtree(cached)

    def interrupted(self: Lines, step: int, loss: float) -> None:
        raise KeyboardInterrupt

    run = tmp_path / "run"
    arguments = ("eval", "-m", "sample", *DATA, *FAST, "-t", "udpos", "-l", "en", "-o", run)
    with monkeypatch.context() as patch:
        patch.setattr(Lines, "trained", interrupted)
        assert cli(*arguments).code == 130
    work = cached.with_name(f"{cached.name}.work")
    (state,) = work.glob("state-*")
    (state / file).write_text("{", encoding="utf-8")
    assert_failed_units(cli(*arguments), ["udpos/en", str(work), "; remove "], units=1)
    shutil.rmtree(work)
    assert cli(*arguments).code == 0


def test_a_cache_folder_that_cannot_be_written_is_told_with_the_variable_that_changes_it(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path]
) -> None:
    home = isolated()
    (home / "checkpoints").write_text("a file", encoding="utf-8")
    said = cli("eval", "-m", "sample", *DATA, *FAST, "-t", "udpos", "-l", "en", "-o", tmp_path / "run")
    assert said.code == 2, said.err
    assert str(home / "checkpoints") in said.complaint
    assert "HARNESS_HOME" in said.complaint
    assert "--output" not in said.complaint


# Disks that are full


@pytest.fixture
def small_files() -> Iterator[Callable[[int], None]]:
    """Sets the size beyond which no file can be written, as a full disk does it, also to libraries that are no Python."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("hyper", "seconds"),
    [
        pytest.param(FAST, "300", id="the checkpoint"),
        pytest.param(FAST, "0", id="a state"),
        pytest.param(FAST[:-1], "300", id="the best weights"),
    ],
)
def test_weights_that_cannot_be_written_stop_the_run_and_the_same_command_goes_on_later(
    cli: Cli,
    tmp_path: Path,
    isolated: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    small_files: Callable[[int], None],
    hyper: tuple[str, ...],
    seconds: str,
) -> None:
    home = isolated()
    monkeypatch.setenv("HARNESS_SAVE_SECONDS", seconds)
    run = tmp_path / "run"
    arguments = ("eval", "-m", "sample", *DATA, *hyper, "-t", "tatoeba,udpos,xnli", "-l", "de", "-o", run)
    small_files(1_000_000)
    said = cli(*arguments)
    small_files(resource.RLIM_INFINITY)
    assert said.code == 2, said.err
    assert "Traceback" not in said.err
    assert said.err.count("fine-tuning on") == 1, "nothing more could be kept, so nothing more is trained"
    assert str(home / "checkpoints") in said.complaint
    assert "File too large" in said.complaint or "the disk is full" in said.complaint
    assert "plugin" not in said.complaint
    assert "cannot be opened" not in said.complaint
    left = [path for path in (home / "checkpoints").rglob("*") if path.is_file()]
    assert not [path for path in left if path.suffix in (".safetensors", ".tmp")], left
    assert scored(run) == {("tatoeba", "de")}
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["status"] == "failed"
    said = cli(*arguments)
    assert said.code == 0, said.err
    assert "2 units to compute, 1 done before" in said.err
