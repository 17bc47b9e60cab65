"""The store of embeddings: what is added is found again, by this process or another, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import OutputError, digests
from harness.engine import store as module
from harness.engine.store import EmbeddingStore, Keys, Vectors

SPACE = {"weights": "w", "layer": 8}
DIMENSION = 3


def _open(home: Path, dimension: int = DIMENSION) -> EmbeddingStore:
    return EmbeddingStore(home, SPACE, dimension)


def _keys(*texts: str) -> Keys:
    return digests.of_texts(texts)


def _vectors(*numbers: float) -> Vectors:
    return np.array([[number, number + 0.25, -number] for number in numbers], dtype=np.float32).reshape(-1, 3)


def _add(store: EmbeddingStore, texts: Sequence[str], numbers: Sequence[float]) -> None:
    store.add(_keys(*texts), _vectors(*numbers), np.arange(len(texts), dtype=np.int32) + 10)


def _numbers(store: EmbeddingStore, *texts: str) -> list[float]:
    vectors, _ = store.get(_keys(*texts))
    return [float(row[0]) for row in vectors]


def _segments(store: EmbeddingStore) -> list[Path]:
    return sorted(store.folder.glob("segment-*"))


@pytest.mark.parametrize("flushed", [False, True])
def test_what_is_added_is_found_before_and_after_it_is_written(tmp_path: Path, flushed: bool) -> None:
    store = _open(tmp_path)
    assert store.has(_keys("a", "b")).tolist() == [False, False]
    _add(store, ["a", "b"], [1, 2])
    if flushed:
        store.flush()
    assert store.has(_keys("b", "c", "a")).tolist() == [True, False, True]
    vectors, tokens = store.get(_keys("b", "a"))
    np.testing.assert_array_equal(vectors, _vectors(2, 1))
    assert [str(array.dtype) for array in (vectors, tokens)] == ["float32", "int32"]
    assert tokens.tolist() == [11, 10]
    assert bool(_segments(store)) is flushed


def test_written_and_unwritten_vectors_come_together(tmp_path: Path) -> None:
    store = _open(tmp_path)
    _add(store, ["a", "b"], [1, 2])
    store.flush()
    _add(store, ["c"], [3])
    assert _numbers(store, "c", "a", "b", "c") == [3, 1, 2, 3]
    assert store.has(_keys("a", "c", "d")).tolist() == [True, True, False]


def test_a_store_opened_later_sees_what_another_wrote(tmp_path: Path) -> None:
    one, other = _open(tmp_path), _open(tmp_path)
    _add(one, ["a"], [1])
    _add(other, ["b"], [2])
    one.flush()
    other.flush()
    assert _numbers(_open(tmp_path), "a", "b") == [1, 2]
    # Writing opens the segments of others too.
    assert _numbers(other, "a", "b") == [1, 2]
    assert one.has(_keys("a", "b")).tolist() == [True, False]


def test_the_newest_vector_of_a_text_counts(tmp_path: Path) -> None:
    store = _open(tmp_path)
    for number in (1, 2, 3):
        _add(store, ["before", "a"], [0, number])
        assert _numbers(store, "a") == [number]
        store.flush()
        assert _numbers(store, "a") == _numbers(_open(tmp_path), "a") == [number]
    assert len(_segments(store)) == 3


def test_an_index_that_grew_is_that_of_a_store_opened_afresh(tmp_path: Path) -> None:
    """Also where a segment of another process, written in between, is seen late."""
    one, other = _open(tmp_path), _open(tmp_path)
    for number, store in enumerate([one, other, other, one, other, one]):
        texts = [f"{(number * 7 + step) % 10}" for step in range(4)]
        _add(store, texts, [float(number)] * 4)
        store.flush()
    every = [str(number) for number in range(10)]
    fresh = _open(tmp_path)
    assert fresh.has(_keys(*every)).all()
    assert _numbers(one, *every) == _numbers(fresh, *every)


def test_a_segment_seen_late_does_not_hide_a_newer_one(tmp_path: Path) -> None:
    store = _open(tmp_path)
    for number in (1, 2, 3):
        _add(store, ["a"], [number])
        store.flush()
    first, second, third = _segments(store)
    away = tmp_path / "away"
    second.rename(away)
    late = _open(tmp_path)
    away.rename(second)
    _add(late, ["b"], [0])
    late.flush()
    assert _numbers(late, "a") == [3]
    third.rename(away)
    earlier = _open(tmp_path)
    assert _numbers(earlier, "a") == [2]
    assert first.exists()


def test_of_one_text_added_twice_before_writing_the_later_counts(tmp_path: Path) -> None:
    store = _open(tmp_path)
    _add(store, ["a", "b", "a"], [1, 2, 3])
    _add(store, ["b"], [4])
    assert _numbers(store, "a", "b") == [3, 4]
    store.flush()
    assert _numbers(_open(tmp_path), "a", "b") == [3, 4]
    assert len(np.load(_segments(store)[0] / "keys.npy")) == 2


def test_get_follows_the_order_of_keys_with_their_duplicates(tmp_path: Path) -> None:
    store = _open(tmp_path)
    _add(store, list("abcd"), [1, 2, 3, 4])
    store.flush()
    assert _numbers(store, *"dabbad") == [4, 1, 2, 2, 1, 4]


def test_no_key_gives_no_vector(tmp_path: Path) -> None:
    store = _open(tmp_path)
    for _ in range(2):
        vectors, tokens = store.get(_keys())
        assert (vectors.shape, tokens.shape, store.has(_keys()).shape) == ((0, DIMENSION), (0,), (0,))
        _add(store, ["a"], [1])
        store.flush()


@pytest.mark.parametrize("flushed", [False, True])
def test_a_text_that_is_not_stored_is_a_key_error(tmp_path: Path, flushed: bool) -> None:
    store = _open(tmp_path)
    with pytest.raises(KeyError, match="1 texts are not stored"):
        store.get(_keys("a"))
    _add(store, ["a"], [1])
    if flushed:
        store.flush()
    with pytest.raises(KeyError, match="2 texts are not stored"):
        store.get(_keys("b", "a", "c"))


def test_writing_nothing_leaves_no_folder(tmp_path: Path) -> None:
    _open(tmp_path).flush()
    assert list(tmp_path.iterdir()) == []


def test_a_written_store_is_segments_and_a_description(tmp_path: Path) -> None:
    store = _open(tmp_path)
    _add(store, ["a"], [1])
    store.flush()
    store.flush()
    assert len(_segments(store)) == 1
    assert json.loads((store.folder / "space.json").read_text()) == SPACE
    assert {path.name for path in store.folder.iterdir()} == {"space.json", _segments(store)[0].name}


def test_what_is_written_may_be_read_by_others(tmp_path: Path) -> None:
    """A cache may be several people's."""
    store = _open(tmp_path)
    _add(store, ["a", "b"], [1, 2])
    store.flush()
    (segment,) = _segments(store)
    assert segment.stat().st_mode & 0o055 == 0o055


def test_other_spaces_lie_apart(tmp_path: Path) -> None:
    store, other = _open(tmp_path), EmbeddingStore(tmp_path, {**SPACE, "layer": 9}, DIMENSION)
    _add(store, ["a"], [1])
    store.flush()
    assert store.folder != other.folder
    assert not EmbeddingStore(tmp_path, {**SPACE, "layer": 9}, DIMENSION).has(_keys("a")).any()


def _damaged(tmp_path: Path) -> tuple[EmbeddingStore, Path]:
    """A store with two segments, and the newer one, which holds ``a`` again and ``b``."""
    store = _open(tmp_path)
    _add(store, ["a"], [1])
    store.flush()
    _add(store, ["a", "b"], [2, 3])
    store.flush()
    return store, _segments(store)[1]


def test_a_half_written_draft_is_ignored(tmp_path: Path) -> None:
    store, newest = _damaged(tmp_path)
    newest.rename(store.folder / ".draft-abc")
    assert _open(tmp_path).has(_keys("a", "b")).tolist() == [True, False]
    assert _numbers(_open(tmp_path), "a") == [1]


@pytest.mark.parametrize("name", ["keys.npy", "vectors.npy", "tokens.npy"])
@pytest.mark.parametrize("left", [None, 0, 20, 129])
def test_a_segment_that_is_not_whole_is_ignored(tmp_path: Path, name: str, left: int | None) -> None:
    _, newest = _damaged(tmp_path)
    if left is None:
        (newest / name).unlink()
    else:
        (newest / name).write_bytes((newest / name).read_bytes()[:left])
    assert _open(tmp_path).has(_keys("a", "b")).tolist() == [True, False]
    assert _numbers(_open(tmp_path), "a") == [1]


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("vectors.npy", np.zeros((2, DIMENSION + 1), dtype=np.float32)),
        ("vectors.npy", np.zeros((1, DIMENSION), dtype=np.float32)),
        ("keys.npy", np.array([b"x" * 16], dtype="S16")),
        ("tokens.npy", np.array([7], dtype=np.int32)),
    ],
    ids=["dimension", "vectors", "keys", "tokens"],
)
def test_a_segment_of_other_shapes_is_ignored(tmp_path: Path, name: str, array: np.ndarray) -> None:
    _, newest = _damaged(tmp_path)
    np.save(newest / name, array)
    assert _open(tmp_path).has(_keys("a", "b")).tolist() == [True, False]
    assert _numbers(_open(tmp_path), "a") == [1]


def test_a_store_whose_folder_was_cleared_is_empty_when_opened_again(tmp_path: Path) -> None:
    store, _ = _damaged(tmp_path)
    shutil.rmtree(store.folder)
    again = _open(tmp_path)
    assert not again.has(_keys("a", "b")).any()
    _add(again, ["a"], [5])
    again.flush()
    assert _numbers(_open(tmp_path), "a") == [5]


def test_vectors_are_written_when_enough_have_gathered(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, SPACE, DIMENSION, flush_bytes=2 * DIMENSION * 4)
    _add(store, ["a", "b"], [1, 2])
    assert not _segments(store)
    _add(store, ["c"], [3])
    assert len(_segments(store)) == 1
    assert _numbers(_open(tmp_path), "a", "b", "c") == [1, 2, 3]


def test_vectors_are_written_when_they_have_waited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FLUSH_SECONDS", -1.0)
    store = _open(tmp_path)
    _add(store, ["a"], [1])
    assert _open(tmp_path).has(_keys("a")).all()


def test_large_results_lie_on_disk_and_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [str(number) for number in range(50)]
    store = _open(tmp_path)
    _add(store, texts[:30], list(range(30)))
    store.flush()
    _add(store, texts[30:], list(range(30, 50)))
    expected = store.get(_keys(*texts[::-1]))
    monkeypatch.setattr(module, "_IN_MEMORY_BYTES", 49 * DIMENSION * 4)
    large, small = store.get(_keys(*texts[::-1])), store.get(_keys(*texts[1:]))
    assert isinstance(large[0], np.memmap)
    assert not isinstance(expected[0], np.memmap)
    assert not isinstance(small[0], np.memmap)
    np.testing.assert_array_equal(large[0], expected[0])
    np.testing.assert_array_equal(large[1], expected[1])
    assert {path.name for path in store.folder.iterdir()} == {"space.json", _segments(store)[0].name}


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _open(tmp_path)
    _add(store, ["a"], [1])

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="the disk is full"):
        store.flush()
    monkeypatch.undo()
    assert not _segments(store)
    assert not list(store.folder.glob(".draft-*"))
    assert _numbers(store, "a") == [1]
    store.flush()
    assert _numbers(_open(tmp_path), "a") == [1]


def test_a_folder_that_cannot_be_made_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = _open(tmp_path / "file")
    _add(store, ["a"], [1])
    with pytest.raises(OutputError, match=re.escape(f"{store.folder}: cannot be written")):
        store.flush()


_STEPS = st.lists(
    st.one_of(
        st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(-99, 99)), min_size=1, max_size=4),
        st.sampled_from(["flush", "open"]),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=40)
@given(_STEPS)
def test_a_store_behaves_as_a_dictionary_that_forgets_what_was_not_written(
    steps: list[list[tuple[str, int]] | str],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store, now, written = _open(Path(folder)), dict[str, int](), dict[str, int]()
        for step in steps:
            if step == "flush":
                store.flush()
                written = dict(now)
            elif step == "open":
                store, now = _open(Path(folder)), dict(written)
            elif not isinstance(step, str):
                _add(store, [text for text, _ in step], [number for _, number in step])
                now.update(step)
            assert store.has(_keys(*"abcdefgh")).tolist() == [text in now for text in "abcdefgh"]
            assert _numbers(store, *now) == list(now.values())
