"""Finds out by trying whether a model's packed pass equals separate passes, and with which positions and pooling.

Knows modules; trusts no list of families. A model for which the proof fails is run in padded batches.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.engine import packed
from harness.engine.packed import Packer

# What a model may raise that takes no positions, hands on no layout, or wants rows of its own kind.
_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError, NotImplementedError)
_LENGTHS = (16, 8, 8)
# Largest relative distance that rounding alone explains, where passes do not round alike.
_NEAR = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}

# Ids and segments, of shape (rows, length), to whatever tensors are to be equal: (rows, length, …), or (rows, …) if pooled.
Run = Callable[[Tensor, Tensor | None], Sequence[Tensor]]


def packer(base: nn.Module, run: Run, *, pooled: bool = False, segments: bool = False) -> Packer | None:
    """The way to pack for a model, None where none gives what separate passes give.

    Args:
        base: The encoder that takes ids.
        run: A pass through it, and through the head if there is one.
        pooled: Whether ``run`` gives one row for each sequence, by a head.
        segments: Whether the model tells two texts apart.
    """
    config: Any = getattr(base, "config", None)
    if getattr(config, "_attn_implementation", None) != "sdpa":
        return None
    training = base.training
    base.eval()
    try:
        with torch.inference_mode():
            return _proven(base, config, run, pooled=pooled, segments=segments)
    finally:
        base.train(training)


def _proven(base: nn.Module, config: Any, run: Run, *, pooled: bool, segments: bool) -> Packer | None:
    weight = next(base.parameters())
    lengths = _lengths(config)
    # A window so wide that the proof would take seconds of each opening (Mistral's 4,096): not worth it.
    if sum(lengths) > packed.ROOM:
        return None
    sizes = packed.steady_sizes(base) if weight.device.type == "cpu" else ()
    total = next((size for size in sizes if size >= sum(lengths)), sum(lengths))
    padding = config.pad_token_id if isinstance(config.pad_token_id, int) else None
    ids = _drawn(base, sum(lengths), padding)
    kinds = (np.arange(len(ids)) % 3 == 1).astype(np.uint8) if segments else None
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    try:
        alone = [
            _alone(run, ids[begin:end], kinds[begin:end] if kinds is not None else None, total, weight.device)
            for begin, end in itertools.pairwise(starts.tolist())
        ]
    except _REFUSALS:
        return None
    for counts_from, way in itertools.product((None, padding), ("first", "mean") if pooled else ("",)):
        tried = Packer(base=base, counts_from=counts_from, pooled=way, sizes=sizes)
        try:
            row = tried.row(ids, starts, np.arange(len(lengths)), weight.device, kinds)
            with tried.running(row):
                together = run(row.ids, row.segments)
            found = [_apart(row.layout, one, pooled=pooled) for one in together]
        except _REFUSALS:
            continue
        # A row on a CPU has the very shape of its sequences' passes alone; heads behind one token of each have another.
        near = 0.0 if sizes and not pooled else _NEAR[weight.dtype]
        if all(
            _near(one, other, near)
            for sequence, expected in enumerate(alone)
            for one, other in zip(expected, (tensors[sequence] for tensors in found), strict=True)
        ):
            return tried
    return None


def _lengths(config: Any) -> tuple[int, ...]:
    """Of the sequences that are tried: among them one that is longer than the window of attention, if there is one."""
    window = getattr(config, "sliding_window", None)
    return (1 << (int(window) + 1).bit_length(), *_LENGTHS) if window else _LENGTHS


def _drawn(base: nn.Module, count: int, padding: int | None) -> NDArray[np.int32]:
    """Ids of pieces that the model knows, none of them padding."""
    model: Any = base
    known = int(model.get_input_embeddings().weight.shape[0])
    ids = np.random.default_rng(0).integers(3, min(known, 1_000), count, dtype=np.int32)
    return np.where(ids == padding, ids - 1, ids).astype(np.int32)


def _alone(
    run: Run, ids: NDArray[np.int32], kinds: NDArray[np.uint8] | None, total: int, device: torch.device
) -> list[Tensor]:
    """What a pass of one sequence gives for it, in as many copies as make the tokens of a row."""
    copies = max(1, total // len(ids))
    rows, marks = (
        None if flat is None else torch.from_numpy(np.tile(flat.astype(np.int64), (copies, 1))).to(device)
        for flat in (ids, kinds)
    )
    assert rows is not None
    return [tensor[0] for tensor in run(rows, marks)]


def _apart(layout: packed.Layout, together: Tensor, *, pooled: bool) -> list[Tensor]:
    if pooled:
        return list(together[: layout.sequences])
    return [sequence for part in layout.parts(together[0]) for sequence in part]


def _near(one: Tensor, other: Tensor, limit: float) -> bool:
    """Whether two tensors are equal but for a share of their size; bit for bit where that is 0."""
    if one.shape != other.shape:
        return False
    if not limit:
        return torch.equal(one, other)
    apart = torch.linalg.vector_norm((one - other).double())
    return bool(apart <= limit * torch.linalg.vector_norm(one.double()))
