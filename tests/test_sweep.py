"""The sweep: no neighbour is lost, in any precision, whatever the vectors; what cannot be proven is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import search
from harness.engine import lowered
from harness.engine import sweep as module
from harness.engine.hardware import remark_on
from harness.engine.lowered import bounds, sides
from harness.engine.sweep import sweep
from harness.search import ExactSearch, Found

DTYPES = [torch.bfloat16, torch.float32]
Case = tuple[search.Vectors, search.Vectors, int]


def _oracle(queries: search.Vectors, base: search.Vectors, k: int) -> tuple[search.Scores, search.Indices]:
    """Every inner product in float64, by falling score, then row."""
    every = np.einsum("qd,bd->qb", queries.astype(np.float64), base.astype(np.float64))
    rows = np.lexsort((np.broadcast_to(np.arange(len(base)), every.shape), -every), axis=1)[:, :k]
    return np.take_along_axis(every, rows, axis=1), rows


def assert_exact(case: Case, dtype: torch.dtype) -> None:
    queries, base, k = case
    found = ExactSearch(sweep=partial(sweep, dtype=dtype)).both(queries, base, k)
    for near, (scores, rows) in zip(
        found, (_oracle(queries, base, k), _oracle(base, queries, k)), strict=True
    ):
        np.testing.assert_array_equal(near.rows, rows)
        np.testing.assert_array_equal(near.scores, scores)
    alone = ExactSearch(sweep=partial(sweep, dtype=dtype))(queries, base, k)
    np.testing.assert_array_equal(alone.rows, found[0].rows)


@contextmanager
def _small(base: int, panel: int, tile: int, group: int, spare: int) -> Iterator[None]:
    """Blocks, panels, tiles and groups so small that a few rows fill many."""
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "_BASE_ROWS", base)
    patch.setattr(module, "_PANEL", {"cpu": panel})
    patch.setattr(module, "_TILE", {"cpu": tile})
    patch.setattr(module, "_GROUP", group)
    patch.setattr(module, "_SPARE", spare)
    try:
        yield
    finally:
        patch.undo()


@st.composite
def _sizes(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    group = draw(st.sampled_from([1, 2, 4]))
    return (
        draw(st.integers(1, 20)),
        group * draw(st.integers(1, 3)),
        group * draw(st.integers(1, 3)),
        group,
        draw(st.integers(0, 4)),
    )


@st.composite
def _exact_cases(draw: st.DrawFn) -> Case:
    """Numbers whose products and sums are exact in float64, so that the oracle's ties are true ones.

    The low precision sees zero vectors, duplicates, ties, rows that differ behind its digits, and lengths of any order.
    """
    dimension = draw(st.integers(1, 5))
    kind = draw(st.sampled_from(["coarse", "near ties", "huge", "tiny", "mixed lengths"]))
    number = st.sampled_from([-2.0, -1.0, 0.0, 0.0, 1.0, 2.0])
    if kind == "near ties":
        # Next to 1, half a place of bfloat16 and less, down to the last place of float32.
        number = st.sampled_from([1.0, 1 + 2.0**-8, 1 - 2.0**-9, 1 + 2.0**-12, 1 + 2.0**-22, 1 + 2.0**-23])
    row = st.lists(number, min_size=dimension, max_size=dimension)
    queries = np.array(draw(st.lists(row, min_size=1, max_size=25)), dtype=np.float64)
    base = np.array(draw(st.lists(row, min_size=1, max_size=40)), dtype=np.float64)
    if kind in ("huge", "tiny"):
        base, queries = base * 2.0 ** draw(st.integers(100, 120)), queries * 2.0 ** draw(st.integers(60, 120))
        if kind == "tiny":
            base, queries = base * 2.0**-240, queries * 2.0**-240
    if kind == "mixed lengths":
        powers = st.lists(st.sampled_from([-8, 0, 0, 8, 16]), min_size=len(base), max_size=len(base))
        base = base * 2.0 ** np.array(draw(powers))[:, None]
    return queries.astype(np.float32), base.astype(np.float32), draw(st.integers(1, 45))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None, max_examples=100)
@given(case=_exact_cases(), sizes=_sizes())
def test_both_directions_are_those_of_a_float64_search(
    dtype: torch.dtype, case: Case, sizes: tuple[int, int, int, int, int]
) -> None:
    with _small(*sizes):
        assert_exact(case, dtype)


def test_rows_whose_products_are_too_large_for_float32_are_not_lost() -> None:
    """Found by the test above: parts of the nearest row's product are infinite with either sign, so FAISS passes it over."""
    query = np.array([[-1, -2, -2]], dtype=np.float32) * np.float32(2**60)
    signs = [[-1, -1, 0.5], [1, -1, -1], [-1, -1, 0], [-1, -1, 1], [-1, -0.5, -0.5], [-1, -0.5, 0]]
    signs += [[-1, 0, -1], [-1, 0, -0.5], [-0.5, -1, 0], [0, 0.5, -1]]
    base = np.array(signs, dtype=np.float32) * np.float32(2**101)
    assert _oracle(query, base, 1)[1].tolist() == [[1]]
    for exact in (ExactSearch(), ExactSearch(sweep=sweep)):
        np.testing.assert_array_equal(exact(query, base, 1).rows, [[1]])
    assert_exact((np.tile(query, (3, 1)), base, 2), torch.float32)


def _directions(generator: np.random.Generator, rows: int, dimension: int, lean: float) -> search.Vectors:
    vectors = generator.standard_normal((rows, dimension)) + lean * np.eye(1, dimension)
    unit: search.Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def assert_same(found: tuple[Found, Found], expected: tuple[Found, Found]) -> None:
    for near, plain in zip(found, expected, strict=True):
        np.testing.assert_array_equal(near.rows, plain.rows)
        np.testing.assert_array_equal(near.scores, plain.scores)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("lean", [0.0, 3.0, 100.0])
def test_numbers_are_bit_for_bit_those_without_a_sweep(dtype: torch.dtype, lean: float) -> None:
    generator = np.random.default_rng(0)
    sources, targets = _directions(generator, 2_300, 48, lean), _directions(generator, 4_500, 48, lean)
    swept = ExactSearch(sweep=partial(sweep, dtype=dtype)).both(sources, targets, 4)
    assert_same(swept, ExactSearch().both(sources, targets, 4))


@pytest.mark.parametrize("lean", [0.0, 100.0])
def test_few_candidates_are_left_and_nearly_all_queries_proven_in_bfloat16(lean: float) -> None:
    """Also where all vectors share almost all of their length, as an encoder's middle layers do."""
    generator = np.random.default_rng(1)
    sources, targets = _directions(generator, 3_000, 256, lean), _directions(generator, 3_000, 256, lean)
    for candidates in sweep(sources, targets, 4, 4, dtype=torch.bfloat16):
        assert candidates.proven.mean() > 0.99
        assert 4 <= (candidates.rows >= 0).sum(axis=1).mean() < 16


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_the_sweep_cannot_tell_apart_is_searched_again(dtype: torch.dtype) -> None:
    """300 rows around one point, nearer to each other than the low precision's rounding."""
    generator = np.random.default_rng(2)
    near = _directions(generator, 1, 16, 0.0) + 1e-6 * generator.standard_normal((300, 16))
    base = np.concatenate([_directions(generator, 500, 16, 0.0), near.astype(np.float32)])
    queries = np.concatenate([base[-3:], base[:5]])
    candidates, _ = sweep(queries, base, 4, 0, dtype=dtype)
    asked: list[int] = []

    def raw(
        some: search.Matrix, pool: search.Matrix, k: int
    ) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float32]], search.Indices]:
        asked.append(len(some))
        return search.faiss_knn(some, pool, k)

    found = ExactSearch(sweep=partial(sweep, dtype=dtype), raw=raw)(queries, base, 4)
    plain = ExactSearch()(queries, base, 4)
    np.testing.assert_array_equal(found.rows, plain.rows)
    np.testing.assert_array_equal(found.scores, plain.scores)
    assert not candidates.proven[:3].any()
    assert candidates.proven[3:].all()
    assert asked[0] == 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_lines_of_which_nothing_can_be_told_are_given_up(dtype: torch.dtype) -> None:
    """Rows around one point, and one far away, which makes every bound wide: no product is opened, and all is found."""
    generator = np.random.default_rng(3)
    base = _directions(generator, 1, 32, 0.0) + 1e-3 * generator.standard_normal((4_600, 32))
    base = (base / np.linalg.norm(base, axis=1, keepdims=True)).astype(np.float32)
    base[100] = -base[0]
    queries = base[::40]
    candidates, _ = sweep(queries, base, 4, 0, dtype=dtype)
    given_up = (candidates.rows < 0).all(axis=1)
    assert given_up.all()
    assert not candidates.proven.any()
    assert_same(
        ExactSearch(sweep=partial(sweep, dtype=dtype)).both(queries, base, 4),
        ExactSearch().both(queries, base, 4),
    )


@pytest.mark.parametrize("dtype", DTYPES)
@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 70),
    dimension=st.integers(1, 200),
    lean=st.sampled_from([0.0, 1.0, 50.0]),
    exponent=st.sampled_from([-100, -10, 0, 10, 60]),
)
def test_no_product_is_further_from_the_truth_than_its_bound(
    dtype: torch.dtype, seed: int, rows: int, dimension: int, lean: float, exponent: int
) -> None:
    """The kernel of this very processor, with the rounding of its output, against float64."""
    generator = np.random.default_rng(seed)
    queries = np.ldexp(_directions(generator, rows, dimension, lean), exponent)
    base = np.ldexp(_directions(generator, 64, dimension, -lean), exponent)
    ours, theirs = sides(queries, base, "cpu", dtype)
    products = torch.mm(ours.numbers(queries, 32), theirs.numbers(base, 32).T).double().numpy()
    left, right = (np.ldexp(side.matrix[:].astype(np.float64), -side.exponent) for side in (ours, theirs))
    truth = left @ right.T - float(ours.centre.double() @ theirs.centre.double())
    wrong = np.abs(products[:rows, :64] - truth)
    output = module._OUTPUT[dtype] * np.abs(products[:rows, :64])
    for mine, other, axis in ((ours, theirs, 1), (theirs, ours, 0)):
        bound = bounds(mine.errors(), other.errors(), dimension).double().numpy()
        assert (wrong <= np.expand_dims(bound, axis) + output).all()


def test_the_bound_is_of_the_order_of_what_rounding_takes() -> None:
    """Twice 2⁻⁹ of the length is what a row and its partner lose at most on average; a bound far above proves nothing."""
    generator = np.random.default_rng(3)
    ours, theirs = sides(
        _directions(generator, 200, 768, 0.0), _directions(generator, 200, 768, 0.0), "cpu", torch.bfloat16
    )
    bound = bounds(ours.errors(), theirs.errors(), 768)
    assert 2.0**-9 < float(bound.mean()) < 2.0**-7


def test_what_fills_up_groups_is_never_a_candidate() -> None:
    """All similarities are far below 0, and rows of zeros would be nearer."""
    queries = np.full((3, 4), 1000.0, dtype=np.float32) + np.eye(3, 4, dtype=np.float32)
    ahead, behind = sweep(queries, -queries[:2], 2, 2, dtype=torch.bfloat16)
    assert sorted(ahead.rows[0].tolist()) == [0, 1]
    assert ahead.rows.max() == 1
    assert behind.rows.max() == 2


def test_a_direction_that_is_not_wanted_is_left_out() -> None:
    vectors = np.eye(5, dtype=np.float32)
    ahead, behind = sweep(vectors, vectors, 2, 0)
    assert ahead.rows.shape[0] == 5
    assert behind.rows.shape == (5, 0)
    _, behind = sweep(vectors, vectors, 0, 1)
    assert behind.rows[:, 0].tolist() == [0, 1, 2, 3, 4]


def test_matrices_may_lie_in_shards_on_disk_and_are_read_by_blocks(tmp_path: Path) -> None:
    generator = np.random.default_rng(4)
    sources, targets = _directions(generator, 700, 24, 1.0), _directions(generator, 900, 24, 1.0)
    parts = []
    for number, part in enumerate(np.array_split(targets, 4)):
        np.save(tmp_path / f"{number}.npy", part)
        parts.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    with _small(256, 64, 64, 32, 28):
        found = ExactSearch(sweep=sweep).both(sources, search.Shards(parts), 4)
    assert_same(found, ExactSearch().both(sources, targets, 4))


def test_empty_sides_have_no_neighbours() -> None:
    none, some = np.empty((0, 3), dtype=np.float32), np.eye(3, dtype=np.float32)
    exact = ExactSearch(sweep=sweep)
    assert exact(none, some, 2).rows.shape == (0, 2)
    assert [found.rows.shape for found in exact.both(none, some, 2)] == [(0, 2), (3, 0)]


def test_low_precision_is_used_only_where_the_processor_multiplies_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for known, dtype in (
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": True}, torch.bfloat16),
        ({}, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=known: known, raising=False)
        assert module.sweep_dtype("cpu") is dtype
        assert bool(remark_on("bfloat16", "cpu")) is (dtype is torch.float32)
        assert not remark_on("float32", "cpu")
    assert lowered.FAR < module._FLOOR
