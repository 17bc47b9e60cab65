"""The format of translation pairs that are told apart: rows, texts that are the same, groups, settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import SpecError, UsageError
from harness.formats.base import Head
from harness.formats.bitexts import Bitexts, grouped, rows_of_pairs
from harness.formats.drawn import Text
from harness.formats.rows import Pieces, Template, sizes_to_starts


class Letters:
    """A tokenizer whose sub-words are characters, between ``<`` and ``>``; ``-`` has no sub-word."""

    template = Template(single=((ord("<"),), (ord(">"),)), pair=((), (), ()))
    unknown = ord("?")
    mask = None
    size = 256

    def pieces(self, texts: Sequence[str], *, words: bool = False) -> Pieces:
        codes = [text.replace("-", "").encode("latin-1") for text in texts]
        flat = np.array(list(b"".join(codes)), dtype=np.int32)
        nothing = np.zeros(len(flat), dtype=np.int32)
        return Pieces(ids=flat, begin=nothing, end=nothing, starts=sizes_to_starts(list(map(len, codes))))


def pair(line: str, other: str, language: str = "de") -> Text:
    return Text(id=f"{line}{other}", text=line, language=language, other=other)


def rows_as_text(rows: Any) -> list[str]:
    text = bytes(rows.ids.astype(np.uint8)).decode("latin-1")
    return [text[start:end] for start, end in zip(rows.starts[:-1], rows.starts[1:], strict=True)]


def test_each_side_has_a_row_and_the_language_of_its_own() -> None:
    examples = [pair("yes", "ja"), pair("yes", "oui", "fr"), pair("-", "nein"), pair("wholly", "?")]
    rows = Bitexts().encode(examples, Letters(), 6)
    assert rows_as_text(rows) == ["<yes>", "<ja>", "<yes>", "<oui>", "<whol>", "<?>"]
    assert rows.owner.tolist() == [0, 0, 1, 1, 3, 3]
    assert rows.languages == ("de", "en", "fr")
    assert rows.language.tolist() == [1, 0, 1, 2, 1, 0]
    assert rows.pair_language.tolist() == [0, 2, 0]
    assert rows.text[0] == rows.text[2]
    assert len(set(rows.text.tolist())) == 5
    assert Bitexts().targets(examples, rows) is rows.text
    # Pieces: 3 + 2 + 3 + 3 + 0 + 4 + 6 + 1.
    assert rows.health == {
        "examples": 4,
        "rows": 6,
        "pieces": 22,
        "unknown": 1,
        "words": 8,
        "truncated": 1,
        "lost": 1,
    }


def test_texts_of_the_same_tokens_are_one_text() -> None:
    """Where they differ by what the tokenizer leaves out, or behind the cut."""
    examples = [pair("a-b", "x"), pair("ab", "y"), pair("abcdef", "z"), pair("abcdxy", "z-")]
    rows = Bitexts().encode(examples, Letters(), 6)
    assert rows.text.tolist() == [0, 1, 0, 2, 3, 4, 3, 4]


def test_nothing_at_all() -> None:
    rows = Bitexts().encode([], Letters(), 6)
    assert (len(rows.lengths), len(rows.pair_language), rows.languages) == (0, 0, ("en",))


def test_what_cannot_be_a_pair_or_has_no_room() -> None:
    with pytest.raises(SpecError, match="example 'a' has no translation; every example is a pair"):
        Bitexts().encode([pair("a", "")], Letters(), 6)
    with pytest.raises(UsageError, match="leaves no room for text beside 2 special tokens"):
        Bitexts().encode([pair("a", "b")], Letters(), 2)


def test_what_the_format_says_of_itself() -> None:
    given_format = Bitexts()
    assert given_format.head == Head(kind="vector")
    assert (given_format.head.size, given_format.views) == (0, ())
    assert given_format.texts(pair("yes", "ja")) == ("yes", "ja")
    assert given_format.settings == {"group": 64, "temperature": 0.05, "margin": 0.0, "alpha": 0.3}
    changed = given_format.replaced({"group": "8", "temperature": "0.1", "margin": "0.3", "alpha": "1"})
    assert changed == Bitexts(group=8, temperature=0.1, margin=0.3, alpha=1.0)
    with pytest.raises(SpecError, match="leave tasks of the format 'bitexts' out"):
        given_format.reader([], given_format.encode([], Letters(), 6))


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("group", "1", "group=1: must be a whole number, at least 2"),
        ("group", "2.5", "group=2.5: must be a whole number, at least 2"),
        ("temperature", "0", "temperature=0: must be a number above 0"),
        ("temperature", "inf", "temperature=inf: must be a number above 0"),
        ("margin", "2", "margin=2: must be a number from 0 to below 2"),
        ("margin", "nan", "margin=nan: must be a number from 0 to below 2"),
        ("alpha", "-1", "alpha=-1: must be a number from 0 to 1"),
        ("share", "1", "no setting 'share' here; there are group, temperature, margin, alpha"),
    ],
)
def test_settings_that_cannot_be(name: str, value: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Bitexts().replaced({name: value})
    assert str(caught.value) == told


@given(
    language=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    group=st.integers(2, 20),
)
def test_every_pair_stands_in_one_group_of_its_like(language: list[int], group: int) -> None:
    """As many groups as are needed, of nearly one size; languages follow one another."""
    codes = np.array(language)
    pairs = 100 + np.arange(len(codes))
    chosen, sizes = grouped(pairs, codes, group)
    assert sorted(chosen.tolist()) == pairs.tolist()
    assert (sizes.sum(), sizes.max() <= group, sizes.max() - sizes.min() <= 1) == (len(codes), True, True)
    assert len(sizes) == -(-len(codes) // group)
    assert (np.diff(codes[chosen - 100]) >= 0).all()
    rows = rows_of_pairs(chosen, sizes)
    ends = np.cumsum(sizes)
    for end, size in zip(ends, sizes, strict=True):
        part, mine = rows[2 * (end - size) : 2 * end], chosen[end - size : end]
        assert part.tolist() == [*(2 * mine), *(2 * mine + 1)]
