"""Builds tiny encoders of other families around the sample's tokenizer and word vectors, without training.

Knows the families' configurations and which tensor holds word vectors. Does not know where a folder is kept.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from harness.engine import sample_model

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json")
_WORDS = "embeddings.word_embeddings.weight"
_T5: Mapping[str, Any] = {
    "d_model": sample_model.HIDDEN,
    "d_kv": sample_model.HIDDEN // sample_model.HEADS,
    "d_ff": sample_model.INTERMEDIATE,
    "num_layers": sample_model.LAYERS,
    "num_heads": sample_model.HEADS,
    "num_decoder_layers": 1,
}
_DECODER: Mapping[str, Any] = {
    "hidden_size": sample_model.HIDDEN,
    "num_hidden_layers": sample_model.LAYERS,
    "num_attention_heads": sample_model.HEADS,
    "num_key_value_heads": sample_model.HEADS // 2,
    "head_dim": sample_model.HIDDEN // sample_model.HEADS,
    "intermediate_size": sample_model.INTERMEDIATE,
    "max_position_embeddings": sample_model.MAX_TOKENS,
}
# Few experts, with room for most tokens of a short row, so that routing shows and nothing is slow.
_EXPERTS: Mapping[str, Any] = {"num_experts": 4, "expert_capacity": 64, "router_bias": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A built-in model of another family.

    Attributes:
        stem: Of transformers' classes, e.g. ``MT5`` of ``MT5Config`` and ``MT5Model``.
        words: Name of the tensor of word vectors.
        settings: Of the configuration, besides vocabulary and special tokens.
    """

    stem: str
    words: str = "shared.weight"
    settings: Mapping[str, Any] = field(default_factory=dict)


FAMILIES: Mapping[str, Family] = {
    "sample-mt5": Family(stem="MT5", settings=_T5),
    "sample-xmod": Family(
        stem="Xmod",
        words=_WORDS,
        settings={
            "hidden_size": sample_model.HIDDEN,
            "num_hidden_layers": sample_model.LAYERS,
            "num_attention_heads": sample_model.HEADS,
            "intermediate_size": sample_model.INTERMEDIATE,
            # As in XLM-R, positions are counted from the padding id on.
            "max_position_embeddings": sample_model.MAX_TOKENS + sample_model.PAD_ID + 1,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-5,
            "languages": ["en_XX", "de_DE", "es_XX", "sw_KE", "zh_CN", "ar_AR"],
            "default_language": "en_XX",
        },
    ),
    "sample-switch": Family(
        stem="SwitchTransformers",
        settings={**_T5, **_EXPERTS, "num_sparse_encoder_layers": 2, "num_sparse_decoder_layers": 0},
    ),
    "sample-nllb-moe": Family(
        stem="NllbMoe",
        settings={
            **_EXPERTS,
            "d_model": sample_model.HIDDEN,
            "encoder_layers": sample_model.LAYERS,
            "decoder_layers": 1,
            "encoder_attention_heads": sample_model.HEADS,
            "decoder_attention_heads": sample_model.HEADS,
            "encoder_ffn_dim": sample_model.INTERMEDIATE,
            "decoder_ffn_dim": sample_model.INTERMEDIATE,
            "encoder_sparse_step": 2,
            "decoder_sparse_step": 0,
            "encoder_layerdrop": 0.0,
            "decoder_layerdrop": 0.0,
            "max_position_embeddings": sample_model.MAX_TOKENS,
            # The sample's word vectors have the size that they need already.
            "scale_embedding": False,
        },
    ),
    "sample-qwen3": Family(stem="Qwen3", words="embed_tokens.weight", settings=_DECODER),
    "sample-qwen3-moe": Family(
        stem="Qwen3Moe",
        words="embed_tokens.weight",
        settings={
            **_DECODER,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": sample_model.INTERMEDIATE // 2,
        },
    ),
}


def build_sample_family(name: str, sample: Path, target: Path) -> None:
    """Write config, weights and tokenizer of a model of :data:`FAMILIES` into the folder ``target``.

    Args:
        name: Of the model.
        sample: Folder of the built-in model, whose tokenizer and word vectors are taken.
        target: An empty folder.
    """
    family = FAMILIES[name]
    words = load_file(sample / "model.safetensors")[_WORDS]
    stem: Any = {kind: getattr(transformers, f"{family.stem}{kind}") for kind in ("Config", "Model")}
    config = stem["Config"](
        vocab_size=len(words),
        bos_token_id=sample_model.BOS_ID,
        pad_token_id=sample_model.PAD_ID,
        eos_token_id=sample_model.EOS_ID,
        **family.settings,
    )
    # What the constructor draws is replaced below; torch's generator is left as it was.
    with torch.random.fork_rng(devices=[]):
        model = stem["Model"](config)
    with torch.no_grad():
        for tensor_name, tensor in model.state_dict().items():
            tensor.copy_(_initial(tensor_name, tuple(tensor.shape)))
        # Encoder and decoder look words up in this one table.
        model.state_dict()[family.words].copy_(words)
    model.save_pretrained(target)
    for file in _TOKENIZER:
        shutil.copyfile(sample / file, target / file)


def _initial(name: str, shape: tuple[int, ...]) -> Tensor:
    """Ones for norms, zeros for biases, else normal draws from a generator of the tensor's own name."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    if "norm" in name.lower():
        return torch.ones(shape)
    generator = np.random.Generator(np.random.PCG64([sample_model.SEED, *name.encode()]))
    drawn = sample_model.LAYER_STD * generator.standard_normal(shape)
    return torch.from_numpy(drawn.astype(np.float32))
