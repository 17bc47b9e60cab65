"""Attention within each of the sequences that lie behind one another in a row, as transformers asks for attention.

Group by group of equally long ones, or in half precision on CUDA by torch's kernel for such rows, where this torch has it. Knows
tensors and where sequences lie; knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

NAME = "harness_packed"
# What some families hand to attention and torch's kernels for packed rows know nothing of.
_NOT_COMPUTED = ("position_bias", "softcap", "s_aux")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where sequences lie in a row.

    Attributes:
        groups: Number and length of equally long sequences, in the order in which they lie there.
        total: Tokens of the row; those behind the last sequence are filling.
        borders: Of sequences, int32, shape ``(sequences + 1,)``, where CUDA's kernel wants them.
    """

    groups: tuple[tuple[int, int], ...]
    total: int
    borders: Tensor | None = None

    @property
    def sequences(self) -> int:
        """How many there are."""
        return sum(count for count, _ in self.groups)

    def parts(self, row: Tensor) -> Iterator[Tensor]:
        """Each group of a tensor of shape ``(total, …)``, as ``(count, length, …)``."""
        begin = 0
        for count, length in self.groups:
            yield torch.unflatten(row[begin : begin + count * length], 0, (count, length))
            begin += count * length


def register() -> None:
    """Make the attention known to transformers; it asks for no mask, as none is registered under this name."""
    AttentionInterface.register(NAME, attention)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention within each sequence of a row.

    Args:
        module: Whose attention it is; says ``is_causal`` where ``more`` does not.
        query: Shape ``(1, heads, total, size)``; ``key`` and ``value`` alike, perhaps with fewer heads.
        attention_mask: None.
        layout: Of the row.
        more: What transformers hands its own functions: ``scaling``, ``sliding_window`` …

    Returns:
        Shape ``(1, total, heads, size)``, zeros in the filling; no weights.

    Raises:
        ValueError: The model asks for something that is not computed here, so that it must be padded.
    """
    strange = sorted(name for name in _NOT_COMPUTED if more.get(name) is not None)
    if strange:
        raise ValueError(f"attention with {', '.join(strange)} is not computed over packed rows")
    options = kernel_options(query, key) if layout.borders is not None else None
    if options is not None:
        return _by_kernel(module, (query, key, value), layout, more, options), None
    rows = [tensor[0].transpose(0, 1) for tensor in (query, key, value)]
    parts = []
    for own in zip(*map(layout.parts, rows), strict=True):
        group = [part.transpose(1, 2) for part in own]
        mask = _window(own[0].shape[1], _reach(more), _causal(module, more), query.device)
        found, _ = sdpa_attention_forward(module, group[0], group[1], group[2], mask, **more)
        parts.append(found.flatten(0, 1))
    filling = layout.total - sum(map(len, parts))
    if filling:
        parts.append(parts[0].new_zeros((filling, *parts[0].shape[1:])))
    return torch.cat(parts)[None], None


def _causal(module: nn.Module, more: dict[str, Any]) -> bool:
    given = more.get("is_causal")
    return bool(getattr(module, "is_causal", True) if given is None else given)


def _reach(more: dict[str, Any]) -> int:
    """How far from itself a token sees the nearest one that it no longer sees; 0 where it sees all."""
    return int(more.get("sliding_window") or 0)


def _window(length: int, reach: int, causal: bool, device: torch.device) -> Tensor | None:
    """Which token sees which, bool, ``(1, 1, length, length)``; None where that needs no telling."""
    if not reach or length <= reach:
        return None
    places = torch.arange(length, device=device)
    apart = places[:, None] - places
    seen = (apart >= 0) & (apart < reach) if causal else apart.abs() < reach
    return seen[None, None]


def kernel_options(query: Tensor, key: Tensor) -> Mapping[str, Any] | None:
    """What to tell torch's kernel for packed rows besides these, None where it cannot be used on tensors of this kind.

    torch 2.10 is the first that has it, 2.11 the first that takes a scale and a window; which of the other arguments it takes
    is another matter in each version, and on each card.
    """
    if query.dtype not in (torch.float16, torch.bfloat16):
        return None
    return _options_on(query.device, query.dtype, query.shape[1], key.shape[1], query.shape[3])


@cache
def _options_on(
    device: torch.device, dtype: torch.dtype, heads: int, key_heads: int, size: int
) -> Mapping[str, Any] | None:
    """The first of the ways to call the kernel that it does not refuse, tried on two short sequences."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    shared: dict[str, Any] = {"enable_gqa": True} if heads != key_heads else {}
    query, key = (torch.ones((3, count, size), device=device, dtype=dtype) for count in (heads, key_heads))
    borders = torch.tensor([0, 1, 3], device=device, dtype=torch.int32)
    # Sums that are not split over blocks do not depend on the longest sequence of a batch.
    for options in ({**shared, "num_splits": 1}, shared):
        try:
            varlen_attn(query, key, key, borders, borders, 2, 2, scale=1.0, window_size=(-1, -1), **options)
        except torch.OutOfMemoryError:
            raise
        # Among them that the card has no such kernel.
        except (RuntimeError, TypeError, ValueError):
            continue
        return options
    return None


def _by_kernel(
    module: nn.Module,
    tensors: tuple[Tensor, Tensor, Tensor],
    layout: Layout,
    more: dict[str, Any],
    options: Mapping[str, Any],
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (tensor[0].transpose(0, 1) for tensor in tensors)
    causal, left = _causal(module, more), _reach(more) - 1
    longest = max(length for _, length in layout.groups)
    found: Any = varlen_attn(
        query,
        key,
        value,
        layout.borders,  # type: ignore[arg-type]
        layout.borders,
        longest,
        longest,
        scale=more.get("scaling"),
        window_size=(left, 0 if causal else left) if left >= 0 else (-1, 0 if causal else -1),
        **options,
    )
    return found[None]  # type: ignore[no-any-return]
