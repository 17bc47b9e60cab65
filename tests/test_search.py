"""Exact search, margin scores and the threshold, against slow and simple implementations of the same."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import get_args

import numpy as np
import pytest
from harness_metrics.mining import f1
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness import search
from harness.search import BothWays, ExactSearch, Found, Margin, Retrieval, exact, faiss_knn

Case = tuple[search.Vectors, search.Vectors, int]
Pair = tuple[int, int]

MARGINS: tuple[Margin, ...] = get_args(Margin)
RETRIEVALS: tuple[Retrieval, ...] = get_args(Retrieval)


def _oracle(queries: search.Vectors, base: search.Vectors, k: int) -> tuple[search.Scores, search.Indices]:
    """Every inner product in float64, sorted by score and then row."""
    every = queries.astype(np.float64) @ base.astype(np.float64).T
    rows = [sorted(range(len(base)), key=lambda row: (-scores[row], row))[:k] for scores in every.tolist()]
    indices = np.array(rows, dtype=np.int64).reshape(len(queries), min(k, len(base)))
    return np.take_along_axis(every, indices, axis=1), indices


def _near(
    queries: search.Vectors, base: search.Vectors, k: int, raw: search.RawSearch = faiss_knn
) -> tuple[search.Scores, search.Indices]:
    """Neighbours without a sweep."""
    found = ExactSearch(raw=raw)(queries, base, k)
    assert found.recall is None
    return found.scores, found.rows


def assert_same(
    found: tuple[search.Scores, search.Indices], expected: tuple[search.Scores, search.Indices]
) -> None:
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_array_equal(found[0], expected[0])


@st.composite
def _coarse_cases(draw: st.DrawFn) -> Case:
    """Few distinct values in few dimensions: duplicates, zero vectors and ties everywhere, all sums exact."""
    dimension = draw(st.integers(1, 4))
    row = st.lists(st.sampled_from([-2.0, -1.0, -0.0, 0.0, 1.0, 2.0]), min_size=dimension, max_size=dimension)
    queries, base = draw(st.lists(row, min_size=1, max_size=6)), draw(st.lists(row, min_size=1, max_size=24))
    return np.array(queries, dtype=np.float32), np.array(base, dtype=np.float32), draw(st.integers(1, 30))


@st.composite
def _collapsed_cases(draw: st.DrawFn) -> Case:
    """Rows a few units in the last place apart: equal in float32 sums, told apart (or tied) exactly in float64."""
    dimension = draw(st.integers(2, 5))
    step = st.lists(st.integers(0, 3), min_size=dimension, max_size=dimension)
    steps = draw(st.lists(step, min_size=1, max_size=40))
    weight = st.lists(st.integers(1, 5), min_size=dimension, max_size=dimension)
    base = 1.0 + np.array(steps, dtype=np.float64) * 2.0**-23
    queries = np.array(draw(st.lists(weight, min_size=1, max_size=4)), dtype=np.float32)
    return queries, base.astype(np.float32), draw(st.integers(1, 6))


def _normalised(vectors: NDArray[np.float64]) -> search.Vectors:
    lengths: NDArray[np.float64] = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, dtype=np.float32)


def _unit(generator: np.random.Generator, rows: int, dimension: int) -> search.Vectors:
    vectors = generator.standard_normal((rows, dimension))
    return _normalised(vectors)


def _leaning(generator: np.random.Generator, rows: int, dimension: int) -> search.Vectors:
    """Vectors that all lean one way, as an encoder's do, so that no neighbourhood's mean cosine is near 0."""
    return _normalised(_unit(generator, rows, dimension) + np.eye(1, dimension))


def _narrow(spare: int, widest: int) -> pytest.MonkeyPatch:
    patch = pytest.MonkeyPatch()
    patch.setattr(exact, "_SPARE", spare)
    patch.setattr(exact, "_WIDEST", widest)
    patch.setattr(exact, "_DEAR", 1)
    return patch


@settings(deadline=None, max_examples=150)
@given(_coarse_cases())
def test_neighbours_are_those_of_a_float64_search_with_ties_by_row(case: Case) -> None:
    assert_same(_near(*case), _oracle(*case))


@settings(deadline=None, max_examples=100)
@given(_collapsed_cases())
def test_neighbours_of_nearly_equal_vectors_are_exact(case: Case) -> None:
    assert_same(_near(*case), _oracle(*case))


@pytest.mark.parametrize(("spare", "widest"), [(0, 1024), (1, 1024), (0, 1), (1, 3), (0, 12)])
@settings(deadline=None, max_examples=40)
@given(case=st.one_of(_coarse_cases(), _collapsed_cases()))
def test_neighbours_are_exact_when_candidates_are_widened_or_all_rows_are_scored(
    spare: int, widest: int, case: Case
) -> None:
    patch = _narrow(spare, widest)
    try:
        assert_same(_near(*case), _oracle(*case))
    finally:
        patch.undo()


def test_the_search_widens_until_rounding_cannot_hide_a_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "_SPARE", 1)
    monkeypatch.setattr(exact, "_DEAR", 1)
    steps = np.array(list(itertools.product(range(4), repeat=3)), dtype=np.float64)
    base = (1 + steps * 2.0**-23).astype(np.float32)
    queries = np.array([[1, 1, 1], [3, 2, 1]], dtype=np.float32)
    widths: list[int] = []

    def raw(asked: search.Matrix, pool: search.Matrix, k: int) -> tuple[NDArray[np.float32], search.Indices]:
        widths.append(k)
        return search.faiss_knn(asked, pool, k)

    assert_same(_near(queries, base, 2, raw), _oracle(queries, base, 2))
    # Then all 64 rows are candidates, and none is searched for.
    assert widths == [3, 24]


def test_rows_that_float32_cannot_tell_apart_are_all_scored_in_float64(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    generator = np.random.default_rng(5)
    centre = _unit(generator, 1, 16)
    base = (centre + 1e-7 * generator.standard_normal((300, 16))).astype(np.float32)
    asked: list[int] = []
    exhaustive = exact._exhaustive

    def spy(queries: search.Matrix, pool: search.Matrix, k: int) -> tuple[search.Scores, search.Indices]:
        asked.append(len(queries))
        return exhaustive(queries, pool, k)

    monkeypatch.setattr(exact, "_SPARE", 2)
    monkeypatch.setattr(exact, "_WIDEST", 20)
    monkeypatch.setattr(exact, "_exhaustive", spy)
    queries = np.concatenate([centre, base[:3]])
    scores, rows = _near(queries, base, 4)
    expected, _ = _oracle(queries, base, 4)
    assert asked == [4]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-15)
    every = queries.astype(np.float64) @ base.astype(np.float64).T
    np.testing.assert_allclose(np.take_along_axis(every, rows, axis=1), expected, rtol=0, atol=1e-15)


@settings(deadline=None, max_examples=60)
@given(case=st.one_of(_coarse_cases(), _collapsed_cases()), seed=st.integers(0, 2**32 - 1))
def test_a_raw_search_that_rounds_as_badly_as_float32_may_gives_the_same_answer(
    case: Case, seed: int
) -> None:
    queries, base, k = case
    generator = np.random.default_rng(seed)

    def raw(
        asked: search.Matrix, pool: search.Matrix, width: int
    ) -> tuple[NDArray[np.float32], search.Indices]:
        asked, pool = asked[:], pool[:]
        lengths = np.outer(np.linalg.norm(asked, axis=1), np.linalg.norm(pool, axis=1))
        # The last of `dimension` roundings is the one to float32 on return.
        bound = 0.99 * (pool.shape[1] - 1) * 2.0**-24 * lengths
        every = asked.astype(np.float64) @ pool.astype(np.float64).T
        noisy = (every + generator.uniform(-1, 1, every.shape) * bound).astype(np.float32)
        order = np.argsort(-noisy, axis=1)[:, :width]
        return np.take_along_axis(noisy, order, axis=1), order

    patch = _narrow(1, 30)
    try:
        assert_same(_near(queries, base, k, raw), _oracle(queries, base, k))
    finally:
        patch.undo()


@settings(deadline=None, max_examples=60)
@given(_coarse_cases())
def test_a_raw_search_that_gives_ties_in_reverse_order_does_not_change_the_answer(case: Case) -> None:
    queries, base, k = case

    def raw(
        asked: search.Matrix, pool: search.Matrix, width: int
    ) -> tuple[NDArray[np.float32], search.Indices]:
        asked, pool = asked[:], pool[:]
        scores = asked @ pool.T
        order = np.lexsort((-np.broadcast_to(np.arange(len(pool)), scores.shape), -scores), axis=1)[:, :width]
        return np.take_along_axis(scores, order, axis=1), order

    patch = _narrow(0, 1024)
    try:
        assert_same(_near(queries, base, k, raw), _oracle(queries, base, k))
    finally:
        patch.undo()


@settings(deadline=None, max_examples=60)
@given(case=_coarse_cases(), data=st.data())
def test_permuting_the_base_permutes_the_answers(case: Case, data: st.DataObject) -> None:
    queries, base, k = case
    order = np.array(data.draw(st.permutations(range(len(base)))), dtype=np.int64)
    scores, rows = _near(queries, base, k)
    shuffled_scores, shuffled_rows = _near(queries, base[order], k)
    np.testing.assert_array_equal(shuffled_scores, scores)
    for query in range(len(queries)):
        # Rows that tie with the last place may differ; the ones above it may not.
        above = scores[query] > scores[query, -1]
        assert set(order[shuffled_rows[query]][above].tolist()) == set(rows[query][above].tolist())
        tied = zip(
            shuffled_scores[query].tolist(),
            shuffled_rows[query].tolist(),
            shuffled_scores[query, 1:].tolist(),
            shuffled_rows[query, 1:].tolist(),
            strict=False,
        )
        assert all(score > after or row < next_row for score, row, after, next_row in tied)


@settings(deadline=None, max_examples=60)
@given(case=_coarse_cases(), block=st.integers(1, 5))
def test_the_size_of_blocks_does_not_change_the_answer(case: Case, block: int) -> None:
    patch = pytest.MonkeyPatch()
    for name in ("_QUERY_BLOCK", "_BASE_BLOCK", "_RESCORE_NUMBERS", "_EXHAUSTIVE_NUMBERS"):
        patch.setattr(exact, name, block)
    try:
        assert_same(_near(*case), _oracle(*case))
    finally:
        patch.undo()


def test_the_size_of_blocks_does_not_change_an_exhaustive_search(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = np.array(list(itertools.product(range(4), repeat=3)), dtype=np.float64)
    base, queries = (1 + steps * 2.0**-23).astype(np.float32), np.array([[3, 2, 1]], dtype=np.float32)
    monkeypatch.setattr(exact, "_BASE_BLOCK", 7)
    monkeypatch.setattr(exact, "_RESCORE_NUMBERS", 11)
    assert_same(exact._exhaustive(queries, base, 9), _oracle(queries, base, 9))


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-7])
def test_a_score_is_the_same_number_whichever_way_it_was_found(spread: float) -> None:
    """Sums of 300 products differ in their last bits with the order in which a library adds."""
    generator = np.random.default_rng(3)
    base = (_unit(generator, 1, 300) + spread * generator.standard_normal((500, 300))).astype(np.float32)
    queries = base[:40] + np.float32(spread) * generator.standard_normal((40, 300)).astype(np.float32)
    every = np.broadcast_to(np.arange(len(base)), (len(queries), len(base)))
    for found, expected in zip(
        exact._exhaustive(queries, base, 4), exact.rescored(queries, base, every, 4), strict=True
    ):
        assert found.tobytes() == expected.tobytes()


@settings(deadline=None, max_examples=60)
@given(case=st.one_of(_coarse_cases(), _collapsed_cases()), block=st.integers(1, 50))
def test_the_search_of_torch_gives_the_same_answer(case: Case, block: int) -> None:
    from harness.engine import knn

    patch = _narrow(1, 20)
    patch.setattr(knn, "_QUERY_BLOCK", 2)
    patch.setattr(knn, "_BASE_BLOCK", block)
    try:
        found = _near(*case, partial(knn.torch_knn, device="cpu"))
    finally:
        patch.undo()
    assert_same(found, _oracle(*case))


def test_vectors_as_an_encoder_gives_them_have_their_float64_neighbours() -> None:
    generator = np.random.default_rng(1)
    queries, base = _unit(generator, 50, 32), _unit(generator, 400, 32)
    scores, rows = _near(queries, base, 5)
    expected_scores, expected_rows = _oracle(queries, base, 5)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(scores, expected_scores, rtol=0, atol=1e-14)


def test_no_query_gives_no_answer() -> None:
    scores, rows = _near(np.empty((0, 3), dtype=np.float32), np.eye(3, dtype=np.float32), 2)
    assert scores.shape == rows.shape == (0, 2)


def test_vectors_too_short_for_float32_products_have_their_neighbours() -> None:
    """Products of 1e-25 vanish in float32, so that its scores are all 0 and tell nothing."""
    base = np.arange(1, 41, dtype=np.float32)[:, None] * np.float32(1e-25)
    _, rows = _near(base[:1], base, 3)
    assert rows.tolist() == [[39, 38, 37]]


def test_distinct_rows_come_in_the_order_of_their_first_occurrence() -> None:
    vectors = np.array([[2, 2], [1, 1], [2, 2], [0, 0], [1, 1]], dtype=np.float32)
    found = search.distinct(vectors)
    assert found.first.tolist() == [0, 1, 3]
    assert found.which.tolist() == [0, 1, 0, 2, 1]
    assert found.rows[:].tolist() == [[2, 2], [1, 1], [0, 0]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_row(bad: float) -> None:
    vectors = np.ones((70_000, 2), dtype=np.float32)
    vectors[66_000, 1] = bad
    with pytest.raises(ValueError, match="row 66000 of the vectors is NaN or infinite; only finite"):
        ExactSearch()(vectors[:1], vectors, 1)


def test_both_ways_searches_in_both_directions_with_the_given_search() -> None:
    generator = np.random.default_rng(2)
    sources, targets = _unit(generator, 9, 4), _unit(generator, 7, 4)
    calls: list[tuple[int, int, int]] = []

    class Counted:
        def __call__(self, queries: search.Matrix, base: search.Matrix, k: int) -> Found:
            raise AssertionError("one direction only")

        def both(self, sources: search.Matrix, targets: search.Matrix, k: int) -> tuple[Found, Found]:
            calls.append((len(sources), len(targets), k))
            return ExactSearch().both(sources, targets, k)

    both = search.both_ways(sources, targets, 3, Counted())
    assert calls == [(9, 7, 3)]
    assert_same((both.forward, both.forward_rows), _near(sources, targets, 3))
    assert_same((both.backward, both.backward_rows), _near(targets, sources, 3))


def _loop_margin(
    sources: search.Vectors, targets: search.Vectors, k: int, margin: Margin
) -> tuple[dict[Pair, float], dict[Pair, float]]:
    """Artetxe & Schwenk's margin, by loops: scores of each source with its neighbours, and of each target with its."""
    x, y = sources.astype(np.float64).tolist(), targets.astype(np.float64).tolist()

    def cosine(source: int, target: int) -> float:
        return math.fsum(a * b for a, b in zip(x[source], y[target], strict=True))

    ahead = [sorted((-cosine(i, j), j) for j in range(len(y)))[:k] for i in range(len(x))]
    behind = [sorted((-cosine(i, j), i) for i in range(len(x)))[:k] for j in range(len(y))]

    def score(i: int, j: int) -> float:
        near = math.fsum(-negative / (2 * k) for negative, _ in ahead[i] + behind[j])
        cos = cosine(i, j)
        return {"ratio": cos / near, "distance": cos - near, "absolute": cos}[margin]

    return (
        {(i, j): score(i, j) for i in range(len(x)) for _, j in ahead[i]},
        {(i, j): score(i, j) for j in range(len(y)) for _, i in behind[j]},
    )


def _best_by(scores: dict[Pair, float], side: int) -> dict[Pair, float]:
    best: dict[int, Pair] = {}
    for pair, score in scores.items():
        if pair[side] not in best or score > scores[best[pair[side]]]:
            best[pair[side]] = pair
    return {pair: scores[pair] for pair in best.values()}


def _greedy(pairs: dict[Pair, float]) -> dict[Pair, float]:
    kept: dict[Pair, float] = {}
    used_sources: set[int] = set()
    used_targets: set[int] = set()
    for pair, score in sorted(pairs.items(), key=lambda item: (-item[1], item[0])):
        if pair[0] not in used_sources and pair[1] not in used_targets:
            kept[pair] = score
            used_sources.add(pair[0])
            used_targets.add(pair[1])
    return kept


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("retrieval", RETRIEVALS)
@pytest.mark.parametrize("margin", MARGINS)
def test_candidates_are_those_of_a_plain_loop(margin: Margin, retrieval: Retrieval, seed: int) -> None:
    generator = np.random.default_rng(seed)
    sources, targets = _leaning(generator, 23, 6), _leaning(generator, 31, 6)
    from_sources, from_targets = _loop_margin(sources, targets, 4, margin)
    fwd, bwd = _best_by(from_sources, 0), _best_by(from_targets, 1)
    expected = {
        "fwd": fwd,
        "bwd": bwd,
        "intersect": {pair: score for pair, score in fwd.items() if pair in bwd},
        "max": _greedy({**fwd, **bwd}),
    }[retrieval]
    found = search.both_ways(sources, targets, 4).candidates(margin, retrieval)
    pairs = list(zip(found[0].tolist(), found[1].tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)
    assert set(pairs) == set(expected)
    np.testing.assert_allclose(found[2], [expected[pair] for pair in pairs], rtol=1e-12)
    assert (np.diff(found[2]) <= 0).all()


@settings(deadline=None, max_examples=100)
@given(case=_coarse_cases(), margin=st.sampled_from(MARGINS))
def test_max_takes_one_pair_at_a_time_also_among_ties(case: Case, margin: Margin) -> None:
    sources, targets, k = case
    both = search.both_ways(sources, targets, k)
    pairs: dict[Pair, float] = {}
    directions: tuple[Retrieval, ...] = ("fwd", "bwd")
    for retrieval in directions:
        for source, target, score in zip(*both.candidates(margin, retrieval), strict=True):
            pairs[int(source), int(target)] = float(score)
    found = both.candidates(margin, "max")
    expected = _greedy(pairs)
    assert list(zip(found[0].tolist(), found[1].tolist(), strict=True)) == list(expected)
    assert found[2].tolist() == list(expected.values())


def test_the_best_neighbour_by_margin_is_the_smaller_row_of_a_tie() -> None:
    both = BothWays(
        forward=np.array([[0.5, 0.5]]),
        forward_rows=np.array([[1, 0]]),
        backward=np.array([[0.5], [0.5]]),
        backward_rows=np.array([[0], [0]]),
    )
    assert both.best_forward("ratio")[0].tolist() == [0]
    assert both.best_backward("ratio")[0].tolist() == [0, 0]


def test_a_ratio_to_nothing_is_0() -> None:
    both = search.both_ways(np.zeros((2, 3), dtype=np.float32), np.eye(3, dtype=np.float32), 2)
    assert both.best_forward("ratio")[1].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("retrieval", RETRIEVALS)
@pytest.mark.parametrize("margin", MARGINS)
def test_a_planted_parallel_set_is_found_whole_and_pure(margin: Margin, retrieval: Retrieval) -> None:
    generator = np.random.default_rng(3)
    dimension, pairs = 64, 40
    planted = _leaning(generator, pairs, dimension)
    order = generator.permutation(pairs)
    noise = 0.02 * generator.standard_normal((pairs, dimension))
    sources = np.concatenate([planted, _leaning(generator, 25, dimension)])
    targets = np.concatenate(
        [_leaning(generator, 30, dimension), (planted + noise).astype(np.float32)[order]]
    )
    gold = {(int(source), 30 + place) for place, source in enumerate(order)}
    found_sources, found_targets, scores = search.both_ways(sources, targets, 4).candidates(margin, retrieval)
    found = list(zip(found_sources.tolist(), found_targets.tolist(), strict=True))
    right = np.array([pair in gold for pair in found])
    threshold = search.best_threshold(scores, right, len(gold))
    accepted = {pair for pair, score in zip(found, scores.tolist(), strict=True) if score >= threshold}
    counts = {
        "hits": float(len(accepted & gold)),
        "predicted": float(len(accepted)),
        "gold": float(len(gold)),
    }
    assert accepted == gold
    assert 100 * f1(counts) == 100.0


def _accepted(scores: list[float], threshold: float) -> list[bool]:
    return [score >= threshold for score in scores]


def _f1(accepted: list[bool], right: list[bool], gold: int) -> Fraction:
    hits = sum(taken and good for taken, good in zip(accepted, right, strict=True))
    return Fraction(2 * hits, sum(accepted) + gold) if sum(accepted) + gold else Fraction(0)


@st.composite
def _ranked(draw: st.DrawFn, scores: st.SearchStrategy[float]) -> tuple[list[float], list[bool], int]:
    items = draw(st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=12))
    right = [good for _, good in items]
    return [score for score, _ in items], right, sum(right) + draw(st.integers(0, 4))


_TIED = st.integers(-4, 4).map(lambda eighths: eighths / 8)
_ANY = st.floats(-4, 4, allow_nan=False, width=64)


@settings(deadline=None, max_examples=300)
@given(st.one_of(_ranked(_TIED), _ranked(_ANY)))
@example(([0.5, 0.5], [True, False], 1))
@example(([1.0, float(np.nextafter(1.0, 2.0))], [False, True], 1))
def test_the_threshold_is_the_best_of_all_and_the_highest_of_equals(
    case: tuple[list[float], list[bool], int],
) -> None:
    scores, right, gold = case
    threshold = search.best_threshold(np.array(scores), np.array(right, dtype=np.bool_), gold)
    # Every set that some threshold accepts, from the smallest to the largest.
    sets = [_accepted(scores, edge) for edge in (math.inf, *sorted(set(scores), reverse=True))]
    values = [_f1(taken, right, gold) for taken in sets]
    assert _accepted(scores, threshold) == sets[values.index(max(values))]


@settings(deadline=None, max_examples=150)
@given(_ranked(_TIED))
def test_the_threshold_lies_half_way_to_the_next_candidate(case: tuple[list[float], list[bool], int]) -> None:
    scores, right, gold = case
    threshold = search.best_threshold(np.array(scores), np.array(right, dtype=np.bool_), gold)
    accepted = [score for score in scores if score >= threshold]
    left = [score for score in scores if score < threshold]
    if not accepted:
        assert threshold == np.nextafter(max(scores), np.inf)
    else:
        assert threshold == ((min(accepted) + max(left)) / 2 if left else min(accepted))


def test_candidates_of_one_score_are_accepted_together() -> None:
    scores, right = np.array([0.9, 0.5, 0.5, 0.5, 0.1]), np.array([True, True, False, True, False])
    threshold = search.best_threshold(scores, right, 3)
    assert (scores >= threshold).tolist() == [True, True, True, True, False]
    assert threshold == pytest.approx(0.3)


def test_the_last_candidate_can_be_the_best_place_to_stop() -> None:
    assert search.best_threshold(np.array([0.9, 0.4]), np.array([True, True]), 2) == 0.4


def test_neighbouring_floats_are_still_told_apart() -> None:
    low = 1.0
    high = float(np.nextafter(low, 2.0))
    threshold = search.best_threshold(np.array([low, high]), np.array([False, True]), 1)
    assert low < threshold <= high


def test_without_candidates_the_threshold_is_0() -> None:
    assert search.best_threshold(np.empty(0), np.empty(0, dtype=np.bool_), 3) == 0.0


@pytest.mark.parametrize("gold", [0, 2])
def test_where_no_candidate_is_right_none_is_accepted(gold: int) -> None:
    scores = np.array([0.2, 0.7, 0.7])
    threshold = search.best_threshold(scores, np.zeros(3, dtype=np.bool_), gold)
    assert not (scores >= threshold).any()
    assert threshold == np.nextafter(0.7, 1.0)


@pytest.mark.parametrize(
    ("margin", "expected"), [("absolute", 0.75), ("ratio", 1.5), ("distance", 0.25)], ids=MARGINS
)
def test_margins_set_a_cosine_against_its_background(margin: Margin, expected: float) -> None:
    score: Callable[[search.Scores, search.Scores, Margin], search.Scores] = search.margin_scores
    assert score(np.array([0.75]), np.array([0.5]), margin).tolist() == [expected]
