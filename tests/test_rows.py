"""Rows put together from parts, windows of sentences and passages, and the best pairs in them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.formats.pairs import Allowed, all_pairs, highest, ranked_pairs
from harness.formats.passages import covering, solid_counts
from harness.formats.rows import Part, Pieces, Template, assembled, fixed, ranges, sizes_to_starts
from harness.formats.windows import filled, most_context, stepped

COUNTS = st.lists(st.integers(0, 6), max_size=12)


def _pieces(*texts: list[tuple[int, int]]) -> Pieces:
    flat = np.array([offsets for text in texts for offsets in text], dtype=np.int32).reshape(-1, 2)
    return Pieces(
        ids=np.arange(len(flat), dtype=np.int32),
        begin=flat[:, 0],
        end=flat[:, 1],
        starts=sizes_to_starts([len(text) for text in texts]),
    )


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), max_size=8))
def test_ranges_are_those_of_python(given_ranges: list[tuple[int, int]]) -> None:
    begin, count = (np.array([pair[side] for pair in given_ranges], dtype=np.int64) for side in (0, 1))
    wanted = [place for first, size in given_ranges for place in range(first, first + size)]
    assert ranges(begin, count).tolist() == wanted


def test_an_id_is_counted_text_by_text_even_where_a_text_has_no_piece() -> None:
    pieces = Pieces(
        ids=np.array([7, 1, 7, 7, 2], dtype=np.int32),
        begin=np.zeros(5, dtype=np.int32),
        end=np.zeros(5, dtype=np.int32),
        starts=np.array([0, 3, 3, 5]),
    )
    assert pieces.counts.tolist() == [3, 0, 2]
    assert pieces.occurrences(7).tolist() == [2, 0, 1]
    assert pieces.occurrences(None).tolist() == [0, 0, 0]


def test_a_template_counts_its_special_tokens() -> None:
    template = Template(single=((1,), (2, 3)), pair=((1,), (2, 2), (3,)))
    assert (template.single_size, template.pair_size) == (3, 4)


@given(
    st.integers(1, 6).flatmap(
        lambda rows: st.lists(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    )
)
def test_rows_are_their_parts_in_order(table: list[list[int]]) -> None:
    rows = len(table[0]) if table else 2
    parts = [
        Part(
            ids=np.arange(100 * number, 100 * number + 10, dtype=np.int32),
            begin=np.arange(rows, dtype=np.int64),
            count=np.array(counts, dtype=np.int64),
            segment=number % 2,
        )
        for number, counts in enumerate(table)
    ] + [fixed((5, 6), np.ones(rows, dtype=np.bool_), 1)]
    ids, segments, starts = assembled(parts, None)
    for row, (begin, end) in enumerate(itertools.pairwise(starts.tolist())):
        wanted = [
            (100 * number + row + place, number % 2)
            for number, counts in enumerate(table)
            for place in range(counts[row])
        ] + [(5, 1), (6, 1)]
        assert list(zip(ids[begin:end].tolist(), segments[begin:end].tolist(), strict=True)) == wanted


@pytest.mark.parametrize(("unknown", "filler"), [(9, 9), (None, 0)])
def test_a_row_is_never_empty(unknown: int | None, filler: int) -> None:
    part = fixed((4,), np.array([True, False]))
    ids, segments, starts = assembled([part], unknown)
    assert (ids.tolist(), segments.tolist(), starts.tolist()) == ([4, filler], [0, 0], [0, 1, 2])


def test_no_rows_are_put_together_from_nothing() -> None:
    ids, segments, starts = assembled([fixed((4,), np.zeros(0, dtype=np.bool_))], None)
    assert (len(ids), len(segments), starts.tolist()) == (0, 0, [0])


def _filled(sentence: list[int], room: int) -> list[int]:
    """Words with which the windows of one sentence begin, word by word as XTREME's preprocessing does it."""
    begins, held = [0], 0
    for word, count in enumerate(sentence):
        if held + count > room:
            begins.append(word)
            held = 0
        held += count
    return begins


@given(st.lists(COUNTS, max_size=6), st.integers(6, 12))
def test_windows_of_words_are_filled_as_xtreme_fills_them(sentences: list[list[int]], room: int) -> None:
    starts = sizes_to_starts([len(sentence) for sentence in sentences])
    counts = np.array([count for sentence in sentences for count in sentence], dtype=np.int64)
    owner, begin = filled(counts, starts, room)
    wanted = [
        (number, int(starts[number]) + word)
        for number, sentence in enumerate(sentences)
        for word in _filled(sentence, room)
    ]
    assert list(zip(owner.tolist(), begin.tolist(), strict=True)) == wanted


PASSAGES = st.tuples(st.integers(0, 60), st.integers(1, 30), st.integers(1, 30))


def _windows(total: int, room: int, step: int) -> list[tuple[int, int]]:
    """First token and length of each window, as BERT's SQuAD script makes them."""
    windows: list[tuple[int, int]] = []
    first = 0
    while True:
        windows.append((first, min(room, total - first)))
        if first + room >= total:
            return windows
        first += step


@given(st.lists(PASSAGES, max_size=5))
def test_passages_are_divided_in_steps_until_their_end(passages: list[tuple[int, int, int]]) -> None:
    total, room, step = (
        np.array([passage[side] for passage in passages], dtype=np.int64) for side in range(3)
    )
    owner, first, count = stepped(total, room, np.minimum(step, room))
    wanted = [
        (number, *window)
        for number, (size, space, stride) in enumerate(passages)
        for window in _windows(size, space, min(stride, space))
    ]
    assert list(zip(owner.tolist(), first.tolist(), count.tolist(), strict=True)) == wanted


@settings(max_examples=300)
@given(PASSAGES)
def test_the_window_of_most_context_is_that_of_the_squad_script(passage: tuple[int, int, int]) -> None:
    total, room, step = passage[0], passage[1], min(passage[1:])
    windows = _windows(total, room, step)
    wanted = []
    for place in range(total):
        scores = [
            min(place - first, first + count - 1 - place) + 0.01 * count
            if first <= place < first + count
            else -1.0
            for first, count in windows
        ]
        wanted.append(scores.index(max(scores)))
    found = most_context(np.arange(total), np.array([total]), np.array([room]), np.array([step]))
    assert found.tolist() == wanted


SCORES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=9)


@given(st.lists(SCORES.map(lambda row: (row * 9)[:9]), min_size=1, max_size=4), st.integers(1, 12))
def test_the_highest_scores_are_those_of_a_stable_sort(rows: list[list[float]], count: int) -> None:
    wanted = [sorted(sorted(range(9), key=lambda place, row=row: -row[place])[:count]) for row in rows]  # type: ignore[misc]
    assert highest(np.array(rows, dtype=np.float32), count).tolist() == wanted


def test_the_highest_scores_know_infinity_and_signed_zeros() -> None:
    rows = np.array([[-np.inf, 0.0, -0.0, np.inf, -1.0]], dtype=np.float32)
    assert [highest(rows, count).tolist()[0] for count in (1, 2, 3, 4)] == [
        [3],
        [1, 3],
        [1, 2, 3],
        [1, 2, 3, 4],
    ]
    assert highest(np.array([[-0.0, 0.0]], dtype=np.float32), 1).tolist() == [[0]]


def _best(
    start: list[float], end: list[float], allowed: Allowed, row: int, starts: set[int], ends: set[int]
) -> tuple[float, int, int] | None:
    pairs = [
        (-(start[first] + end[last]), first, last)
        for first in sorted(starts)
        for last in sorted(ends)
        if first <= last < first + allowed.longest
        and allowed.start[row, first]
        and allowed.end[row, last]
        and allowed.behind[row, last] > allowed.before[row, first]
    ]
    return min(pairs, default=None)


@settings(max_examples=300)
@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 14), st.integers(0, 2**32 - 1), st.booleans())
def test_the_best_pairs_are_those_of_two_nested_loops(
    length: int, longest: int, best: int, seed: int, tied: bool
) -> None:
    chance = np.random.default_rng(seed)
    size = (3, length)
    start, end = (
        (chance.integers(-2, 3, size) if tied else chance.normal(size=size)).astype(np.float32)
        for _ in range(2)
    )
    before = np.cumsum(chance.integers(0, 2, size), axis=1, dtype=np.int32)
    allowed = Allowed(
        start=chance.random(size) < 0.7,
        end=chance.random(size) < 0.7,
        before=before,
        behind=before + chance.integers(0, 2, size, dtype=np.int32),
        longest=longest,
    )
    starts, ends = highest(start, best), highest(end, best)
    rows = np.arange(3)[:, None]
    few = Allowed(
        start=allowed.start[rows, starts],
        end=allowed.end[rows, ends],
        before=allowed.before[rows, starts],
        behind=allowed.behind[rows, ends],
        longest=longest,
    )
    ranked, exact = ranked_pairs(start, end, starts, ends, few), all_pairs(start, end, allowed)
    for row in range(3):
        lines = start[row].tolist(), end[row].tolist()
        everywhere = set(range(length))
        top = [set(sorted(everywhere, key=lambda place, line=line: -line[place])[:best]) for line in lines]  # type: ignore[misc]
        for found, wanted in (
            (ranked, _best(*lines, allowed, row, *top)),
            (exact, _best(*lines, allowed, row, everywhere, everywhere)),
        ):
            if wanted is None:
                assert found.score[row] == -np.inf
            else:
                assert (-found.score[row], found.start[row], found.end[row]) == wanted


def test_the_pieces_of_a_stretch_are_those_that_share_a_character_with_it() -> None:
    """A space before a word, a piece without width, three bytes of one character, and a character without a piece."""
    contexts = ["ab 語é x", "zz"]
    pieces = _pieces([(0, 2), (3, 3), (3, 4), (3, 4), (3, 4), (6, 7)], [(0, 1), (1, 2)])
    solid = solid_counts(contexts, pieces)
    assert solid.tolist() == [[0, 2], [2, 2], [2, 3], [2, 3], [2, 3], [4, 5], [5, 6], [6, 7]]
    stretches = [
        (0, 0, 1),
        (0, 0, 4),
        (0, 3, 4),
        (0, 2, 4),
        (0, 4, 5),
        (0, 4, 7),
        (0, 1, 1),
        (1, 0, 2),
        (1, 1, 2),
    ]
    context, begin, end = (np.array([stretch[side] for stretch in stretches]) for side in range(3))
    wanted = [[0, 0], [0, 4], [2, 4], [2, 4], [-1, -1], [5, 5], [-1, -1], [0, 1], [1, 1]]
    assert covering(contexts, pieces, solid, context, begin, end).tolist() == wanted


def test_nothing_covers_anything_where_no_context_has_a_piece() -> None:
    pieces = _pieces([], [])
    solid = solid_counts(["", "\u200b"], pieces)
    assert solid.shape == (0, 2)
    one = np.array([1])
    assert covering(["", "\u200b"], pieces, solid, one, one * 0, one).tolist() == [[-1, -1]]


@given(st.text(max_size=20))
def test_white_space_is_what_python_strips(text: str) -> None:
    solid = solid_counts([text], _pieces([(0, len(text))]))
    assert (solid[0, 1] > 0) == bool(text.strip())
