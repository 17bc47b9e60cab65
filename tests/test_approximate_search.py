"""The inverted file: chosen by size, its recall measured and said, its scores true; and mining over shards on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from harness import search
from harness.errors import UnwrittenError
from harness.formats.retrieval import Mining, Nearest, Retrieval, Search, Sentence, Side
from harness.search import ExactSearch, Found, Recall, Shards, SizedSearch, approximate, inverted_search


def _clustered(
    generator: np.random.Generator, rows: int, dimension: int = 32, centres: int = 40
) -> search.Vectors:
    """Rows around a few directions, as sentences lie around topics."""
    middle = np.random.default_rng(9).standard_normal((centres, dimension))
    vectors = middle[generator.integers(0, centres, rows)] + 0.4 * generator.standard_normal(
        (rows, dimension)
    )
    unit: search.Vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _sharded(folder: Path, rows: search.Vectors, shards: int) -> Shards:
    folder.mkdir()
    parts = []
    for number, part in enumerate(np.array_split(rows, shards)):
        np.save(folder / f"{number}.npy", part)
        parts.append(np.load(folder / f"{number}.npy", mmap_mode="r"))
    return Shards(parts)


def _hits(found: Found, truth: Found) -> float:
    """Recall by row numbers, query by query; there are no ties in the data it is used on."""
    return float(
        np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.rows, truth.rows, strict=True)])
    )


def test_the_size_of_the_base_chooses_the_way() -> None:
    generator = np.random.default_rng(0)
    queries, base = _clustered(generator, 100), _clustered(generator, 4_000)
    exact = SizedSearch(exact_rows=4_000)(queries, base, 4)
    assert exact.recall is None
    assert SizedSearch(exact_rows=3_999)(queries, base, 4).recall is not None
    ahead, behind = SizedSearch(exact_rows=3_999).both(queries, base, 4)
    assert ahead.recall is not None
    assert behind.recall is None
    assert search.both_ways(queries, base, 4, SizedSearch(exact_rows=3_999)).recall == ahead.recall
    assert search.both_ways(queries, base, 4, SizedSearch()).recall is None
    assert search.EXACT_ROWS == 5_000_000


def test_recall_is_what_a_full_comparison_gives_and_scores_are_true() -> None:
    generator = np.random.default_rng(1)
    queries, base = _clustered(generator, 900), _clustered(generator, 6_000)
    found = inverted_search(queries, base, 4, exact=ExactSearch())
    truth = ExactSearch()(queries, base, 4)
    assert found.recall is not None
    assert found.recall.k == 4
    assert found.recall.queries == 450
    assert 0.95 < found.recall.share <= 1
    assert abs(found.recall.share - _hits(found, truth)) < 0.02
    every = np.einsum("qd,bd->qb", queries.astype(np.float64), base.astype(np.float64))
    np.testing.assert_allclose(
        found.scores, np.take_along_axis(every, found.rows, axis=1), rtol=0, atol=1e-14
    )


def test_a_recall_that_is_bad_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looking into more lists, random rows are mostly missed; the report must show it."""
    monkeypatch.setattr(approximate, "_ENOUGH", 0.0)
    generator = np.random.default_rng(2)
    queries, base = (generator.standard_normal((rows, 48)).astype(np.float32) for rows in (600, 9_000))
    found = inverted_search(queries, base, 4, exact=ExactSearch())
    assert found.recall is not None
    assert found.recall.share < 0.7
    assert abs(found.recall.share - _hits(found, ExactSearch()(queries, base, 4))) < 0.05


def test_lists_are_added_until_the_recall_is_enough() -> None:
    """Random rows have no lists of their own, so nearly all lists have to be searched."""
    generator = np.random.default_rng(3)
    queries, base = (generator.standard_normal((rows, 48)).astype(np.float32) for rows in (600, 3_000))
    found = inverted_search(queries, base, 4, exact=ExactSearch())
    assert found.recall is not None
    assert found.recall.share > 0.97


def test_a_query_that_saw_too_few_rows_is_searched_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 neighbours are more than eight lists of some 20 rows always hold."""
    monkeypatch.setattr(approximate, "_ENOUGH", 0.0)
    generator = np.random.default_rng(4)
    queries, base = _clustered(generator, 300), _clustered(generator, 400)
    found = inverted_search(queries, base, 190, exact=ExactSearch())
    assert (found.rows >= 0).all()
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_the_scratch_file_lies_where_it_is_told_and_goes_away(tmp_path: Path) -> None:
    seen: list[str] = []

    class Watching(ExactSearch):
        def __call__(self, queries: search.Matrix, base: search.Matrix, k: int) -> Found:
            seen.extend(path.name for path in tmp_path.glob("inverted-*/*"))
            return ExactSearch()(queries, base, k)

    generator = np.random.default_rng(5)
    queries, base = _clustered(generator, 50), _clustered(generator, 500)
    inverted_search(queries, base, 4, exact=Watching(), scratch=tmp_path)
    assert set(seen) == {"rows"}
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("exact_rows", [10_000, 500])
def test_planted_pairs_are_mined_over_shards_on_disk(tmp_path: Path, exact_rows: int) -> None:
    """Exactly and with an inverted file: the planted pairs are each other's best by margin."""
    generator = np.random.default_rng(6)
    pairs = 300
    planted = _clustered(generator, pairs)
    order = generator.permutation(pairs)
    noise = 0.01 * generator.standard_normal(planted.shape)
    sources = np.concatenate([planted, _clustered(generator, 1_700)])
    targets = np.concatenate([_clustered(generator, 2_500), (planted + noise).astype(np.float32)[order]])
    both = search.both_ways(
        _sharded(tmp_path / "sources", sources, 3),
        _sharded(tmp_path / "targets", targets, 5),
        4,
        SizedSearch(exact_rows=exact_rows, scratch=tmp_path),
    )
    assert (both.recall is not None) == (exact_rows < 2_500)
    gold = {(int(source), 2_500 + place) for place, source in enumerate(order)}
    found = list(zip(*(rows.tolist() for rows in both.candidates("ratio", "intersect")[:2]), strict=True))
    hits = gold & set(found)
    assert len(hits) >= (pairs if both.recall is None else 0.97 * pairs)
    # The rest are distractors that happen to be each other's best; the planted come first.
    assert len(gold & set(found[:pairs])) > 0.95 * pairs


def test_records_say_that_neighbours_are_approximate_and_how_well_they_were_found() -> None:
    generator = np.random.default_rng(7)
    ways: tuple[Search, ...] = (
        Nearest(view="nearest", queries="xx"),
        Nearest(view="ratio", queries="xx", margin="ratio"),
        Mining(view="mined"),
    )
    sides: tuple[tuple[Side, Side], ...] = (("en", "xx"), ("xx", "en"))
    examples = [
        Sentence(id=f"{side}-{number}", side=side, text=f"{side} {number}", gold=(f"{other}-{number}",))
        for side, other in sides
        for number in range(600)
    ]
    vectors = np.tile(_clustered(generator, 600), (2, 1))
    for exact_rows, approximate_ in ((600, False), (599, True)):
        for said in Retrieval(searches=ways).decode(
            examples, vectors, None, SizedSearch(exact_rows=exact_rows)
        ):
            assert said.facts.get("approximate", False) is approximate_
            assert (
                any("neighbours are approximate: recall@" in caveat for caveat in said.caveats)
                is approximate_
            )
            assert ("recall_queries" in said.facts) is approximate_


def test_of_two_directions_the_worse_recall_counts() -> None:
    class Two(ExactSearch):
        def both(self, sources: search.Matrix, targets: search.Matrix, k: int) -> tuple[Found, Found]:
            ahead, behind = ExactSearch().both(sources, targets, k)
            return (
                Found(scores=ahead.scores, rows=ahead.rows, recall=Recall(share=0.9, k=1, queries=3)),
                Found(scores=behind.scores, rows=behind.rows, recall=Recall(share=0.8, k=1, queries=3)),
            )

    vectors = np.eye(3, dtype=np.float32)
    assert search.both_ways(vectors, vectors, 1, Two()).recall == Recall(share=0.8, k=1, queries=3)


def test_a_disk_without_room_for_the_inverted_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before anything is written: a write into a map of a full disk would end the process by a signal."""

    def full(_descriptor: int, _begin: int, size: int) -> None:
        assert size == 4 * 400 * 8
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    rows = np.random.default_rng(0).standard_normal((400, 8)).astype(np.float32)
    with pytest.raises(
        UnwrittenError, match=r"no room for 0\.0 GB of vectors \(No space left on device\); set TMPDIR"
    ):
        inverted_search(rows, rows, 4, exact=ExactSearch())
