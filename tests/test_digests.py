"""Digests: one spelling per value, borders that count, fixed widths."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import digests

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=10,
)


@settings(deadline=None, max_examples=100)
@given(_JSON)
def test_canonical_json_reads_back_as_the_same_value(value: Any) -> None:
    assert json.loads(digests.canonical_json(value)) == value


@settings(deadline=None, max_examples=60)
@given(value=st.dictionaries(_TEXT, _JSON, min_size=2, max_size=5), data=st.data())
def test_the_order_of_keys_does_not_change_the_spelling(value: dict[str, Any], data: st.DataObject) -> None:
    shuffled = {key: value[key] for key in data.draw(st.permutations(list(value)))}
    assert digests.canonical_json(shuffled) == digests.canonical_json(value)
    assert digests.of_value(shuffled) == digests.of_value(value)


def test_canonical_json_has_sorted_keys_no_spaces_and_plain_characters() -> None:
    value = {"b": [1, 1.5, None], "a": {"z": "ä 中", "y": False}, "c": (1, 2)}
    assert digests.canonical_json(value) == '{"a":{"y":false,"z":"ä 中"},"b":[1,1.5,null],"c":[1,2]}'


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_have_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        digests.canonical_json({"a": [number]})


def test_the_digest_of_a_value_is_the_start_of_its_sha256() -> None:
    whole = hashlib.sha256(b'{"a":1}').hexdigest()
    assert digests.of_value({"a": 1}) == whole[:16]
    assert digests.of_value({"a": 1}, 64) == whole


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(range(256)) * 3)
    expected = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digests.of_file(path) == expected
    monkeypatch.setattr(digests, "_CHUNK", 7)
    assert digests.of_file(path) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        (["ab"], ["a", "b"]),
        (["a"], ["a", ""]),
        ([""], []),
        (["a", "b"], ["b", "a"]),
        (["a\nb"], ["a", "b"]),
    ],
)
def test_borders_and_order_of_lines_count(one: list[str], other: list[str]) -> None:
    assert digests.of_lines(one) != digests.of_lines(other)


@settings(deadline=None, max_examples=100)
@given(one=st.lists(_TEXT, max_size=4), other=st.lists(_TEXT, max_size=4))
def test_lines_have_equal_digests_only_when_they_are_equal(one: list[str], other: list[str]) -> None:
    assert (digests.of_lines(one) == digests.of_lines(other)) == (one == other)


def test_lines_may_come_from_a_generator() -> None:
    lines = ["a", "ä", "\ud800"]
    assert digests.of_lines(line for line in lines) == digests.of_lines(lines)
    assert len(digests.of_lines(lines)) == 64


@pytest.mark.parametrize("texts", [[], ["a"], ["", "a", "a", "\ud800"]])
def test_texts_have_one_digest_of_16_bytes_each(texts: list[str]) -> None:
    found = digests.of_texts(texts)
    assert found.dtype == np.dtype("S16")
    assert found.shape == (len(texts),)
    assert len(set(found.tolist())) == len(set(texts))


def test_a_text_has_its_xxh3_digest() -> None:
    assert digests.of_texts(["Grüße"]).tobytes() == xxhash.xxh3_128_digest("Grüße".encode())


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_rows_have_one_digest_of_16_bytes_each(rows: int) -> None:
    matrix = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    found = digests.of_rows(matrix)
    assert found.dtype == np.dtype("S16")
    assert found.shape == (rows,)
    assert len(set(found.tolist())) == rows


def test_rows_have_equal_digests_where_they_are_equal() -> None:
    matrix = np.array([[1, 2], [3, 4], [1, 2]], dtype=np.float32)
    found = digests.of_rows(matrix)
    assert found[0] == found[2] != found[1]


def test_how_rows_lie_in_memory_does_not_change_their_digests() -> None:
    matrix = np.arange(12, dtype=np.float32).reshape(4, 3)
    expected = digests.of_rows(matrix).tolist()
    assert digests.of_rows(np.asfortranarray(matrix)).tolist() == expected
    assert digests.of_rows(np.repeat(matrix, 2, axis=1)[:, ::2]).tolist() == expected
