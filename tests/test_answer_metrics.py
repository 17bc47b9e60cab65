"""Metrics of answers: cases worked out by hand, and the official scripts' rules written down the slow way."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable

import pytest
from harness_metrics.answers import ANSWERS
from harness_metrics.words import cut
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import DataError, Json
from harness.statistics import score

METRICS = {metric.name: metric for metric in ANSWERS}
Splitter = Callable[[str, str], list[str]]


def _value(name: str, language: str, answers: list[str], said: str | None) -> float:
    gold: list[Json] = [{"answers": answers, "language": language}]
    return score(METRICS[name], gold, [None if said is None else {"text": said}]).value


# family, language, gold answers, answer, exact match, F1 as a fraction
FROZEN: list[tuple[str, str, list[str], str, int, float]] = [
    # English articles, ASCII punctuation, case and white space go.
    ("squad", "en", ["The Eiffel Tower"], "eiffel   tower!", 1, 1),
    ("squad", "en", ["in the year 1889"], "1889", 0, 2 * 1 * (1 / 3) / (1 + 1 / 3)),
    ("squad", "en", ["New York, New York"], "new york", 0, 2 * 1 * 0.5 / 1.5),
    ("squad", "en", ["Theatre"], "theatre a", 1, 1),
    # The best of several gold answers counts, for each metric by itself.
    ("squad", "en", ["red", "dark red wine", "wine"], "red wine", 0, 2 * 1 * (2 / 3) / (1 + 2 / 3)),
    ("squad", "en", ["two", "2"], "2", 1, 1),
    # An empty answer equals a gold answer of which nothing is left, but shares no word with it.
    ("squad", "en", ["the"], "", 1, 0),
    ("squad", "en", ["tower"], "", 0, 0),
    # In every language by English rules: German articles stay, guillemets and the Chinese full stop too.
    ("squad", "de", ["der Eiffelturm"], "Eiffelturm", 0, 2 / 3),
    ("squad", "ru", ["«Мир»"], "Мир", 0, 0),
    ("squad", "zh", ["北京大学"], "北京", 0, 0),
    ("squad", "th", ["ประเทศไทย"], "ไทย", 0, 0),
    ("squad", "es", ["a Madrid"], "Madrid", 1, 1),
    # MLQA: punctuation of any script and the language's own articles go.
    ("mlqa", "en", ["the «red» house"], "red house", 1, 1),
    ("mlqa", "de", ["der Eiffelturm in einem Park"], "Eiffelturm in Park", 1, 1),
    ("mlqa", "de", ["dessen Haus"], "Haus", 0, 2 / 3),
    ("mlqa", "es", ["¿los años de la guerra?"], "años de guerra", 1, 1),
    ("mlqa", "es", ["el a"], "a", 1, 1),
    ("mlqa", "vi", ["cái bàn của tôi"], "bàn tôi", 1, 1),
    ("mlqa", "vi", ["một con mèo"], "con mèo", 0, 0.8),
    ("mlqa", "hi", ["एक किताब।"], "किताब", 0, 2 / 3),
    ("mlqa", "hi", ["दिल्ली, भारत"], "दिल्ली भारत", 1, 1),
    # The Arabic article goes with its letters, at the start of a word and inside it.
    ("mlqa", "ar", ["الكتاب"], "كتاب", 1, 1),
    ("mlqa", "ar", ["سالم"], "س م", 1, 1),
    ("mlqa", "ar", ["في الكتاب"], "الكتاب", 0, 2 / 3),
    # Chinese by characters, other scripts inside it by words.
    ("mlqa", "zh", ["北京大学"], "北京", 0, 2 * 1 * 0.5 / 1.5),
    ("mlqa", "zh", ["在1994年。"], "1994年", 0, 2 * 1 * (2 / 3) / (1 + 2 / 3)),
    ("mlqa", "zh", ["《红楼梦》"], "红楼梦", 1, 1),
    ("mlqa", "zh", ["Windows 系统"], "windows系统", 1, 1),
    ("mlqa", "zh", ["东京"], "", 0, 0),
    # By language: scripts without spaces by characters with their marks, articles by language.
    ("answer", "th", ["ไทย"], "ไท", 0, 2 * 1 * (2 / 3) / (1 + 2 / 3)),
    ("answer", "th", ["ที่นี่"], "ที่", 0, 2 / 3),
    ("answer", "ja", ["東京タワー"], "タワー", 0, 2 * 1 * 0.6 / 1.6),
    ("answer", "zh", ["１９９４年"], "1994 年", 1, 1),
    ("answer", "ko", ["서울 대학교"], "서울", 0, 2 / 3),
    ("answer", "my", ["မြန်မာ"], "မြန်", 0, 0.8),
    ("answer", "ar", ["الكتاب"], "كتاب", 1, 1),
    ("answer", "ar", ["سالم"], "س م", 0, 0),
    ("answer", "el", ["ο Όλυμπος"], "Όλυμπος", 1, 1),
    ("answer", "fr", ["la tour Eiffel"], "tour eiffel", 1, 1),
    ("answer", "vi", ["cái bàn"], "bàn", 0, 2 / 3),
    ("answer", "es", ["a Madrid"], "Madrid", 0, 2 / 3),
]


@pytest.mark.parametrize(("family", "language", "answers", "said", "exact", "f1"), FROZEN)
def test_hand_computed_answers(
    family: str, language: str, answers: list[str], said: str, exact: int, f1: float
) -> None:
    assert _value(f"{family}_exact_match", language, answers, said) == 100 * exact
    assert _value(f"{family}_f1", language, answers, said) == pytest.approx(100 * f1)


@pytest.mark.parametrize("name", METRICS)
def test_no_answer_is_wrong_even_where_an_empty_one_would_be_right(name: str) -> None:
    assert _value(name, "en", ["the"], None) == 0.0


@pytest.mark.parametrize("name", METRICS)
def test_the_gold_answer_itself_is_right(name: str) -> None:
    for language, text in {"en": "Big Ben", "zh": "大本钟", "ar": "بيغ بن", "hi": "बिग बेन"}.items():
        assert _value(name, language, [text, "x"], text) == 100.0


@pytest.mark.parametrize("name", ["mlqa_f1", "mlqa_exact_match"])
def test_a_language_without_rules_is_named(name: str) -> None:
    with pytest.raises(DataError, match=r"no rules for the language 'ko'; it has ar, de, en, es, hi, vi, zh"):
        _value(name, "ko", ["서울"], "서울")


def test_a_question_without_a_gold_answer_is_named() -> None:
    with pytest.raises(DataError, match="question 1 of 1 has no gold answer"):
        _value("squad_f1", "en", [], "x")


def test_questions_of_several_languages_keep_their_order() -> None:
    gold = [{"answers": ["der Turm"], "language": "de"}, {"answers": ["the tower"], "language": "en"}] * 2
    said = [{"text": text} for text in ("Turm", "x", "x", "tower")]
    assert METRICS["mlqa_exact_match"].parts(gold, said)["exact"].tolist() == [1, 0, 0, 1]


SPACES = [chr(code) for code in range(0x3001) if chr(code).isspace()]


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.lists(st.sampled_from(["ab", "é", "中国", "x" * 20, "\x1b", "\x08", *SPACES]), max_size=6).map(
            "".join
        ),
        min_size=1,
        max_size=6,
    )
)
def test_words_are_those_that_python_splits_a_text_into(texts: list[str]) -> None:
    known = cut(tuple(texts), "en", lambda lines, _: lines)
    numbers: dict[str, int] = {}
    expected = [[numbers.setdefault(word, len(numbers)) for word in text.split()] for text in texts]
    borders = zip(known.starts[:-1].tolist(), known.starts[1:].tolist(), strict=True)
    assert [known.words[begin:end].tolist() for begin, end in borders] == expected
    assert known.size == len(numbers)


_PUNCTUATION = set(string.punctuation)
_ARTICLES = {
    "en": r"\b(a|an|the)\b",
    "es": r"\b(un|una|unos|unas|el|la|los|las)\b",
    "vi": r"\b(của|là|cái|chiếc|những)\b",
    "de": r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b",
    "ar": "ال",
}


def _squad_slowly(text: str, language: str) -> list[str]:
    """SQuAD v1.1's rules, one text and one character at a time."""
    kept = "".join(one for one in text.lower() if one not in _PUNCTUATION)
    return re.sub(_ARTICLES["en"], " ", kept).split()


def _mlqa_slowly(text: str, language: str) -> list[str]:
    """MLQA v1's rules, one text and one character at a time."""
    kept = "".join(
        one for one in text.lower() if one not in _PUNCTUATION and unicodedata.category(one)[0] != "P"
    )
    if language in _ARTICLES:
        kept = re.sub(_ARTICLES[language], " ", kept)
    if language == "zh":
        kept = "".join(f" {one} " if "\u4e00" <= one <= "\u9fa5" else one for one in kept)
    return kept.split()


def _f1_slowly(said: list[str], gold: list[str]) -> float:
    shared = sum((Counter(said) & Counter(gold)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(said), shared / len(gold)
    return 2 * precision * recall / (precision + recall)


_PIECE = st.sampled_from(
    [
        *"aAeI1 _-.,!?€½Σσİßñ中国的。「」\n\r\t\u00a0\u2028\x1c\u0303’",
        *(" the ", " der ", " la ", " của ", " là ", "ال", " الك", "दि", "ไทย", "the", "an"),
    ]
)
_TEXT = st.lists(_PIECE, max_size=8).map("".join)


@pytest.mark.parametrize(
    ("family", "words"), [("squad", _squad_slowly), ("mlqa", _mlqa_slowly)], ids=["squad", "mlqa"]
)
@settings(deadline=None, max_examples=150)
@given(
    language=st.sampled_from(["ar", "de", "en", "es", "hi", "vi", "zh"]),
    items=st.lists(
        st.tuples(st.lists(_TEXT, min_size=1, max_size=3), _TEXT, st.booleans()), min_size=1, max_size=6
    ),
)
def test_scores_are_those_of_the_official_rules(
    family: str, words: Splitter, language: str, items: list[tuple[list[str], str, bool]]
) -> None:
    gold = [{"answers": answers, "language": language} for answers, _, _ in items]
    said = [{"text": answers[0] + text if near else text} for answers, text, near in items]
    exact = METRICS[f"{family}_exact_match"].parts(gold, said)["exact"]
    f1 = METRICS[f"{family}_f1"].parts(gold, said)["f1"]
    for place, (answer, prediction) in enumerate(zip(gold, said, strict=True)):
        mine = words(prediction["text"], language)
        others = [words(text, language) for text in answer["answers"]]
        assert exact[place] == any(mine == other for other in others)
        assert f1[place] == pytest.approx(max(_f1_slowly(mine, other) for other in others))


@pytest.mark.parametrize("name", METRICS)
@settings(deadline=None, max_examples=40)
@given(items=st.lists(st.tuples(st.lists(_TEXT, min_size=1, max_size=3), _TEXT), min_size=1, max_size=6))
def test_an_answer_scores_the_same_alone_and_among_others(
    name: str, items: list[tuple[list[str], str]]
) -> None:
    gold = [{"answers": answers, "language": "de"} for answers, _ in items]
    said = [{"text": text} for _, text in items]
    (together,) = METRICS[name].parts(gold, said).values()
    for place, (answer, prediction) in enumerate(zip(gold, said, strict=True)):
        (alone,) = METRICS[name].parts([answer], [prediction]).values()
        assert alone.tolist() == [together[place]]
