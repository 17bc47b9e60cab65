"""The built-in models of other families: built alike every time, whole, and of the family that their name says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from harness.builtin import NAMES
from harness.checkpoints import open_checkpoint
from harness.engine.load import load_encoder
from harness.engine.sample import sample_checkpoint
from harness.engine.sample_families import FAMILIES
from harness.errors import ModelError
from harness.workplace import checkpoint_of

KINDS = {
    "sample-mt5": "mt5",
    "sample-xmod": "xmod",
    "sample-switch": "switch_transformers",
    "sample-nllb-moe": "nllb-moe",
    "sample-qwen3": "qwen3",
    "sample-qwen3-moe": "qwen3_moe",
}


def test_there_is_one_of_every_family() -> None:
    assert list(NAMES) == ["sample", *KINDS]
    assert set(FAMILIES) == set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_model_is_built_alike_every_time_and_leaves_torch_alone(
    isolated: Callable[..., Path], name: str
) -> None:
    first = sample_checkpoint(isolated("one"), name)
    again = first.with_name("again")
    first.rename(again)
    before = torch.random.get_rng_state()
    second = sample_checkpoint(first.parents[1], name)
    assert torch.equal(torch.random.get_rng_state(), before)
    try:
        assert second == first
        for file in ("config.json", "model.safetensors", "tokenizer.json"):
            assert (second / file).read_bytes() == (again / file).read_bytes()
    finally:
        for path in again.iterdir():
            path.unlink()
        again.rmdir()


@pytest.mark.parametrize("name", KINDS)
def test_a_model_opens_in_transformers_with_the_samples_word_vectors(
    harness_home: Path, sample_model: Path, name: str
) -> None:
    folder = sample_checkpoint(harness_home, name)
    loaded: Any = AutoModel.from_pretrained(str(folder), output_loading_info=True)
    model, info = loaded
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.config.model_type == KINDS[name]
    words = load_file(sample_model / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert torch.equal(model.get_input_embeddings().weight, words)
    ours: Any = AutoTokenizer.from_pretrained(str(folder))
    theirs: Any = AutoTokenizer.from_pretrained(str(sample_model))
    text = "The dog sleeps. Mbwa analala."
    assert ours(text)["input_ids"] == theirs(text)["input_ids"]


@pytest.mark.parametrize("name", KINDS)
def test_a_model_runs_as_an_encoder_and_tells_texts_apart(harness_home: Path, name: str) -> None:
    checkpoint = open_checkpoint(str(sample_checkpoint(harness_home, name)))
    encoder = load_encoder(checkpoint, device="cpu", dtype="float32")
    assert (checkpoint.family, encoder.depth, encoder.hidden_size) == (KINDS[name], 4, 96)
    ids = torch.tensor([[0, 40, 41, 42, 2], [0, 42, 41, 40, 2], [0, 50, 51, 52, 2]])
    with torch.inference_mode():
        states = encoder.model(input_ids=ids).last_hidden_state
    assert torch.isfinite(states).all()
    # The last token, which a decoder too lets see all the others.
    assert not torch.allclose(states[0, -1], states[1, -1], atol=1e-4)
    assert not torch.allclose(states[0, -1], states[2, -1], atol=1e-4)


def test_a_built_in_name_opens_what_it_names(isolated: Callable[..., Path]) -> None:
    found = checkpoint_of("sample-switch")
    assert (found.name, found.family) == ("sample-switch", "switch_transformers")


def test_an_unknown_built_in_name_is_told_with_those_that_there_are(isolated: Callable[..., Path]) -> None:
    with pytest.raises(
        ModelError, match=r"no built-in model 'sample-bert'.* there are sample, sample-mt5, .*moe$"
    ):
        checkpoint_of("sample-bert")


def test_a_folder_whose_name_begins_like_a_built_in_model_is_that_folder(
    isolated: Callable[..., Path], sample_model: Path
) -> None:
    Path("sample-mine").symlink_to(sample_model, target_is_directory=True)
    assert checkpoint_of("sample-mine").family == "xlm-roberta"


def test_xmod_has_an_adapter_for_every_language_of_the_sample(isolated: Callable[..., Path]) -> None:
    parts = checkpoint_of("sample-xmod").config["languages"]
    assert {part.partition("_")[0] for part in parts} == {"en", "de", "es", "sw", "zh", "ar"}
