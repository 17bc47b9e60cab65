"""The engine against plain transformers: every family of encoders, layer, pooling, and what can go wrong on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from transformers import AutoTokenizer

from harness import ModelError, UsageError
from harness.checkpoints import open_checkpoint
from harness.digests import of_texts
from harness.engine import embed, load, pooling
from harness.engine.embed import Embedder, open_stores
from harness.engine.load import Encoder, load_encoder
from harness.engine.tokens import tokenise
from harness.plan import Space

TEXTS = [
    "The dog sleeps.",
    "Der Hund schläft heute im Garten.",
    "Mbwa analala.",
    "Hello",
    "",
    "a",
    "This sentence is longer than the others, and it goes on and on and on for a good while until it ends. "
    * 3,
    "The dog sleeps.",
]
SMALL: dict[str, Any] = {
    "vocab_size": 3400,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
DEEP: dict[str, Any] = {**SMALL, "num_hidden_layers": 3}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", {**DEEP, "pad_token_id": 1}),
    "xlm-roberta": ("XLMRoberta", {**DEEP, "max_position_embeddings": 130}),
    "xlm-roberta-xl": ("XLMRobertaXL", {**DEEP, "max_position_embeddings": 130}),
    "xmod": ("Xmod", {**DEEP, "max_position_embeddings": 130, "languages": ["en_XX", "de_DE"]}),
    "rembert": ("RemBert", {**DEEP, "input_embedding_size": 16, "pad_token_id": 1}),
    "deberta-v2": (
        "DebertaV2",
        {**DEEP, "pad_token_id": 1, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    ),
    "modernbert": ("ModernBert", {**DEEP, "pad_token_id": 1, "cls_token_id": 0, "sep_token_id": 2}),
    "mt5": (
        "MT5",
        {
            "vocab_size": 3400,
            "d_model": 32,
            "d_kv": 8,
            "num_heads": 4,
            "d_ff": 64,
            "num_layers": 3,
            "pad_token_id": 1,
        },
    ),
}


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def folder(
    request: pytest.FixtureRequest, sample_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A tiny random model of one family, with the sample's tokenizer."""
    return make_model(request.param, sample_model, tmp_path_factory.mktemp(request.param))


def make_model(family: str, tokenizer: Path, target: Path) -> Path:
    """Write a tiny random model of a family into a folder."""
    stem, settings = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{stem}Config")(**settings)
    getattr(transformers, f"{stem}Model")(config).save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, target / name)
    return target


def spaces_of(
    encoder: Encoder, pooling: str = "mean", *, special: bool = True, length: int = 64
) -> list[Space]:
    """Every layer of an encoder."""
    layers = range(encoder.depth + 1)
    return [
        Space(layer=layer, pooling=pooling, special_tokens=special, normalise=False, max_length=length)
        for layer in layers
    ]


def embedded(
    encoder: Encoder, spaces: list[Space], home: Path, budget: int = 256
) -> dict[int, NDArray[np.float32]]:
    """Vectors of ``TEXTS`` by layer."""
    stores = open_stores(home, encoder, spaces, dtype="float32", device="cpu")
    embedder = Embedder(encoder=encoder, stores=stores, batch_tokens=budget)
    embedder.embed(list(dict.fromkeys(TEXTS)), embedder.tokenise(list(dict.fromkeys(TEXTS))))
    return {space.layer: stores[space].get(of_texts(TEXTS))[0] for space in spaces}


def plainly(encoder: Encoder, pooling: str, *, special: bool, length: int) -> list[NDArray[np.float32]]:
    """The same by transformers alone, one text at a time, without padding, batches or hooks."""
    tokenizer: Any = AutoTokenizer.from_pretrained(str(encoder.checkpoint.folder))
    rows: list[list[NDArray[np.float32]]] = []
    for text in TEXTS:
        encoding = tokenizer(text, truncation=True, max_length=length, return_special_tokens_mask=True)
        with torch.inference_mode():
            output: Any = encoder.model(
                input_ids=torch.tensor([encoding["input_ids"]]), output_hidden_states=True
            )
        states = [*output.hidden_states[:-1], output.last_hidden_state]
        keep = [special or pooling == "cls" or not mark for mark in encoding["special_tokens_mask"]]
        keep = keep if any(keep) else [True] * len(keep)
        rows.append([_pooled(state[0].numpy()[keep], pooling) for state in states])
    return [np.stack([row[layer] for row in rows]) for layer in range(encoder.depth + 1)]


def _pooled(tokens: NDArray[np.float32], pooling: str) -> NDArray[np.float32]:
    weights = np.arange(1, len(tokens) + 1, dtype=np.float32)
    ways: dict[str, Any] = {
        "mean": lambda: tokens.mean(axis=0),
        "cls": lambda: tokens[0],
        "last_token": lambda: tokens[-1],
        "max": lambda: tokens.max(axis=0),
        "mean_sqrt_len": lambda: tokens.sum(axis=0) / np.sqrt(len(tokens)),
        "weighted_mean": lambda: (tokens * weights[:, None]).sum(axis=0) / weights.sum(),
    }
    pooled: NDArray[np.float32] = ways[pooling]()
    return pooled


def test_every_family_and_layer_agrees_with_transformers(folder: Path, tmp_path: Path) -> None:
    """Batches, early stopping and the store change nothing."""
    encoder = load_encoder(open_checkpoint(str(folder)), device="cpu", dtype="float32")
    found = embedded(encoder, spaces_of(encoder), tmp_path)
    for layer, expected in enumerate(plainly(encoder, "mean", special=True, length=64)):
        np.testing.assert_allclose(found[layer], expected, atol=2e-5, err_msg=f"layer {layer}")


def test_stopping_at_a_middle_layer_gives_the_same_vectors(folder: Path, tmp_path: Path) -> None:
    """One layer alone, which ends the pass early where the blocks are known, equals that layer of a full pass."""
    encoder = load_encoder(open_checkpoint(str(folder)), device="cpu", dtype="float32")
    assert encoder.blocks is not None
    spaces = spaces_of(encoder)
    whole = embedded(encoder, spaces, tmp_path / "all")
    alone = embedded(encoder, spaces[1:2], tmp_path / "one")
    np.testing.assert_array_equal(alone[1], whole[1])


@pytest.fixture
def encoder(sample_model: Path) -> Encoder:
    """The built-in model."""
    return load_encoder(open_checkpoint(str(sample_model)), device="cpu", dtype="float32")


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls", "last_token", "max", "mean_sqrt_len", "weighted_mean"])
def test_poolings_agree_with_numpy(encoder: Encoder, tmp_path: Path, pooling: str, special: bool) -> None:
    found = embedded(encoder, spaces_of(encoder, pooling, special=special), tmp_path)
    for layer, expected in enumerate(plainly(encoder, pooling, special=special, length=64)):
        np.testing.assert_allclose(found[layer], expected, atol=2e-5)


def test_vectors_do_not_depend_on_the_batch_budget(encoder: Encoder, tmp_path: Path) -> None:
    spaces = spaces_of(encoder)
    first = embedded(encoder, spaces, tmp_path / "a", budget=64)
    second = embedded(encoder, spaces, tmp_path / "b", budget=4096)
    for layer, vectors in first.items():
        np.testing.assert_allclose(vectors, second[layer], atol=1e-6)


def test_running_out_of_memory_halves_the_batch(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = embedded(encoder, spaces_of(encoder), tmp_path / "a")
    real = pooling.pooled_vectors

    def scarce(model: Encoder, batch: Any, tokens: Any, spaces: Any) -> Any:
        if len(batch.rows) > 1:
            raise torch.OutOfMemoryError("made up")
        return real(model, batch, tokens, spaces)

    monkeypatch.setattr(embed, "pooled_vectors", scarce)
    found = embedded(encoder, spaces_of(encoder), tmp_path / "b", budget=4096)
    for layer, vectors in found.items():
        np.testing.assert_allclose(vectors, expected[layer], atol=1e-6)


def test_one_sequence_that_does_not_fit_is_an_error_with_advice(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(*_: Any) -> Any:
        raise torch.OutOfMemoryError("made up")

    monkeypatch.setattr(embed, "pooled_vectors", scarce)
    with pytest.raises(ModelError, match=r"one sequence of \d+ tokens does not fit .* --max-length"):
        embedded(encoder, spaces_of(encoder), tmp_path)


def test_a_partly_stored_batch_is_computed_whole(encoder: Encoder, tmp_path: Path) -> None:
    """And a wholly stored one not at all."""
    spaces = spaces_of(encoder)[:1]
    texts = [f"word{number}" for number in range(6)]

    def run(home: Path, given: list[str]) -> Embedder:
        embedder = Embedder(
            encoder=encoder,
            stores=open_stores(home, encoder, spaces, dtype="float32", device="cpu"),
            batch_tokens=4096,
        )
        embedder.embed(given, embedder.tokenise(given))
        embedder.flush()
        return embedder

    assert run(tmp_path, texts[:2]).work.sentences == 2
    assert run(tmp_path, texts).work.sentences == 6
    assert run(tmp_path, texts).work.sentences == 0


def test_texts_with_equal_tokens_are_encoded_once(encoder: Encoder) -> None:
    """The sample's tokenizer lower-cases, so these differ as texts only."""
    tokens = tokenise(encoder.tokenizer, ["The dog", "the dog", "a cat"], 64)
    assert tokens.sequence.tolist() == [0, 0, 1]
    assert len(tokens.starts) == 3


def test_truncation_is_counted_before_it_happens(encoder: Encoder) -> None:
    tokens = tokenise(encoder.tokenizer, ["the dog", "the dog " * 50], 16)
    assert np.diff(tokens.starts).tolist() == [4, 16]
    assert tokens.before.tolist() == [[4, 2, 0], [102, 100, 0]]


def test_a_store_is_named_by_everything_that_a_vector_depends_on(encoder: Encoder) -> None:
    base = spaces_of(encoder)[1]
    keys = [
        embed.space_key(space, encoder.checkpoint, dtype, device)
        for space in (
            base,
            Space(layer=2, pooling="mean", special_tokens=True, normalise=False, max_length=64),
            Space(layer=1, pooling="cls", special_tokens=True, normalise=False, max_length=64),
            Space(layer=1, pooling="mean", special_tokens=False, normalise=False, max_length=64),
            Space(layer=1, pooling="mean", special_tokens=True, normalise=True, max_length=64),
            Space(layer=1, pooling="mean", special_tokens=True, normalise=False, max_length=32),
        )
        for dtype, device in (("float32", "cpu"), ("bfloat16", "cpu"), ("float32", "cuda"))
    ]
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == 18


@pytest.fixture
def transformer_folder(sample_model: Path, tmp_path: Path) -> Path:
    """A sentence-transformers folder around the built-in model: cls pooling, a dense layer, normalisation."""
    shutil.copytree(sample_model, tmp_path / "st")
    root = tmp_path / "st"
    kinds = ["Transformer", "Pooling", "Dense", "Normalize"]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": "" if not i else f"{i}_{kind}",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    (root / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    for kind in ("1_Pooling", "2_Dense", "3_Normalize"):
        (root / kind).mkdir()
    pooling = {
        "word_embedding_dimension": 96,
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
    }
    (root / "1_Pooling" / "config.json").write_text(json.dumps(pooling), encoding="utf-8")
    dense = {
        "in_features": 96,
        "out_features": 24,
        "bias": True,
        "activation_function": "torch.nn.modules.activation.Tanh",
    }
    (root / "2_Dense" / "config.json").write_text(json.dumps(dense), encoding="utf-8")
    torch.manual_seed(1)
    linear = torch.nn.Linear(96, 24)
    state = {f"linear.{name}": value for name, value in linear.state_dict().items()}
    torch.save(state, root / "2_Dense" / "pytorch_model.bin")
    return root


def test_a_sentence_transformers_folder_brings_its_own_pooling(
    transformer_folder: Path, tmp_path: Path
) -> None:
    """Pooling, dense layer and normalisation give what sentence-transformers gives; the dense layer only at the last layer."""
    from sentence_transformers import SentenceTransformer

    checkpoint = open_checkpoint(str(transformer_folder))
    assert checkpoint.pooling == "cls"
    encoder = load_encoder(checkpoint, device="cpu", dtype="float32")
    assert (encoder.dimension(encoder.depth), encoder.dimension(1)) == (24, 96)
    space = Space(layer=encoder.depth, pooling="cls", special_tokens=True, normalise=True, max_length=128)
    found = embedded(encoder, [space], tmp_path / "home")[encoder.depth]
    expected = SentenceTransformer(str(transformer_folder), device="cpu").encode(
        TEXTS, normalize_embeddings=True
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_bfloat16_stays_close_to_float32(sample_model: Path, tmp_path: Path) -> None:
    vectors = {}
    for dtype in ("float32", "bfloat16"):
        encoder = load_encoder(open_checkpoint(str(sample_model)), device="cpu", dtype=dtype)
        vectors[dtype] = embedded(encoder, spaces_of(encoder)[4:], tmp_path / dtype)[4]
    one, two = (array / np.linalg.norm(array, axis=1, keepdims=True) for array in vectors.values())
    assert float((one * two).sum(axis=1).min()) > 0.995


def test_a_model_whose_blocks_are_not_found_still_gives_every_layer(encoder: Encoder, tmp_path: Path) -> None:
    from dataclasses import replace

    blind = replace(encoder, blocks=None)
    seen, unseen = (
        embedded(encoder, spaces_of(encoder)[1:2], tmp_path / "a"),
        embedded(blind, spaces_of(encoder)[1:2], tmp_path / "b"),
    )
    np.testing.assert_array_equal(seen[1], unseen[1])


def test_asking_for_cuda_where_there_is_none_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="use --device cpu"):
        load.resolve_device("cuda")
    assert load.resolve_device("auto") == "cpu"
    assert load.resolve_dtype("auto", "cpu") == "float32"
