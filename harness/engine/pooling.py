"""One batch through an encoder, and its tokens to one vector per sequence. Knows spaces; knows no text and no store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.engine import batching
from harness.engine.adapting import least_rows
from harness.engine.fetching import sent
from harness.engine.load import Encoder, hidden_states
from harness.engine.packed import repeated
from harness.engine.tokens import Tokens
from harness.plan import Space


def pooled_vectors(
    encoder: Encoder, batch: batching.Batch, tokens: Tokens, spaces: Sequence[Space]
) -> dict[Space, Tensor]:
    """One pass over a batch; every space pooled from it, float32, shape ``(rows, dimension)``."""
    pooled = (_packed if batch.packed else _padded)(encoder, batch, tokens, spaces)
    return {space: _finished(encoder, vectors, space) for space, vectors in pooled.items()}


def _packed(
    encoder: Encoder, batch: batching.Batch, tokens: Tokens, spaces: Sequence[Space]
) -> dict[Space, Tensor]:
    """Pooled vectors of sequences in one row, group by group of equally long ones."""
    assert encoder.packer is not None
    row = encoder.packer.row(tokens.ids, tokens.starts, batch.rows, encoder.device)
    with encoder.packer.running(row):
        states = hidden_states(encoder, [space.layer for space in spaces], {"input_ids": row.ids})
    borders = np.concatenate([[0], np.cumsum([count for count, _ in row.layout.groups])])
    vectors = {}
    for space in spaces:
        parts = []
        for at, part in enumerate(row.layout.parts(states[space.layer][0])):
            rows = batch.rows[borders[at] : borders[at + 1]]
            parts.append(_pooled(part, _kept(tokens, rows, part.shape[1], space, padded=False), space))
        vectors[space] = torch.cat(parts)
    return vectors


def _padded(
    encoder: Encoder, batch: batching.Batch, tokens: Tokens, spaces: Sequence[Space]
) -> dict[Space, Tensor]:
    """Pooled vectors of a batch of equal padded lengths."""
    rows = filled(batch, encoder.device)
    places = tokens.starts[rows][:, None] + np.arange(batch.length)
    inside = places < tokens.starts[rows + 1][:, None]
    places = np.minimum(places, len(tokens.ids) - 1)
    padding = encoder.tokenizer.pad_token_id or 0
    ids = np.where(inside, tokens.ids[places], padding).astype(np.int64)
    inputs = {"input_ids": sent(ids, encoder.device)}
    if batch.padded:
        inputs["attention_mask"] = sent(inside.astype(np.int64), encoder.device)
    states = hidden_states(encoder, [space.layer for space in spaces], inputs)
    return {
        space: _pooled(
            states[space.layer], _kept(tokens, rows, batch.length, space, padded=batch.padded), space
        )[: len(batch.rows)]
        for space in spaces
    }


def _kept(
    tokens: Tokens, rows: NDArray[np.int64], length: int, space: Space, *, padded: bool
) -> NDArray[np.bool_] | None:
    """Which tokens of some sequences are pooled, ``(rows, length)``; None for all, where nothing is padded."""
    if not padded and space.special_tokens:
        return None
    places = tokens.starts[rows][:, None] + np.arange(length)
    inside: NDArray[np.bool_] = places < tokens.starts[rows + 1][:, None]
    if space.special_tokens or space.pooling == "cls":
        return inside
    return _without_special(inside, tokens.special[np.minimum(places, len(tokens.ids) - 1)])


def filled(batch: batching.Batch, device: torch.device) -> NDArray[np.int64]:
    """A batch's rows, with copies of them up to what matrix products need on a device."""
    return np.resize(batch.rows, max(len(batch.rows), -(-least_rows(device) // batch.length)))


def _without_special(inside: NDArray[np.bool_], special: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where content tokens are; all tokens for a row that has no content, for which a mean would not exist."""
    content = inside & ~special
    return np.where(content.any(axis=1, keepdims=True), content, inside)


def _pooled(state: Tensor, kept: NDArray[np.bool_] | None, space: Space) -> Tensor:
    with torch.inference_mode():
        mask = sent(kept, state.device) if kept is not None else None
        return pool(state.float(), mask, space.pooling)


def _finished(encoder: Encoder, pooled: Tensor, space: Space) -> Tensor:
    """Pooled vectors behind the dense layers, which the last layer alone has, and of length 1 where that is asked for."""
    with torch.inference_mode():
        if space.layer == encoder.depth and len(encoder.dense.state_dict()):
            most = encoder.packer.most if encoder.packer is not None else None
            copies = repeated(pooled, max(most or 0, least_rows(encoder.device)))
            pooled = encoder.dense(copies)[: len(pooled)]
        return torch.nn.functional.normalize(pooled, dim=-1) if space.normalise else pooled


def pool(state: Tensor, kept: Tensor | None, pooling: str) -> Tensor:
    """One vector per row.

    Args:
        state: float32, shape ``(rows, length, size)``.
        kept: bool, shape ``(rows, length)``, at least one token per row; None where every token is kept. Which of the
            two it is must not hang on the rows, for the sums are rounded in another order.
        pooling: ``mean`` and ``cls`` as XTREME has them; the others are sentence-transformers'.

    Returns:
        Shape ``(rows, size)``.
    """
    if kept is None:
        if pooling == "mean":
            return state.mean(dim=1)
        kept = torch.ones(state.shape[:2], dtype=torch.bool, device=state.device)
    if pooling == "cls":
        return state[torch.arange(len(state), device=state.device), kept.int().argmax(dim=1)]
    if pooling == "last_token":
        last = state.shape[1] - 1 - kept.flip(1).int().argmax(dim=1)
        return state[torch.arange(len(state), device=state.device), last]
    if pooling == "max":
        return state.masked_fill(~kept[:, :, None], -torch.inf).amax(dim=1)
    weights = kept.float()
    if pooling == "weighted_mean":
        weights = weights * kept.int().cumsum(dim=1)
    total = torch.einsum("rld,rl->rd", state, weights)
    counts = weights.sum(dim=1, keepdim=True)
    return total / (counts.sqrt() if pooling == "mean_sqrt_len" else counts)
