"""Packed passes: equal to separate passes of plain transformers for every family, bit for bit the same in any company."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from harness.checkpoints import open_checkpoint
from harness.engine import batching, packed, proving, rowattention
from harness.engine.fetching import Fetched, one_late
from harness.engine.headed import Headed, new_headed, with_packer
from harness.engine.load import hidden_states, load_encoder
from harness.engine.predict import Asked, Predictor
from harness.engine.rowattention import Layout
from harness.formats.base import Head, Predictions, Reader
from harness.formats.rows import Rows

DEEP: dict[str, Any] = {
    "vocab_size": 3400,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "num_hidden_layers": 3,
    "intermediate_size": 64,
    "pad_token_id": 1,
}
T5: dict[str, Any] = {
    "d_model": 32,
    "d_kv": 8,
    "num_heads": 4,
    "d_ff": 64,
    "num_layers": 3,
    "pad_token_id": 1,
}
GROUPED: dict[str, Any] = {**DEEP, "num_key_value_heads": 2, "head_dim": 8}
PACKED: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("Bert", DEEP),
    "xlm-roberta": ("XLMRoberta", {**DEEP, "max_position_embeddings": 130}),
    "xlm-roberta-xl": ("XLMRobertaXL", {**DEEP, "max_position_embeddings": 130}),
    "xmod": ("Xmod", {**DEEP, "max_position_embeddings": 130, "languages": ["en_XX", "de_DE"]}),
    # Its window of attention, 32 tokens to each side, is shorter than some of the sequences.
    "modernbert": ("ModernBert", {**DEEP, "cls_token_id": 0, "sep_token_id": 2, "local_attention": 64}),
    "eurobert": ("EuroBert", {**GROUPED, "max_position_embeddings": 130}),
    "qwen3": ("Qwen3", GROUPED),
}
PADDED: dict[str, tuple[str, dict[str, Any]]] = {
    "rembert": ("RemBert", {**DEEP, "input_embedding_size": 16}),
    "deberta-v2": ("DebertaV2", {**DEEP, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "mt5": ("MT5", {"vocab_size": 3400, **T5}),
}
HEADS: dict[str, Head] = {
    "pooled": Head(kind="pooled", labels=("a", "b", "c")),
    "choice": Head(kind="choice"),
    "token": Head(kind="token", labels=("a", "b")),
    "span": Head(kind="span"),
}


def made(family: str, tokenizer: Path, target: Path, **more: Any) -> Path:
    """A tiny random model of a family, with the built-in model's tokenizer."""
    stem, settings_ = {**PACKED, **PADDED}[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{stem}Config")(**{**settings_, **more})
    getattr(transformers, f"{stem}Model")(config).save_pretrained(target)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / name, target / name)
    return target


@pytest.fixture(scope="module")
def folders(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of each family."""
    root = tmp_path_factory.mktemp("families")
    return {family: made(family, sample_model, root / family) for family in (*PACKED, *PADDED)}


def drawn(lengths: Sequence[int], seed: int = 0) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Ids of sequences in one flat array, with padding's id among them, and where each begins."""
    ids = np.random.default_rng(seed).integers(2, 3400, sum(lengths), dtype=np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    inner = starts[:-1][np.diff(starts) > 4] + 2
    ids[inner[::3]] = 1
    return ids, starts


LENGTHS = (100, 71, 70, 70, 33, 33, 33, 8, 5, 3, 3, 1)


@pytest.mark.parametrize("family", PACKED)
def test_every_layer_of_a_packed_pass_is_that_of_single_sequences(
    folders: dict[str, Path], family: str
) -> None:
    """As transformers computes them with its usual attention, one at a time."""
    encoder = load_encoder(open_checkpoint(str(folders[family])), device="cpu", dtype="float32")
    assert encoder.packer is not None
    ids, starts = drawn(LENGTHS)
    row = encoder.packer.row(ids, starts, np.arange(len(LENGTHS)), encoder.device)
    with encoder.packer.running(row):
        found = hidden_states(encoder, range(encoder.depth + 1), {"input_ids": row.ids})
    assert encoder.model.config._attn_implementation == "sdpa"  # type: ignore[union-attr]
    for begin, end in itertools.pairwise(starts):
        model: Any = encoder.model
        with torch.inference_mode():
            output = model(
                input_ids=torch.from_numpy(ids[None, begin:end].astype(np.int64)), output_hidden_states=True
            )
        for layer, expected in enumerate([*output.hidden_states[:-1], output.last_hidden_state]):
            np.testing.assert_allclose(found[layer][0, begin:end], expected[0], atol=2e-5, rtol=0)


@pytest.mark.parametrize("family", PADDED)
def test_a_family_without_the_common_attention_is_not_packed(folders: dict[str, Path], family: str) -> None:
    encoder = load_encoder(open_checkpoint(str(folders[family])), device="cpu", dtype="float32")
    assert encoder.packer is None


class Kept(Reader):
    """Keeps the scores of each row, without padding."""

    def __init__(self, rows: Rows) -> None:
        self.rows, self.scores = rows, cast(dict[int, NDArray[np.float32]], {})

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        for row, found in zip(chosen.tolist(), scores, strict=True):
            assert row not in self.scores
            self.scores[row] = found if found.ndim == 1 else found[: int(self.rows.lengths[row])]

    def predictions(self) -> list[Predictions]:
        return []


def rows_of(ids: NDArray[np.int32], starts: NDArray[np.int64]) -> Rows:
    """Rows of two texts each."""
    segments = (np.arange(len(ids)) % 2).astype(np.uint8)
    return Rows(ids=ids, segments=segments, starts=starts, owner=np.arange(len(starts) - 1, dtype=np.int64))


def scored(headed: Headed, rows: Rows, budget: int = 2048) -> dict[int, NDArray[np.float32]]:
    """Scores of each row."""
    kept = Kept(rows)
    Predictor(headed=headed, batch_tokens=budget).run([Asked(rows=rows, reader=kept)])
    return kept.scores


def opened(folder: Path, head: Head) -> Headed:
    """A model with a random head, in evaluation mode."""
    headed = new_headed(open_checkpoint(str(folder)), head, seed=0, device="cpu")
    headed.module.eval()
    return with_packer(headed)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("family", PACKED)
def test_scores_of_packed_rows_are_those_of_single_rows(
    folders: dict[str, Path], family: str, kind: str
) -> None:
    """Under every head, padded where transformers' own class for sequences cannot be handed one state of each: EuroBERT's
    scores every token before it takes the mean.
    """
    headed = opened(folders[family], HEADS[kind])
    assert (headed.packer is None) == (kind == "pooled" and family == "eurobert")
    ids, starts = drawn(LENGTHS)
    found = scored(headed, rows_of(ids, starts))
    for row, (begin, end) in enumerate(itertools.pairwise(starts)):
        own, kinds = (
            torch.from_numpy(flat[None, begin:end].astype(np.int64))
            for flat in (ids, rows_of(ids, starts).segments)
        )
        with torch.inference_mode():
            expected = headed.module(own, None, kinds if headed.tokenizer.template.segments else None)[0]
        np.testing.assert_allclose(found[row], expected, atol=2e-5, rtol=0)


@settings(deadline=None, max_examples=15)
@given(lengths=st.lists(st.integers(1, 128), min_size=1, max_size=40), kind=st.sampled_from(sorted(HEADS)))
def test_scores_are_bit_for_bit_the_same_in_any_company(
    folders: dict[str, Path], lengths: list[int], kind: str
) -> None:
    """Whatever the other rows, their order and the budget of tokens."""
    headed = opened(folders["xlm-roberta"], HEADS[kind])
    ids, starts = drawn(lengths)
    rows = rows_of(ids, starts)
    together, otherwise = scored(headed, rows), scored(headed, rows, 300)
    alone = scored(headed, rows_of(ids[: lengths[0]], starts[:2]))
    np.testing.assert_array_equal(together[0], alone[0])
    for row, scores in together.items():
        np.testing.assert_array_equal(scores, otherwise[row])


@pytest.mark.parametrize(
    ("widest", "room"), [(64, 3072), (1536, 3072), (3072, 2304), (4096, 1536), (10_240, 1536)]
)
def test_rows_of_wide_models_are_shorter(widest: int, room: int) -> None:
    """A layer's output stays below the size from which the C library gives each block back to the system."""
    layers = nn.ModuleList([nn.Linear(8, 8, device="meta"), nn.Linear(8, widest, device="meta")])
    assert packed.room_of(layers) == room
    assert widest > 5_000 or room * widest * 4 < 32 * 2**20


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_wide_layers_round_alike_too(sample_model: Path, tmp_path: Path, dtype: str) -> None:
    """With XLM-R-base's sizes, at which kernels choose blocks by the number of rows."""
    wide = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "num_hidden_layers": 1}
    folder = made("xlm-roberta", sample_model, tmp_path, max_position_embeddings=514, **wide)
    encoder = load_encoder(open_checkpoint(str(folder)), device="cpu", dtype=dtype)
    assert encoder.packer is not None
    lengths = [400, 128, 70, 42, 42, 12, 3]
    ids, starts = drawn(lengths)
    seen: list[set[bytes]] = [set() for _ in lengths]
    for chosen in ([0, 1, 2, 3, 4, 5, 6], [0], [1, 3, 6], [2, 4, 5], [6], [3], [1, 5], [4], [2]):
        row = encoder.packer.row(ids, starts, np.array(chosen), encoder.device)
        with encoder.packer.running(row):
            states = hidden_states(encoder, [1], {"input_ids": row.ids})[1][0].float().numpy()
        begin = 0
        for sequence in chosen:
            seen[sequence].add(states[begin : begin + lengths[sequence]].tobytes())
            begin += lengths[sequence]
    assert [len(found) for found in seen] == [1] * len(lengths)


@settings(deadline=None, max_examples=100)
@given(lengths=st.lists(st.integers(1, 140), max_size=60), room=st.integers(1, 600), most=st.integers(1, 20))
def test_a_packed_plan_has_every_sequence_once_within_room_and_number(
    lengths: list[int], room: int, most: int
) -> None:
    every = np.array(lengths, dtype=np.int64)
    batches = batching.pack(every, room, most)
    assert sorted(row for batch in batches for row in batch.rows.tolist()) == list(range(len(lengths)))
    for batch in batches:
        own = every[batch.rows]
        assert batch.packed
        assert batch.length == own[0]
        assert (np.diff(own) <= 0).all()
        assert len(own) <= most
        assert own.sum() <= room or len(own) == 1


def test_room_that_is_left_is_given_to_the_longest_that_fits() -> None:
    batches = batching.pack(np.array([5, 60, 40, 30, 9, 60], dtype=np.int64), 100, 10)
    assert [batch.rows.tolist() for batch in batches] == [[1, 2], [5, 3, 4], [0]]


def test_a_wrong_way_is_not_taken(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention that sees over the borders of sequences is found out, and the model is padded."""

    def one(layout: Layout) -> Layout:
        return replace(layout, groups=((1, sum(count * length for count, length in layout.groups)),))

    real = rowattention.attention
    monkeypatch.setattr(
        rowattention, "attention", lambda *args, layout, **more: real(*args, layout=one(layout), **more)
    )
    encoder = load_encoder(open_checkpoint(str(folders["bert"])), device="cpu", dtype="float32")
    assert encoder.packer is None


def test_in_low_precision_the_nearest_way_is_taken_not_the_first_that_is_near(
    folders: dict[str, Path],
) -> None:
    """A head that says nearly the same of everything: positions counted from 0, or the mean, are near enough there too."""
    headed = opened(folders["xlm-roberta"], HEADS["pooled"])
    module: Any = headed.module
    module.to(torch.bfloat16)
    last = next(layer for layer in module.modules() if getattr(layer, "out_features", 0) == 3)
    for bias in (0.0, 0.25):
        with torch.no_grad():
            last.bias.fill_(bias)
        found = with_packer(headed).packer
        assert found is not None
        assert (found.counts_from, found.pooled) == (1, "first")
    # Rounded to the same scores whatever the head reads, which is then not known.
    with torch.no_grad():
        last.bias.fill_(1_000.0)
    assert with_packer(headed).packer is None


def test_positions_behind_the_table_are_not_tried(sample_model: Path, tmp_path: Path) -> None:
    """On a GPU asking for one would end all that comes after."""
    folder = made("xlm-roberta", sample_model, tmp_path, max_position_embeddings=16)
    encoder = load_encoder(open_checkpoint(str(folder)), device="cpu", dtype="float32")
    assert encoder.packer is None
    config = SimpleNamespace(max_position_embeddings=130)
    assert proving._counts(config, 1, 16) == (None, 1)
    assert proving._counts(config, 120, 16) == ()
    assert proving._counts(config, 50256, 16) == (None,)
    assert proving._counts(config, None, 131) == ()
    assert proving._counts(SimpleNamespace(), 50256, 16) == (None, 50256)


def test_without_filling_a_row_takes_any_number_of_sequences(folders: dict[str, Path]) -> None:
    """As on a GPU, where rows of any length round alike enough."""
    encoder = load_encoder(open_checkpoint(str(folders["bert"])), device="cpu", dtype="float32")
    assert encoder.packer is not None
    free = replace(encoder.packer, sizes=())
    assert free.most is None
    vectors = torch.ones(3, 4)
    assert free.filled(vectors) is vectors
    assert len(encoder.packer.filled(vectors)) == encoder.packer.most
    batches = packed.batches_of(free, np.full(3_000, 10), 30_000, torch.device("cpu"))
    assert [len(batch.rows) for batch in batches] == [3_000]


def test_positions_are_counted_as_the_model_counts_them(folders: dict[str, Path]) -> None:
    """From behind the padding's id where RoBERTa's relatives do, padding in a text left out; elsewhere from 0."""
    found = {}
    for family in ("bert", "xlm-roberta"):
        packer = load_encoder(open_checkpoint(str(folders[family])), device="cpu", dtype="float32").packer
        assert packer is not None
        ids, starts = np.array([5, 1, 6, 7, 8], dtype=np.int32), np.array([0, 3, 5], dtype=np.int64)
        row = packer.row(ids, starts, np.array([0, 1]), torch.device("cpu"))
        found[family] = row.positions[0, :5].tolist()
        assert row.ids.shape == (1, packer.sizes[0])
    assert found == {"bert": [0, 1, 2, 0, 1], "xlm-roberta": [2, 1, 3, 2, 3]}


def test_values_come_one_late_and_in_order() -> None:
    made_so_far: list[int] = []

    def make() -> Any:
        for value in range(3):
            made_so_far.append(value)
            yield value

    assert [(value, len(made_so_far)) for value in one_late(make())] == [(0, 2), (1, 3), (2, 3)]
    assert list(one_late([])) == []
    assert Fetched(torch.tensor([1.5])).array().tolist() == [1.5]
