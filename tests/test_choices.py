"""The choices format: rows as Hugging Face makes them, what is cut, targets, and the best choice read back."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from characters import BARE, BERT, ROBERTA
from harness_metrics.accuracy import ACCURACY
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.tokenizer import SubwordTokenizer
from harness.errors import DataError, SpecError, UsageError
from harness.formats.base import Head
from harness.formats.choices import Choice, Choices, choice
from harness.formats.rows import Rows

WITH_CONTEXT = Choices()
WITH_CHOICE = Choices(question_with="choice")
WORDS = st.lists(st.sampled_from("the of unbelievably Zürich 中国 ok 😀 a, e\u0301clair".split()), max_size=8)
TEXTS = WORDS.map(" ".join)
EXAMPLES = st.lists(st.tuples(TEXTS, TEXTS, st.lists(TEXTS, min_size=2, max_size=5)), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def bert(minilm: Path) -> Any:
    """The fast WordPiece tokenizer of all-MiniLM-L6-v2, set to cut texts at their front."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(minilm, truncation_side="left")


@pytest.fixture(scope="module")
def roberta(sample_model: Path) -> Any:
    """The tokenizer of the built-in model, which puts four special tokens around a pair and has no segments."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(sample_model, truncation_side="left")


def _example(context: str, question: str, *choices: str, gold: int | None = 0, identity: str = "x") -> Choice:
    return Choice(id=identity, context=context, question=question, choices=choices, gold=gold)


def _rows(rows: Rows) -> list[tuple[list[int], list[int]]]:
    return [
        (rows.ids[begin:end].tolist(), rows.segments[begin:end].tolist())
        for begin, end in itertools.pairwise(rows.starts.tolist())
    ]


def _shown(rows: Rows) -> list[str]:
    """Rows of :data:`BERT` as text: ``[`` begins them, ``|`` stands behind each text."""
    marks = {1: "[", 2: "|"}
    return ["".join(marks.get(code, chr(code)) for code in ids) for ids, _ in _rows(rows)]


def test_a_row_of_a_data_set_becomes_an_example() -> None:
    whole = {"id": "1", "context": "c", "question": "q", "choices": ["a", "b"], "gold": 1}
    assert choice(whole) == _example("c", "q", "a", "b", gold=1, identity="1")
    bare = {"id": "1", "choices": ["a", "b", "d"], "gold": None}
    assert choice(bare) == _example("", "", "a", "b", "d", gold=None, identity="1")
    assert _example("c", "q", "a", "b").canonical() == '["x","c","q",["a","b"],0]'


@pytest.mark.parametrize(
    ("choices", "gold", "words"),
    [
        ((), None, "example x has 0 choices; at least 2 are needed"),
        (("a",), 0, "example x has 1 choices; at least 2 are needed"),
        (("a", "b"), 2, "example x: 2 is not the number of a choice; allowed are 0 to 1"),
        (("a", "b"), -1, "example x: -1 is not the number of a choice; allowed are 0 to 1"),
    ],
)
def test_an_example_without_a_choice_or_with_a_wrong_gold_is_refused(
    choices: tuple[str, ...], gold: int | None, words: str
) -> None:
    with pytest.raises(DataError, match=words):
        _example("", "", *choices, gold=gold)


def test_the_question_stands_where_it_is_told_to() -> None:
    """Without a context it is the first text in both cases."""
    full, headless = _example("con", "que", "a", "bb"), _example("", "que", "a", "bb")
    assert _shown(WITH_CONTEXT.encode([full], BERT, 99)) == ["[con que|a|", "[con que|bb|"]
    assert _shown(WITH_CHOICE.encode([full], BERT, 99)) == ["[con|que a|", "[con|que bb|"]
    for form in (WITH_CONTEXT, WITH_CHOICE):
        assert _shown(form.encode([headless], BERT, 99)) == ["[que|a|", "[que|bb|"]
        assert _shown(form.encode([_example("con", "", "a", "bb")], BERT, 99)) == ["[con|a|", "[con|bb|"]
        assert _shown(form.encode([_example("", "", "a", "bb")], BERT, 99)) == ["[a|", "[bb|"]


def test_segments_tell_the_choice_from_its_context() -> None:
    rows = WITH_CONTEXT.encode([_example("c", "", "a", "bb"), _example("", "", "a", "b")], BERT, 99)
    assert [segments for _, segments in _rows(rows)] == [
        [0, 0, 0, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0],
        [0, 0, 0],
    ]
    assert not WITH_CONTEXT.encode([_example("c", "", "a", "bb")], ROBERTA, 99).segments.any()


def test_what_does_not_fit_is_left_out_from_the_front_and_choices_stay_whole() -> None:
    """Of nine places three are special: six for both texts."""
    example = _example("story", "why", "abc", "abcdefgh")
    assert _shown(WITH_CONTEXT.encode([example], BERT, 9)) == ["[why|abc|", "[|cdefgh|"]
    assert _shown(WITH_CHOICE.encode([example], BERT, 9)) == ["[|hy abc|", "[|cdefgh|"]
    assert _shown(WITH_CHOICE.encode([example], BERT, 13)) == ["[ory|why abc|", "[|y abcdefgh|"]


def test_rows_of_an_example_are_contiguous_and_in_the_order_of_its_choices() -> None:
    examples = [_example("c", "", "a", "b", "d"), _example("", "", "e", "f"), _example("", "q", "g", "h")]
    rows = WITH_CONTEXT.encode(examples, BERT, 99)
    assert rows.owner.tolist() == [0, 0, 0, 1, 1, 2, 2]
    assert [text[-2] for text in _shown(rows)] == list("abdefgh")


def test_health_counts_a_context_once() -> None:
    """Pieces and words of the first text, which several rows share, and of each choice."""
    examples = [_example("ab ?", "c", "d", "??"), _example("", "", "e", "f g")]
    health = {"examples": 2, "rows": 4, "pieces": 13, "unknown": 3, "words": 8, "lost": 0}
    assert WITH_CONTEXT.encode(examples, BERT, 99).health == {**health, "truncated": 0}
    # The rows have 10, 11, 3 and 5 tokens.
    truncated = {
        length: WITH_CONTEXT.encode(examples, BERT, length).health["truncated"] for length in range(4, 12)
    }
    assert truncated == {4: 2, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 0}


@pytest.mark.parametrize("form", [WITH_CONTEXT, WITH_CHOICE], ids=["context", "choice"])
@settings(max_examples=40, deadline=None)
@given(texts=EXAMPLES, max_length=st.integers(6, 40))
def test_rows_are_those_of_hugging_face(
    bert: Any, roberta: Any, form: Choices, texts: list[tuple[str, str, list[str]]], max_length: int
) -> None:
    """Two families, whole or cut, by a loop of plain tokenizer calls, one for each choice."""
    examples = [_example(context, asked, *offered) for context, asked, offered in texts]
    for reference, segments in ((bert, True), (roberta, False)):
        rows = form.encode(examples, SubwordTokenizer(reference, segments=segments), max_length)
        wanted, cut, place = [], set(), 0
        for number, example in enumerate(examples):
            for offered in example.choices:
                pair = _pair(form, example, offered)
                ids, kinds = _plain(reference, pair, max_length)
                cut |= {number} if len(_plain(reference, pair, 10_000)[0]) > len(ids) else set()
                wanted.append((ids, kinds if segments else [0] * len(ids)))
                assert rows.owner[place] == number
                place += 1
        assert _rows(rows) == wanted
        assert rows.health["truncated"] == len(cut)
        assert rows.health["rows"] == len(wanted)


def _pair(form: Choices, example: Choice, offered: str) -> list[str]:
    """One or two texts, put together in another way than the format does."""
    if form.question_with == "choice" and example.context:
        return [example.context, f"{example.question} {offered}".strip()]
    first = f"{example.context} {example.question}".strip()
    return [first, offered] if first else [offered]


def _plain(reference: Any, texts: list[str], max_length: int) -> tuple[list[int], list[int]]:
    """Token ids and segments: whole by the tokenizer, then the first tokens that are not special dropped one by one.

    Where the tokenizer can cut so by itself, which it cannot where nothing is left of the first text, it must agree.
    """
    lists = [[text] for text in texts]
    told = reference(*lists, return_token_type_ids=True)
    kept = list(zip(told["input_ids"][0], told["token_type_ids"][0], told.sequence_ids(0), strict=True))
    while len(kept) > max_length:
        kept.remove(next(token for token in kept if token[2] is not None))
    ids, kinds = [token[0] for token in kept], [token[1] for token in kept]
    if any(token[2] == 0 for token in kept):
        own = reference(*lists, truncation="only_first", max_length=max_length, return_token_type_ids=True)
        assert (own["input_ids"][0], own["token_type_ids"][0]) == (ids, kinds)
    return ids, kinds


def test_a_tokenizer_without_special_tokens_gives_no_empty_row() -> None:
    rows = WITH_CONTEXT.encode([_example("", "", "", "ab")], BARE, 3)
    assert [ids for ids, _ in _rows(rows)] == [[63], [*b"ab"]]


def test_a_length_without_room_is_refused_with_the_least_that_has() -> None:
    with pytest.raises(UsageError, match=r"length of 4 tokens leaves no room .* give at least 5"):
        WITH_CONTEXT.encode([_example("c", "", "a", "b")], ROBERTA, 4)
    assert [ids for ids, _ in _rows(WITH_CONTEXT.encode([_example("c", "", "a", "b")], ROBERTA, 5))] == [
        [1, 2, 2, 97, 2],
        [1, 2, 2, 98, 2],
    ]


def test_targets_are_the_numbers_of_the_gold_choices() -> None:
    examples = [_example("", "", "a", "b", "c", gold=2), _example("", "", "a", "b", gold=0)]
    targets = WITH_CONTEXT.targets(examples, WITH_CONTEXT.encode(examples, BERT, 9))
    assert (targets.tolist(), targets.dtype) == ([2, 0], np.dtype(np.int64))


def test_an_example_without_gold_cannot_be_learned() -> None:
    examples = [_example("", "", "a", "b"), _example("", "", "a", "b", gold=None, identity="en-7")]
    rows = WITH_CONTEXT.encode(examples, BERT, 9)
    with pytest.raises(DataError, match="example en-7 has no gold choice to learn from"):
        WITH_CONTEXT.targets(examples, rows)
    assert WITH_CONTEXT.reader(examples, rows).predictions()[0].gold == [0, None]


def test_the_best_choice_is_read_whatever_the_order_of_rows() -> None:
    """Of equal scores the first choice wins; a score that is no number never does."""
    examples = [
        _example("", "", "a", "b", "c", gold=1, identity="one"),
        _example("", "", "a", "b", gold=0, identity="two"),
        _example("", "", "a", "b", gold=0, identity="three"),
    ]
    reader = WITH_CONTEXT.reader(examples, WITH_CONTEXT.encode(examples, BERT, 9))
    reader.take(np.array([4, 1]), np.array([[-1.0], [2.0]], dtype=np.float32))
    reader.take(np.array([3, 0, 2, 5, 6]), np.array([[-2], [1], [2], [np.nan], [-9]], dtype=np.float32))
    (found,) = reader.predictions()
    assert (found.view, found.ids, found.gold) == ("", ["one", "two", "three"], [1, 0, 0])
    assert found.values == [1, 1, 1]
    assert all(type(value) is int for value in found.values)


@given(st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=6), max_size=6), st.randoms())
def test_the_best_choice_is_that_of_a_loop(scores: list[list[int]], order: Any) -> None:
    examples = [_example("", "", *["a"] * len(row), identity=str(n)) for n, row in enumerate(scores)]
    reader = WITH_CONTEXT.reader(examples, WITH_CONTEXT.encode(examples, BERT, 9))
    flat = np.array([score for row in scores for score in row], dtype=np.float32)
    places = list(range(len(flat)))
    order.shuffle(places)
    for some in (places[::2], places[1::2]):
        chosen = np.array(some, dtype=np.int64)
        reader.take(chosen, flat[chosen][:, None])
    assert reader.predictions()[0].values == [row.index(max(row)) for row in scores]


def test_accuracy_compares_numbers_of_choices() -> None:
    parts = ACCURACY.parts([0, 1, 3, 2], [0, 2, 3, 0])
    assert parts["correct"].tolist() == [1, 0, 1, 0]


def test_nothing_is_encoded_and_read_from_no_examples() -> None:
    rows = WITH_CONTEXT.encode([], BERT, 9)
    assert (rows.lengths.tolist(), rows.health["examples"], rows.health["truncated"]) == ([], 0, 0)
    assert WITH_CONTEXT.reader([], rows).predictions()[0].values == []
    assert WITH_CONTEXT.targets([], rows).shape == (0,)


def test_a_subset_is_whole_examples() -> None:
    examples = [_example("", "", "a", "b", identity=str(number)) for number in range(20)]
    some = WITH_CONTEXT.subset(examples, 5)
    assert len(some) == 5
    assert [example for example in examples if example in some] == some


def test_the_format_describes_itself() -> None:
    assert WITH_CONTEXT.head == Head(kind="choice")
    assert WITH_CONTEXT.head.size == 1
    assert (WITH_CONTEXT.name, WITH_CONTEXT.views) == ("choices", ("",))
    assert WITH_CONTEXT.settings == {"question_with": "context"}
    assert WITH_CONTEXT.texts(_example("c", "q", "a", "b")) == ("c q", "a", "b")
    assert WITH_CHOICE.texts(_example("c", "q", "a", "b")) == ("c", "q a", "q b")
    assert WITH_CHOICE.texts(_example("", "", "a", "b")) == ("a", "b")


def test_where_the_question_stands_can_be_changed() -> None:
    assert WITH_CONTEXT.replaced({"question_with": "choice"}) == WITH_CHOICE
    with pytest.raises(UsageError, match="question_with=end: must be context or choice"):
        WITH_CONTEXT.replaced({"question_with": "end"})
    with pytest.raises(UsageError, match="no setting 'stride' here; there is question_with"):
        WITH_CONTEXT.replaced({"stride": "3"})
    somewhere: Any = "end"
    with pytest.raises(SpecError, match="question_with is 'end'; allowed are context, choice"):
        Choices(question_with=somewhere)
