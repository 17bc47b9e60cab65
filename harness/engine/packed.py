"""Padding-free passes: sequences of any lengths behind one another in one row, through a model's own modules.

All tokens of a batch are one matrix for everything that works on tokens alone; attention (``rowattention``) stays within
each sequence. On a CPU a row has one of few constant lengths, filled up behind the sequences, so that a matrix product has
the same shape, and rounds alike, in whatever company a sequence is. Knows modules and arrays of tokens; knows no head, task
or text.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.engine import batching
from harness.engine.fetching import sent
from harness.engine.freed import LARGEST
from harness.engine.rowattention import NAME, Layout, register

# Tokens of a full row on a CPU, for layers of up to some width: sequences of 128 and 384 tokens fill it without a rest.
ROOMS = (3_072, 2_304, 1_536)
# Tokens of a row for what is left over, where it is shown to round alike.
_SHORTER = (256, 512, 768, 1_024, 1_536, 2_048)
# Tokens for each sequence that a row has room for on a CPU. Behind a pooled head every matrix has a row for each.
_HEADS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Sequences in one row, ready for a model; tensors of shape ``(1, total)``."""

    layout: Layout
    ids: Tensor
    positions: Tensor
    segments: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Packer:
    """How rows are made for a model, and how it runs them; what :func:`harness.engine.proving.packer` has proven.

    Attributes:
        base: The encoder, which takes ids and gives states.
        counts_from: The padding id where positions are counted from behind it, padding itself not (RoBERTa's way); None
            where they are counted from 0.
        pooled: What a head sees of each sequence, ``first`` its first token's state or ``mean`` that of all; empty where it
            sees all tokens. A decoder's head sees the last one's, ``last``.
        sizes: Lengths of rows that round alike, ascending; empty where no filling is needed.
    """

    base: nn.Module
    counts_from: int | None
    pooled: str = ""
    sizes: tuple[int, ...] = ()

    def room(self, budget: int) -> int:
        """Tokens that a row takes at most, under a budget of tokens per batch."""
        return min(budget, self.sizes[-1]) if self.sizes else budget

    @property
    def most(self) -> int | None:
        """Sequences that a row takes at most, None for any number."""
        return self.sizes[-1] // _HEADS if self.sizes else None

    def size(self, tokens: int) -> int:
        """Length of the row for so many tokens; one sequence that is longer than every row has a row of its own."""
        return next((size for size in self.sizes if size >= tokens), tokens)

    def row(
        self,
        ids: NDArray[np.int32],
        starts: NDArray[np.int64],
        chosen: NDArray[np.int64],
        device: torch.device,
        segments: NDArray[np.uint8] | None = None,
    ) -> Row:
        """Some sequences of a flat array behind one another.

        Args:
            ids: Of all sequences, shape ``(tokens,)``; ``segments`` alike.
            starts: Where each begins, and the end, shape ``(sequences + 1,)``.
            chosen: Their numbers, equally long ones side by side.
            device: Where the model is.
        """
        lengths = starts[chosen + 1] - starts[chosen]
        ends = np.cumsum(lengths)
        tokens = int(ends[-1])
        places = np.repeat(starts[chosen] - (ends - lengths), lengths) + np.arange(tokens)
        filling = self.size(tokens) - tokens
        own = ids[places].astype(np.int64)
        positions = _positions(own, lengths, self.counts_from)
        flat = [own, positions, *([] if segments is None else [segments[places].astype(np.int64)])]
        # Filling repeats the first token: whatever it is, ids and positions are such that the model has.
        tensors = [sent(np.concatenate([part, np.repeat(part[:1], filling)])[None], device) for part in flat]
        borders = np.concatenate([[0], ends]).astype(np.int32)
        layout = Layout(
            groups=tuple((len(list(group)), length) for length, group in itertools.groupby(lengths.tolist())),
            total=tokens + filling,
            borders=sent(borders, device) if device.type == "cuda" else None,
        )
        return Row(
            layout=layout,
            ids=tensors[0],
            positions=tensors[1],
            segments=None if segments is None else tensors[2],
        )

    @contextlib.contextmanager
    def running(self, row: Row) -> Iterator[None]:
        """Within, whatever runs the base on the row's ids keeps its sequences apart; the head sees one state of each."""
        register()
        config: Any = self.base.config
        usual = config._attn_implementation

        def told(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return args, {**kwargs, "position_ids": row.positions, "layout": row.layout}

        handles = [self.base.register_forward_pre_hook(told, with_kwargs=True)]
        if self.pooled:
            handles += self._gathering(row.layout)
        config._attn_implementation = NAME
        try:
            yield
        finally:
            config._attn_implementation = usual
            for handle in handles:
                handle.remove()

    def _gathering(self, layout: Layout) -> list[Any]:
        """Hooks by which the states of a row become one state of each sequence, before a pooler and behind the encoder."""

        def before(_module: nn.Module, args: tuple[Any, ...]) -> Any:
            return (self._one(args[0], layout), *args[1:])

        def behind(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
            output.last_hidden_state = self._one(output.last_hidden_state, layout)
            return output

        handles: list[Any] = [self.base.register_forward_hook(behind)]
        pooler = getattr(self.base, "pooler", None)
        if pooler is not None:
            handles.append(pooler.register_forward_pre_hook(before))
        return handles

    def _one(self, states: Tensor, layout: Layout) -> Tensor:
        """States of a row, ``(1, total, size)``, to one of each sequence, ``(sequences, 1, size)``; a CPU's filled up."""
        parts = layout.parts(states[0])
        if self.pooled == "first":
            found = torch.cat([part[:, 0] for part in parts])
        elif self.pooled == "last":
            found = torch.cat([part[:, -1] for part in parts])
        else:
            found = torch.cat([part.sum(dim=1) / part.shape[1] for part in parts])
        return self.filled(found)[:, None]

    def filled(self, vectors: Tensor) -> Tensor:
        """Vectors of sequences with copies of them up to what every matrix product behind them has on a CPU."""
        return repeated(vectors, self.most or 0)


def repeated(vectors: Tensor, least: int) -> Tensor:
    """Vectors, shape ``(count, size)``, with copies of them behind up to so many rows."""
    if len(vectors) >= least:
        return vectors
    return vectors[torch.arange(least, device=vectors.device) % len(vectors)]


def _positions(
    ids: NDArray[np.int64], lengths: NDArray[np.int64], counts_from: int | None
) -> NDArray[np.int64]:
    begins = np.cumsum(lengths) - lengths
    if counts_from is None:
        return np.arange(len(ids)) - np.repeat(begins, lengths)
    counted = ids != counts_from
    behind = np.cumsum(counted)
    before = behind[begins] - counted[begins]
    return np.where(counted, behind - np.repeat(before, lengths), 0) + counts_from


def batches_of(
    packer: Packer | None, lengths: NDArray[np.int64], budget: int, device: torch.device
) -> list[batching.Batch]:
    """Batches of sequences of these lengths: packed, or without a packer of equal padded lengths."""
    if packer is not None:
        return batching.pack(
            lengths, packer.room(budget), len(lengths) if packer.most is None else packer.most
        )
    return batching.plan(lengths, budget, exact=64 if device.type == "cpu" else 0)


def room_of(base: nn.Module) -> int:
    """Tokens of a full row on a CPU: as many as leave what the widest linear layer gives, in float32, a block that is kept."""
    widest = max((layer.out_features for layer in base.modules() if isinstance(layer, nn.Linear)), default=1)
    return next((room for room in ROOMS if room * widest * 4 < LARGEST), ROOMS[-1])


def steady_sizes(module: nn.Module, room: int) -> tuple[int, ...]:
    """Lengths of a row at which every linear layer of a module rounds as it does in a full one, ``room``, which is the last.

    Kernels choose blocks, and the order of sums, by the number of rows, threads and the dtype. Where a shorter row is
    computed alike is seen by trying: each shape of layer once, on drawn numbers.
    """
    layers = {
        (layer.in_features, layer.out_features, layer.weight.dtype): layer
        for layer in module.modules()
        if type(layer) is nn.Linear
    }
    generator = torch.Generator().manual_seed(0)
    sizes = {size for size in _SHORTER if size < room}
    with torch.inference_mode():
        for layer in layers.values():
            rows = torch.randn(room, layer.in_features, generator=generator).to(layer.weight.dtype)
            whole = layer(rows[None])[0]
            sizes = {size for size in sizes if torch.equal(layer(rows[None, :size])[0], whole[:size])}
    return (*sorted(sizes), room)
