"""Model folders that are not whole, not to be trusted, or give no finite numbers."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from badruns import Change, Cli
from told import assert_one_line


def without(*names: str) -> Change:
    """Take files out of a model folder."""

    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def cut(size: int) -> Change:
    """Keep only the first bytes of the weights; a negative number counts from the end."""
    path = "model.safetensors"
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes()[:size])


def text(name: str, content: str) -> Change:
    """Write a file into a model folder."""
    return lambda folder: (folder / name).write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(without("config.json"), ["no config.json"], id="no config"),
        pytest.param(without("model.safetensors"), ["no weights", "model.safetensors"], id="no weights"),
        pytest.param(without("tokenizer.json"), ["no tokenizer", "tokenizer.json"], id="no tokenizer"),
        pytest.param(cut(5), ["model.safetensors", "not a whole safetensors file"], id="5 bytes"),
        pytest.param(cut(0), ["model.safetensors", "not a whole safetensors file"], id="no byte"),
        pytest.param(cut(200), ["model.safetensors", "header is cut or broken"], id="header cut"),
        pytest.param(cut(-1000), ["model.safetensors", "cut short", "copy it again"], id="data cut"),
        pytest.param(text("config.json", "{"), ["config.json", "not readable as JSON"], id="config no JSON"),
        pytest.param(text("config.json", "{}"), ["config.json", "no model_type"], id="config empty"),
        pytest.param(
            text("tokenizer_config.json", "["), ["tokenizer_config.json", "JSON"], id="tokenizer config"
        ),
        pytest.param(text("modules.json", "{"), ["modules.json", "not readable as JSON"], id="modules"),
        pytest.param(
            text("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
            ["model.safetensors", "not a whole safetensors file"],
            id="pointer instead of weights",
        ),
    ],
)
def test_a_model_folder_that_is_not_whole_is_told_before_anything_starts(
    cli: Cli, tmp_path: Path, sample_model: Path, change: Change, words: list[str]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(sample_model, folder)
    change(folder)
    said = cli("eval", "-m", folder, "-t", "tatoeba", "-l", "de", "--data", "sample", "-o", tmp_path / "run")
    assert_one_line(said, [str(folder), *words])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("no-such-folder", ["no model folder no-such-folder", "hub id", "'sample'"]),
        ("./no/such", ["no model folder ./no/such"]),
        ("no/such", ["no model folder no/such", "not cached", "cannot be fetched"]),
        ("xlm-roberta-large", ["hub repository FacebookAI/xlm-roberta-large is not cached"]),
    ],
)
def test_a_model_that_is_nowhere_is_told_with_what_can_be_given(
    cli: Cli, model: str, words: list[str]
) -> None:
    assert_one_line(
        cli("eval", "-m", model, "-t", "tatoeba", "-l", "de", "--data", "sample", "--offline"), words
    )


def test_a_file_is_no_model_folder(cli: Cli, sample_model: Path) -> None:
    path = sample_model / "model.safetensors"
    assert_one_line(
        cli("eval", "-m", path, "-t", "tatoeba", "-l", "de", "--data", "sample"), [str(path), "model folder"]
    )


def test_missing_weights_of_the_encoder_are_named(cli: Cli, tmp_path: Path, sample_model: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(sample_model, folder)
    state = load_file(folder / "model.safetensors")
    name = next(key for key in state if "layer.2.attention.self.query.weight" in key)
    del state[name]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    said = cli("eval", "-m", folder, "-t", "tatoeba", "-l", "de", "--data", "sample", "-o", tmp_path / "run")
    assert said.code in (2, 3)
    assert "Traceback" not in said.err
    for word in ("tensors of the encoder are missing", "layer.2.attention.self.query.weight", str(folder)):
        assert word in said.err


class Malice:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._target),)


def test_a_pickle_that_would_run_code_is_refused(cli: Cli, tmp_path: Path, sample_model: Path) -> None:
    import torch

    marker = tmp_path / "it-ran"
    savers: list[Callable[..., None]] = [pickle.dump, torch.save]
    for number, save in enumerate(savers):
        folder = tmp_path / f"model-{number}"
        shutil.copytree(sample_model, folder)
        (folder / "model.safetensors").unlink()
        with (folder / "pytorch_model.bin").open("wb") as stream:
            save({"embeddings.word_embeddings.weight": Malice(marker)}, stream)
        said = cli(
            "eval",
            "-m",
            folder,
            "-t",
            "tatoeba",
            "-l",
            "de",
            "--data",
            "sample",
            "-o",
            tmp_path / f"r{number}",
        )
        assert said.code in (2, 3)
        assert f"{folder}: cannot be opened" in said.err
        assert "Traceback" not in said.err
        assert not marker.exists()


def test_an_honest_pickle_gives_the_scores_of_its_safetensors_twin(
    cli: Cli, tmp_path: Path, sample_model: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    folder = tmp_path / "model"
    shutil.copytree(sample_model, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    rest = ("-t", "tatoeba", "-l", "de", "--data", "sample", "--json")
    pickled = cli("eval", "-m", folder, *rest, "-o", tmp_path / "pickled")
    usual = cli("eval", "-m", "sample", *rest, "-o", tmp_path / "usual")
    assert (pickled.code, usual.code) == (0, 0), pickled.err
    values = [
        {(record["variant"], record["metric"]): record["value"] for record in json.loads(said.out)["records"]}
        for said in (pickled, usual)
    ]
    assert values[0] == values[1]


def test_vectors_that_are_not_finite_are_told_with_model_and_sentence(
    cli: Cli, tmp_path: Path, sample_model: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "model"
    shutil.copytree(sample_model, folder)
    state = load_file(folder / "model.safetensors")
    key = next(key for key in state if key.endswith("layer.1.output.dense.weight"))
    state[key] = torch.full_like(state[key], float("nan"))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    said = cli("eval", "-m", folder, "-t", "tatoeba", "-l", "de", "--data", "sample", "-o", tmp_path / "run")
    assert said.code in (2, 3)
    assert "Traceback" not in said.err
    for word in ("tatoeba/de", str(folder), "NaN", "float32"):
        assert word in said.err
    assert not (tmp_path / "run" / "records.jsonl").exists()
