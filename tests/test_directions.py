"""Which token of a row has seen all of it: for families that no adapter names, found by looking."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from harness.checkpoints import Checkpoint, open_checkpoint
from harness.engine.adapting import left_to_right
from harness.engine.headed import new_headed, open_headed, save_headed
from harness.engine.headmodules import Own, Published
from harness.engine.load import load_encoder
from harness.formats.base import Head

HEAD = Head(kind="pooled", labels=("no", "yes"))
_SIZE = {"vocab_size": 6_000, "max_position_embeddings": 80}
_GPT = {"n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 6_000, "n_positions": 80}
_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    **_SIZE,
}
_XGLM = {"d_model": 32, "num_layers": 2, "attention_heads": 2, "ffn_dim": 48, **_SIZE}
_T5 = {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 48, "d_kv": 16, "vocab_size": 6_000}
# Class, configuration, whether it reads from left to right.
FAMILIES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "bert": ("Bert", _BERT, False),
    "gpt2": ("GPT2", _GPT, True),
    "gpt-neox": ("GPTNeoX", _BERT, True),
    "xglm": ("XGLM", _XGLM, True),
    "mt5": ("MT5", _T5, False),
    "bart": ("Bart", {"d_model": 32, "encoder_layers": 2, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, **_SIZE}, False),
}  # fmt: skip


def made(family: str, folder: Path, tokenizer: Path, *, kind: str = "Model") -> Checkpoint:
    """A folder of random weights with the sample's tokenizer."""
    stem, settings, _ = FAMILIES[family]
    torch.manual_seed(0)
    model: Any = getattr(transformers, f"{stem}{kind}")(getattr(transformers, f"{stem}Config")(**settings))
    model.save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(tokenizer / file, folder / file)
    return open_checkpoint(str(folder))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_direction_of_a_family_is_found(family: str, tmp_path: Path, sample_model: Path) -> None:
    checkpoint = made(family, tmp_path / "model", sample_model)
    encoder = load_encoder(checkpoint, device="cpu", dtype="float32").model
    encoder.train()
    assert left_to_right(checkpoint, encoder) is FAMILIES[family][2]
    assert encoder.training


@pytest.mark.parametrize("family", ["gpt2", "gpt-neox", "xglm"])
def test_a_head_on_a_decoder_that_no_adapter_knows_sees_the_whole_row(
    family: str, tmp_path: Path, sample_model: Path
) -> None:
    """Any token of a row changes its scores; alone or padded beside a longer one, without a padding token in its files."""
    checkpoint = made(family, tmp_path / "model", sample_model)
    assert checkpoint.config.get("pad_token_id") is None or family == "xglm"
    headed = new_headed(checkpoint, HEAD, seed=1, device="cpu")
    headed.module.eval()
    assert type(headed.module) is (Own if family == "xglm" else Published)
    rows = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9], [4, 6, 7, 8], [5, 6, 1, 1]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 0, 0]])
    with torch.inference_mode():
        scores = headed.module(rows, mask, None)
        alone = headed.module(rows[3:, :2], None, None)
    assert not torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[0], scores[2])
    torch.testing.assert_close(scores[3:], alone, atol=1e-6, rtol=0)
    save_headed(headed, checkpoint, tmp_path / "trained")
    trained = open_checkpoint(str(tmp_path / "trained"))
    opened = open_headed(trained, HEAD, (0, 1), device="cpu", dtype="float32")
    with torch.inference_mode():
        assert torch.equal(opened.module(rows, mask, None), scores)


@pytest.mark.parametrize("kind", ["EncoderModel", "Model"])
def test_a_folder_may_hold_the_encoder_of_an_encoder_decoder_alone(
    kind: str, tmp_path: Path, sample_model: Path
) -> None:
    """Vectors and heads are those of the folder that has the decoder too."""
    whole = made("mt5", tmp_path / "whole", sample_model)
    checkpoint = whole
    if kind == "EncoderModel":
        alone = transformers.MT5EncoderModel.from_pretrained(whole.folder)
        alone.save_pretrained(tmp_path / "alone")
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(sample_model / file, tmp_path / "alone" / file)
        checkpoint = open_checkpoint(str(tmp_path / "alone"))
    ids = torch.tensor([[5, 6, 7, 8]])
    expected: Any = transformers.MT5Model.from_pretrained(whole.folder).get_encoder().eval()
    encoder = load_encoder(checkpoint, device="cpu", dtype="float32")
    with torch.inference_mode():
        states = encoder.model(input_ids=ids).last_hidden_state
        assert torch.equal(states, expected(input_ids=ids).last_hidden_state)
    headed = new_headed(checkpoint, HEAD, seed=1, device="cpu")
    save_headed(headed, checkpoint, tmp_path / "trained")
    opened = open_headed(
        open_checkpoint(str(tmp_path / "trained")), HEAD, (0, 1), device="cpu", dtype="float32"
    )
    headed.module.eval()
    with torch.inference_mode():
        assert torch.equal(opened.module(ids, None, None), headed.module(ids, None, None))
