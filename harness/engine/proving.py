"""Finds out by trying whether a model's packed pass equals separate passes, and with which positions and pooling.

Knows modules; trusts no list of families. A model for which the proof fails is run in padded batches.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.engine import packed
from harness.engine.freed import keep_freed
from harness.engine.hardware import TROUBLES
from harness.engine.packed import Packer
from harness.engine.rowattention import Layout

# What a model may raise that takes no positions, hands on no layout, or wants rows of its own kind.
_REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError, NotImplementedError)
_LENGTHS = (16, 8, 8)
# Largest relative distance that rounding alone explains, where passes do not round alike.
_NEAR = {torch.float32: 1e-4, torch.bfloat16: 3e-2, torch.float16: 1e-2}

# Ids and segments, of shape (rows, length), to whatever tensors are to be equal: (rows, length, …), or (rows, …) if pooled.
Run = Callable[[Tensor, Tensor | None], Sequence[Tensor]]


def packer(
    base: nn.Module, run: Run, *, whole: nn.Module | None = None, pooled: bool = False, segments: bool = False
) -> Packer | None:
    """The way to pack for a model, None where none gives what separate passes give.

    Args:
        base: The encoder that takes ids.
        run: A pass through it, and through the head if there is one.
        whole: The encoder with its head, whose layers must round alike too; None if there is no head.
        pooled: Whether ``run`` gives one row for each sequence, by a head.
        segments: Whether the model tells two texts apart.
    """
    config: Any = getattr(base, "config", None)
    if getattr(config, "_attn_implementation", None) != "sdpa":
        return None
    if next(base.parameters()).device.type == "cpu":
        keep_freed()
    training = base.training
    base.eval()
    try:
        with torch.inference_mode():
            return _proven(base, whole or base, run, pooled=pooled, segments=segments)
    finally:
        base.train(training)


def _proven(base: nn.Module, whole: nn.Module, run: Run, *, pooled: bool, segments: bool) -> Packer | None:
    config: Any = base.config
    lengths = _lengths(config)
    padding = config.pad_token_id if isinstance(config.pad_token_id, int) else None
    counts = _counts(config, padding, max(lengths))
    room = packed.room_of(base)
    # A window so wide that the proof would take seconds of each opening (Mistral's 4,096): not worth it.
    if not counts or sum(lengths) > room:
        return None
    weight = next(base.parameters())
    sizes = packed.steady_sizes(whole, room) if weight.device.type == "cpu" else ()
    trial = _Trial.of(base, run, lengths, padding, pooled=pooled, segments=segments)
    try:
        alone = trial.alone(next((size for size in sizes if size >= sum(lengths)), sum(lengths)))
    except TROUBLES:
        raise
    except _REFUSALS:
        return None
    # A row on a CPU has the very shape of its sequences' passes alone; heads behind one token of each have another.
    rounding = _NEAR[weight.dtype]
    limits = (0.0 if sizes else rounding, 0.0 if sizes and not pooled else rounding)
    found: list[tuple[tuple[float, float], Packer]] = []
    for counts_from, way in itertools.product(counts, ("first", "last", "mean") if pooled else ("",)):
        tried = Packer(base=base, counts_from=counts_from, pooled=way, sizes=sizes)
        try:
            apart = _furthest(alone, trial.together(tried))
        except TROUBLES:
            raise
        except _REFUSALS:
            continue
        else:
            if apart[0] <= limits[0] and apart[1] <= limits[1]:
                found.append((apart, tried))
    # In half precision a wrong way may be near too, where little hangs on it in the numbers drawn; the right one is nearer.
    best = min((apart for apart, _ in found), default=None)
    nearest = [tried for apart, tried in found if apart == best]
    return nearest[0] if len({tried.pooled for tried in nearest}) == 1 else None


# Of one sequence: the base's last states, where they could be seen, and what a pass gives.
_Given = tuple[Sequence[Tensor], Sequence[Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """Sequences of drawn ids, flat, and the pass that is tried on them."""

    base: nn.Module
    run: Run
    pooled: bool
    ids: NDArray[np.int32]
    kinds: NDArray[np.uint8] | None
    starts: NDArray[np.int64]
    device: torch.device

    @classmethod
    def of(
        cls,
        base: nn.Module,
        run: Run,
        lengths: Sequence[int],
        padding: int | None,
        *,
        pooled: bool,
        segments: bool,
    ) -> _Trial:
        ids = _drawn(base, sum(lengths), padding)
        return cls(
            base=base,
            run=run,
            pooled=pooled,
            ids=ids,
            kinds=(np.arange(len(ids)) % 3 == 1).astype(np.uint8) if segments else None,
            starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            device=next(base.parameters()).device,
        )

    def alone(self, total: int) -> list[_Given]:
        """What a pass of each sequence gives for it, in as many copies as make ``total`` tokens."""
        found: list[_Given] = []
        for begin, end in itertools.pairwise(self.starts.tolist()):
            copies = max(1, total // (end - begin))
            rows, marks = (
                None
                if flat is None
                else torch.from_numpy(np.tile(flat[begin:end].astype(np.int64), (copies, 1))).to(self.device)
                for flat in (self.ids, self.kinds)
            )
            assert rows is not None
            states, given = self._watched(rows, marks)
            found.append(([tensor[0] for tensor in states], [tensor[0] for tensor in given]))
        return found

    def together(self, packer: Packer) -> list[_Given]:
        """What a pass of all of them in one row gives for each."""
        count = len(self.starts) - 1
        row = packer.row(self.ids, self.starts, np.arange(count), self.device, self.kinds)
        with packer.running(row):
            states, given = self._watched(row.ids, row.segments)
        by_tensor = (
            [_apart(row.layout, tensor, pooled=False) for tensor in states],
            [_apart(row.layout, tensor, pooled=self.pooled) for tensor in given],
        )
        return [
            ([tensor[number] for tensor in by_tensor[0]], [tensor[number] for tensor in by_tensor[1]])
            for number in range(count)
        ]

    def _watched(self, ids: Tensor, kinds: Tensor | None) -> tuple[list[Tensor], list[Tensor]]:
        """A pass, and the states with which it leaves the base, before a packer gathers them."""
        states: list[Tensor] = []
        handle = self.base.register_forward_hook(
            lambda _module, _args, output: states.append(output.last_hidden_state), prepend=True
        )
        try:
            return states, list(self.run(ids, kinds))
        finally:
            handle.remove()


def _furthest(alone: Sequence[_Given], together: Sequence[_Given]) -> tuple[float, float]:
    """The largest distance of states, and of what passes give."""
    states, given = (
        max(
            (
                _distance(one, other)
                for before, after in zip(alone, together, strict=True)
                for one, other in zip(before[part], after[part], strict=True)
            ),
            default=0.0,
        )
        for part in (0, 1)
    )
    return states, given


def _counts(config: Any, padding: int | None, longest: int) -> tuple[int | None, ...]:
    """Where positions may be counted from; nowhere if one of them could lie behind the table, which a GPU does not forgive."""
    most = getattr(config, "max_position_embeddings", None)
    if padding is None or (most and padding >= most):
        return (None,) if not most or longest <= most else ()
    return (None, padding) if not most or padding + longest < most else ()


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


def _apart(layout: Layout, together: Tensor, *, pooled: bool) -> list[Tensor]:
    if pooled:
        return list(together[: layout.sequences])
    return [sequence for part in layout.parts(together[0]) for sequence in part]


def _distance(one: Tensor, other: Tensor) -> float:
    """Between two tensors, as a share of their size: 0 only if they are equal bit for bit, infinite for other shapes."""
    if one.shape != other.shape:
        return math.inf
    if torch.equal(one, other):
        return 0.0
    apart = torch.linalg.vector_norm((one - other).double())
    share = float(apart / torch.linalg.vector_norm(one.double()))
    return math.inf if math.isnan(share) else max(share, math.ulp(0.0))
