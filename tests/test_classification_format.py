"""The classification format: rows as Hugging Face makes them, targets, and labels read back."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from characters import BARE, ROBERTA, Characters
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.tokenizer import SubwordTokenizer
from harness.errors import DataError, SpecError, UsageError
from harness.formats.base import Head
from harness.formats.classification import Classification, TextPair, longest_first, text_pair
from harness.formats.rows import Rows

NLI = Classification(labels=("contradiction", "entailment", "neutral"))
WORDS = st.lists(
    st.sampled_from("the of unbelievably Zürich 中国 ok 😀 a, e\u0301clair".split()), max_size=12
)
TEXTS = WORDS.map(" ".join)


@pytest.fixture(scope="module")
def bert(minilm: Path) -> Any:
    """The fast WordPiece tokenizer of all-MiniLM-L6-v2."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(minilm)


def _example(text: str, pair: str | None = None, label: str = "neutral", identity: str = "x") -> TextPair:
    return TextPair(id=identity, text=text, text_pair=pair, label=label)


def _rows(rows: Rows) -> list[tuple[list[int], list[int]]]:
    return [
        (rows.ids[begin:end].tolist(), rows.segments[begin:end].tolist())
        for begin, end in itertools.pairwise(rows.starts.tolist())
    ]


def _ids(rows: Rows) -> list[list[int]]:
    return [ids for ids, _ in _rows(rows)]


def test_a_row_of_a_data_set_becomes_an_example() -> None:
    assert text_pair({"id": "1", "text": "a", "label": "b"}) == _example("a", label="b", identity="1")
    assert text_pair({"id": "1", "text": "a", "text_pair": "c", "label": "b"}).text_pair == "c"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, st.none() | TEXTS), min_size=1, max_size=6),
    st.integers(5, 40),
)
def test_rows_are_those_of_hugging_face(
    bert: Any, texts: list[tuple[str, str | None]], max_length: int
) -> None:
    """Lone texts and pairs, mixed, cut or not: ids and segments are those of ``truncation="longest_first"``."""
    examples = [_example(*pair) for pair in texts]
    tokenizer: Any = SubwordTokenizer(bert, segments=True)
    rows = NLI.encode(examples, tokenizer, max_length)
    # Given as lists of one: transformers takes a lone empty string for the absence of a second text.
    lists = [[[text] for text in pair if text is not None] for pair in texts]
    wanted = [bert(*pair, truncation="longest_first", max_length=max_length) for pair in lists]
    assert _rows(rows) == [(row["input_ids"][0], row["token_type_ids"][0]) for row in wanted]
    whole = [len(bert(*pair)["input_ids"][0]) for pair in lists]
    special = [2 if pair[1] is None else 3 for pair in texts]
    assert rows.owner.tolist() == list(range(len(texts)))
    assert rows.health["pieces"] == sum(whole) - sum(special)
    assert rows.health["truncated"] == sum(length > max_length for length in whole)
    assert rows.lengths.tolist() == [min(length, max_length) for length in whole]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 40))
def test_the_longer_text_is_cut_token_by_token(first: int, second: int, room: int) -> None:
    """Cut one token at a time from the longer one; where both are equal the tokenizers settle it by length at first."""
    found = longest_first(np.array([first]), np.array([second]), np.array([room]))
    one, other = first, second
    while one + other > room:
        one, other = (
            (one - 1, other) if one > other or (one == other and first <= second) else (one, other - 1)
        )
    assert [int(kept[0]) for kept in found] == [one, other]


def test_health_counts_what_the_model_reads() -> None:
    rows = NLI.encode([_example("ab ?", "c"), _example("?? dd"), _example("")], ROBERTA, 8)
    assert rows.health == {
        "examples": 3, "rows": 3, "pieces": 10, "unknown": 3, "words": 5, "truncated": 1, "lost": 0,
    }  # fmt: skip
    assert _ids(rows) == [[1, *b"ab ", 2, 2, *b"c", 2], [1, *b"?? dd", 2], [1, 2]]


def test_segments_are_all_zero_where_the_model_has_none() -> None:
    rows = NLI.encode([_example("ab", "c")], ROBERTA, 8)
    assert not rows.segments.any()


def test_a_tokenizer_without_special_tokens_gives_no_empty_row() -> None:
    rows = NLI.encode([_example(""), _example("abc", "d"), _example("", "")], BARE, 3)
    assert _ids(rows) == [[63], [*b"abd"], [63]]
    assert _ids(NLI.encode([_example("")], Characters(template=BARE.template, unknown=None), 3)) == [[0]]


def test_a_length_without_room_is_refused_with_the_least_that_has() -> None:
    with pytest.raises(
        UsageError,
        match="length of 4 tokens leaves no room for text beside 4 special tokens; give at least 5",
    ):
        NLI.encode([_example("a"), _example("a", "b")], ROBERTA, 4)
    assert _ids(NLI.encode([_example("a", "b")], ROBERTA, 5)) == [[1, 2, 2, *b"b", 2]]


def test_targets_are_the_numbers_of_the_labels() -> None:
    examples = [_example("a", label=label) for label in ("neutral", "contradiction")]
    assert NLI.targets(examples, NLI.encode(examples, ROBERTA, 9)).tolist() == [2, 0]


def test_an_unknown_label_is_named_with_its_example() -> None:
    examples = [_example("a"), _example("a", label="maybe", identity="de-7")]
    with pytest.raises(
        DataError, match="example de-7 has the label 'maybe'; there are contradiction, entailment, neutral"
    ):
        NLI.targets(examples, NLI.encode(examples, ROBERTA, 9))


def test_the_best_label_is_read_whatever_the_order_of_rows() -> None:
    """Of equal scores the first label wins."""
    examples = [_example("a", label=label, identity=label) for label in NLI.labels]
    reader = NLI.reader(examples, NLI.encode(examples, ROBERTA, 9))
    reader.take(np.array([2, 0]), np.array([[1, 3, 3], [0, -1, -2]], dtype=np.float32))
    reader.take(np.array([1]), np.array([[0, 0, 1]], dtype=np.float32))
    (found,) = reader.predictions()
    assert (found.view, found.ids) == ("", list(NLI.labels))
    assert found.gold == list(NLI.labels)
    assert found.values == ["contradiction", "neutral", "entailment"]


def test_nothing_is_encoded_and_read_from_no_examples() -> None:
    rows = NLI.encode([], ROBERTA, 9)
    assert (rows.lengths.tolist(), rows.health["examples"]) == ([], 0)
    assert NLI.reader([], rows).predictions()[0].values == []
    assert NLI.targets([], rows).shape == (0,)


def test_the_format_describes_itself() -> None:
    assert NLI.head == Head(kind="pooled", labels=("contradiction", "entailment", "neutral"))
    assert NLI.settings == {"labels": ["contradiction", "entailment", "neutral"]}
    assert NLI.views == ("",)
    assert NLI.texts(_example("a", "b")) == ("a", "b")
    assert NLI.texts(_example("a")) == ("a",)
    with pytest.raises(UsageError, match="the format 'classification' has no setting labels"):
        NLI.replaced({"labels": "a,b"})


@pytest.mark.parametrize("labels", [(), ("a", "a")])
def test_labels_that_cannot_be_told_apart_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match="labels are missing or named twice"):
        Classification(labels=labels)
