"""Packed attention by torch's kernel for CUDA, which a stand-in plays here: the same as group by group, on any torch."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import varlen

from harness.engine import rowattention
from harness.engine.rowattention import Layout

LENGTHS = (9, 9, 5, 2, 2, 2)
HEADS, SIZE = 4, 16


def kernel(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    borders: Tensor,
    key_borders: Tensor,
    longest: int,
    key_longest: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool = False,
) -> Tensor:
    """What the documentation of torch 2.13 says of its kernel, sequence by sequence in float32.

    A token sees those at most ``window_size`` before and behind it, all where that is -1.
    """
    assert query.dtype == key.dtype == value.dtype
    assert query.dtype in (torch.bfloat16, torch.float16)
    assert borders.dtype == key_borders.dtype == torch.int32
    assert enable_gqa == (query.shape[1] != key.shape[1]), "which the kernel refuses"
    ends = borders.tolist()
    assert longest == key_longest == max(end - begin for begin, end in itertools.pairwise(ends))
    shared = query.shape[1] // key.shape[1]
    found = torch.empty_like(query)
    for begin, end in itertools.pairwise(ends):
        own, seen = (part[begin:end].float().transpose(0, 1) for part in (query, key))
        places = torch.arange(end - begin)
        apart = places[None, :] - places[:, None]
        left, right = (end if side < 0 else side for side in window_size)
        scores = own @ seen.repeat_interleave(shared, dim=0).transpose(1, 2) * scale
        weights = scores.masked_fill((apart < -left) | (apart > right), -torch.inf).softmax(dim=-1)
        mixed = weights @ value[begin:end].float().transpose(0, 1).repeat_interleave(shared, dim=0)
        found[begin:end] = mixed.transpose(0, 1).to(query.dtype)
    return found


def with_splits(*arguments: Any, num_splits: int | None = None, **more: Any) -> Tensor:
    """As torch 2.12 and 2.13 have it."""
    assert num_splits == 1
    return kernel(*arguments, **more)


def picky(*arguments: Any, num_splits: int | None = None, **more: Any) -> Tensor:
    """As on a card that cannot be told the number of splits."""
    if num_splits is not None:
        raise RuntimeError("num_splits requires another flash attention")
    return kernel(*arguments, **more)


def first_of_its_kind(
    query: Tensor, key: Tensor, value: Tensor, *borders: Any, is_causal: bool = False
) -> Tensor:
    """As torch 2.10 has it, which knows neither scale nor window."""
    raise AssertionError("must not be called")


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    rowattention._options_on.cache_clear()
    yield
    rowattention._options_on.cache_clear()


def given(key_heads: int) -> list[Tensor]:
    """Query, key and value of all sequences as transformers hands them on."""
    torch.manual_seed(0)
    return [
        torch.randn(1, heads, sum(LENGTHS), SIZE, dtype=torch.bfloat16)
        for heads in (HEADS, key_heads, key_heads)
    ]


def layout(*, borders: bool) -> Layout:
    """Of the sequences, as on CUDA or as on a CPU."""
    ends = torch.tensor([0, *itertools.accumulate(LENGTHS)], dtype=torch.int32)
    groups = tuple((len(list(group)), length) for length, group in itertools.groupby(LENGTHS))
    return Layout(groups=groups, total=sum(LENGTHS), borders=ends if borders else None)


def attended(own: list[Tensor], *, borders: bool, causal: bool, **more: Any) -> Tensor:
    # What transformers' own attention asks a module for.
    module = cast(
        "nn.Module",
        SimpleNamespace(num_key_value_groups=HEADS // own[1].shape[1], is_causal=causal, training=False),
    )
    query, key, value = own
    found, weights = rowattention.attention(
        module, query, key, value, None, layout=layout(borders=borders), **more
    )
    assert weights is None
    return found


@pytest.mark.parametrize("version", [with_splits, picky, kernel])
@pytest.mark.parametrize("key_heads", [HEADS, 2])
@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("causal", [False, True])
def test_the_kernel_gives_what_groups_of_one_length_give(
    version: Callable[..., Tensor],
    key_heads: int,
    window: int | None,
    causal: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def counted(*arguments: Any, **more: Any) -> Tensor:
        found = version(*arguments, **more)
        calls.append(len(arguments[0]))
        return found

    monkeypatch.setattr(varlen, "varlen_attn", counted)
    own, more = given(key_heads), {"scaling": 0.3, "sliding_window": window, "is_causal": causal}
    found = attended(own, borders=True, causal=causal, **more)
    assert calls.count(sum(LENGTHS)) == 1, "the kernel had all tokens once"
    expected = attended(own, borders=False, causal=causal, **more)
    assert calls.count(sum(LENGTHS)) == 1, "and was not asked on a CPU"
    assert found.shape == expected.shape == (1, sum(LENGTHS), HEADS, SIZE)
    # Of bfloat16, whose last digit is the 256th part.
    torch.testing.assert_close(found.float(), expected.float(), rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("missing", [True, False])
def test_a_torch_without_such_a_kernel_goes_group_by_group(
    missing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:  # as before torch 2.10
        monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)
    else:
        monkeypatch.setattr(varlen, "varlen_attn", first_of_its_kind)
    own = given(HEADS)
    found = attended(own, borders=True, causal=False, scaling=0.3)
    assert torch.equal(found, attended(own, borders=False, causal=False, scaling=0.3))


def test_float32_goes_group_by_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", first_of_its_kind)
    own = [part.float() for part in given(HEADS)]
    found = attended(own, borders=True, causal=False, scaling=0.3)
    assert torch.equal(found, attended(own, borders=False, causal=False, scaling=0.3))


def test_a_card_without_room_is_not_taken_for_one_without_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> Tensor:
        raise torch.OutOfMemoryError("made up")

    monkeypatch.setattr(varlen, "varlen_attn", full)
    with pytest.raises(torch.OutOfMemoryError):
        attended(given(HEADS), borders=True, causal=False, scaling=0.3)
