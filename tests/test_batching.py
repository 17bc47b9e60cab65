"""Batches: every sequence once, nothing over budget, and vectors that do not depend on the company they are in."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import XLMRobertaConfig, XLMRobertaModel

from harness import digests
from harness.checkpoints import Checkpoint
from harness.engine import batching
from harness.engine.embed import Embedder
from harness.engine.load import Encoder
from harness.engine.store import EmbeddingStore
from harness.engine.tokens import Tokens
from harness.plan import Space

_LENGTHS = st.lists(st.integers(1, 140), max_size=60)
Sequence = tuple[int, ...]


def _array(lengths: list[int]) -> NDArray[np.int64]:
    return np.array(lengths, dtype=np.int64)


@settings(deadline=None, max_examples=100)
@given(lengths=_LENGTHS, budget=st.integers(1, 600))
def test_a_plan_has_every_sequence_once(lengths: list[int], budget: int) -> None:
    batches = batching.plan(_array(lengths), budget)
    rows = [row for batch in batches for row in batch.rows.tolist()]
    assert sorted(rows) == list(range(len(lengths)))
    assert all(len(batch.rows) for batch in batches)


@settings(deadline=None, max_examples=100)
@given(lengths=_LENGTHS, budget=st.integers(1, 600))
def test_a_batch_keeps_to_the_budget_unless_it_is_one_sequence(lengths: list[int], budget: int) -> None:
    for batch in batching.plan(_array(lengths), budget):
        assert batch.length * len(batch.rows) <= budget or len(batch.rows) == 1


@settings(deadline=None, max_examples=60)
@given(lengths=_LENGTHS, budget=st.integers(1, 600))
def test_only_the_last_batch_of_a_length_has_room_left(lengths: list[int], budget: int) -> None:
    batches = batching.plan(_array(lengths), budget)
    for batch, after in itertools.pairwise(batches):
        assert batch.length >= after.length
        if batch.length == after.length:
            assert (len(batch.rows) + 1) * batch.length > budget


@settings(deadline=None, max_examples=100)
@given(lengths=_LENGTHS, budget=st.integers(1, 600), exact=st.sampled_from([0, 10, 64]))
def test_short_sequences_are_not_padded_and_long_ones_by_at_most_7(
    lengths: list[int], budget: int, exact: int
) -> None:
    every = _array(lengths)
    for batch in batching.plan(every, budget, exact=exact):
        padding = batch.length - every[batch.rows]
        if batch.length <= exact:
            assert not padding.any()
            assert not batch.padded
        else:
            assert ((padding >= 0) & (padding <= 7)).all()
            assert batch.length % 8 == 0
            assert batch.padded


@settings(deadline=None, max_examples=100)
@given(
    length=st.integers(1, 140),
    companies=st.lists(st.tuples(_LENGTHS, st.integers(1, 600)), min_size=2, max_size=3),
)
def test_a_sequence_is_padded_to_the_same_length_in_any_company(
    length: int, companies: list[tuple[list[int], int]]
) -> None:
    seen = {
        (batch.length, batch.padded)
        for others, budget in companies
        for batch in batching.plan(_array([length, *others]), budget)
        if 0 in batch.rows
    }
    assert len(seen) == 1


def test_nothing_to_do_is_no_batch() -> None:
    assert batching.plan(_array([]), 100) == []


def test_lengths_from_65_on_go_up_to_a_multiple_of_8() -> None:
    lengths = _array([1, 63, 64, 65, 72, 73, 512])
    assert batching.padded_length(lengths).tolist() == [1, 63, 64, 72, 72, 80, 512]


def test_sequences_of_one_length_keep_their_order() -> None:
    (batch,) = batching.plan(_array([5, 5, 5]), 100)
    assert batch.rows.tolist() == [0, 1, 2]


_PADDING = 1
_SPACES = tuple(
    Space(layer=layer, pooling=pooling, special_tokens=special, normalise=True, max_length=128)
    for layer, pooling, special in (
        (1, "mean", True),
        (2, "mean", True),
        (2, "mean", False),
        (2, "cls", True),
    )
)


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """A tiny XLM-R with random weights that are always the same."""
    config = XLMRobertaConfig(
        vocab_size=200,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=140,
        type_vocab_size=1,
        pad_token_id=_PADDING,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model: Any = XLMRobertaModel(config, add_pooling_layer=False)
    return Encoder(
        checkpoint=cast(Checkpoint, SimpleNamespace(name="tiny")),
        model=model.eval(),
        tokenizer=SimpleNamespace(pad_token_id=_PADDING),
        dense=torch.nn.Sequential(),
        blocks=list(model.encoder.layer),
        device=torch.device("cpu"),
        dtype=torch.float32,
        depth=2,
        hidden_size=64,
    )


def _sequences(generator: np.random.Generator, lengths: list[int]) -> list[Sequence]:
    return [(0, *generator.integers(4, 200, length - 2).tolist(), 2) for length in lengths]


def _tokens(sequences: list[Sequence]) -> Tokens:
    lengths = [len(sequence) for sequence in sequences]
    ids = np.concatenate([np.array(sequence, dtype=np.int32) for sequence in sequences])
    return Tokens(
        ids=ids,
        special=(ids == 0) | (ids == 2),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        sequence=np.arange(len(sequences)),
        before=np.array([[length, length, 0] for length in lengths], dtype=np.int32),
    )


def _name(sequence: Sequence) -> str:
    return " ".join(map(str, sequence))


def _embedded(
    encoder: Encoder, home: Path, sequences: list[Sequence], budget: int
) -> dict[Space, dict[Sequence, bytes]]:
    stores = {space: EmbeddingStore(home, {"space": repr(space)}, 64) for space in _SPACES}
    texts = [_name(sequence) for sequence in sequences]
    Embedder(encoder=encoder, stores=stores, batch_tokens=budget).embed(texts, [_tokens(sequences)])
    found = {space: store.get(digests.of_texts(texts))[0] for space, store in stores.items()}
    return {
        space: {sequence: row.tobytes() for sequence, row in zip(sequences, vectors, strict=True)}
        for space, vectors in found.items()
    }


def _in_company(sequences: list[Sequence], budget: int) -> set[Sequence]:
    """The sequences whose batch has at least three rows."""
    lengths = _array([len(sequence) for sequence in sequences])
    batches = [batch for batch in batching.plan(lengths, budget) if len(batch.rows) >= 3]
    return {sequences[row] for batch in batches for row in batch.rows.tolist()}


def test_a_vector_is_bit_for_bit_the_same_in_any_batch_of_three_or_more(
    encoder: Encoder, tmp_path: Path
) -> None:
    generator = np.random.default_rng(13)
    shared = _sequences(
        generator, [3] * 3 + [7] * 3 + [16] * 3 + [33] * 3 + [64] * 3 + [67, 70, 72] + [97, 103, 104]
    )
    seen: dict[tuple[Space, Sequence], set[bytes]] = {}
    for number, (more, budget) in enumerate([(0, 2048), (1, 2048), (2, 400), (9, 2048), (20, 700)]):
        company = shared + [
            sequence
            for length in (3, 7, 16, 33, 64, 68, 101)
            for sequence in _sequences(generator, [length] * more)
        ]
        sequences = [company[index] for index in generator.permutation(len(company))]
        counted = _in_company(sequences, budget) & set(shared)
        assert len(counted) > len(shared) / 2
        for space, vectors in _embedded(encoder, tmp_path / str(number), sequences, budget).items():
            for sequence in counted:
                seen.setdefault((space, sequence), set()).add(vectors[sequence])
    assert len(seen) == len(_SPACES) * len(shared)
    unlike = {(len(sequence), space) for (space, sequence), found in seen.items() if len(found) > 1}
    assert not unlike, sorted({length for length, _ in unlike})


@pytest.mark.parametrize("length", [72, 80, 104, 128])
def test_a_long_vector_is_bit_for_bit_the_same_whether_others_of_its_batch_are_padded(
    encoder: Encoder, tmp_path: Path, length: int
) -> None:
    """A batch that happens to need no padding must take the same road as one that does."""
    generator = np.random.default_rng(23)
    whole, shorter = _sequences(generator, [length] * 4), _sequences(generator, [length - 3])
    without = _embedded(encoder, tmp_path / "without", whole, 2048)
    among = _embedded(encoder, tmp_path / "among", whole + shorter, 2048)
    unlike = {
        (space.layer, space.pooling, space.special_tokens)
        for space in _SPACES
        for sequence in whole
        if without[space][sequence] != among[space][sequence]
    }
    assert not unlike


def test_a_vector_after_dense_layers_is_bit_for_bit_the_same_in_any_batch_of_three_or_more(
    encoder: Encoder, tmp_path: Path
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(29)
        dense = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Tanh())
    deep = dataclasses.replace(encoder, dense=dense.eval())
    shared = _sequences(np.random.default_rng(31), [40] * 3)
    seen: dict[tuple[Space, Sequence], set[bytes]] = {}
    for more in (0, 1, 2, 5, 30):
        sequences = [*shared, *_sequences(np.random.default_rng(37), [40] * more)]
        for space, vectors in _embedded(deep, tmp_path / str(more), sequences, 2048).items():
            for sequence in shared:
                seen.setdefault((space, sequence), set()).add(vectors[sequence])
    assert {space.layer for (space, _), found in seen.items() if len(found) > 1} == set()


def test_a_vector_is_nearly_the_same_alone_and_padded(encoder: Encoder, tmp_path: Path) -> None:
    """What a sequence means does not depend on padding or on the batch, up to rounding."""
    generator = np.random.default_rng(17)
    sequences = _sequences(generator, [5, 5, 5, 64, 64, 66, 66, 71])
    together = _embedded(encoder, tmp_path / "together", sequences, 2048)
    for sequence in sequences:
        alone = _embedded(encoder, tmp_path / digests.of_value(sequence), [sequence], 2048)
        for space, vectors in alone.items():
            np.testing.assert_allclose(
                np.frombuffer(vectors[sequence], dtype=np.float32),
                np.frombuffer(together[space][sequence], dtype=np.float32),
                rtol=0,
                atol=2e-6,
            )


def test_padding_is_the_same_for_the_model_as_no_padding(encoder: Encoder, tmp_path: Path) -> None:
    """A padded sequence has the vector that transformers gives it without any padding."""
    (sequence,) = _sequences(np.random.default_rng(19), [67])
    found = _embedded(encoder, tmp_path, [sequence], 2048)
    with torch.inference_mode():
        states = encoder.model(input_ids=torch.tensor([sequence]), output_hidden_states=True).hidden_states
    for space in _SPACES:
        state = states[space.layer][0]
        kept = state if space.special_tokens else state[1:-1]
        expected = torch.nn.functional.normalize(
            state[0] if space.pooling == "cls" else kept.mean(dim=0), dim=0
        )
        np.testing.assert_allclose(
            np.frombuffer(found[space][sequence], dtype=np.float32), expected.numpy(), rtol=0, atol=2e-6
        )
