"""What counts as a copy of an evaluated text, against a search that goes through every pair."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.overlap import RUN, Evaluated, words

SENTENCE = "The old man and the sea were friends"


def leaks(evaluated: list[str], text: str) -> bool:
    return bool(Evaluated.of(evaluated).leaks([text])[0])


def brute(evaluated: list[str], text: str) -> bool:
    """The rule, word for word."""
    mine = words(text)

    def inside(run: list[str]) -> bool:
        return any(mine[start : start + len(run)] == run for start in range(len(mine) - len(run) + 1))

    for other in map(words, evaluated):
        if not other:
            continue
        if len(other) >= RUN:
            if any(inside(other[start : start + RUN]) for start in range(len(other) - RUN + 1)):
                return True
        elif inside(other) if len(other) >= 5 else mine == other:
            return True
    return False


# Few words, so that runs meet by chance.
_TEXTS = st.lists(st.sampled_from(["a", "b", "你", "ä"]), max_size=30).map(" ".join)


@settings(deadline=None)
@given(st.lists(_TEXTS, max_size=6), st.lists(_TEXTS, max_size=4))
def test_leaks_are_those_of_a_search_through_every_pair(evaluated: list[str], texts: list[str]) -> None:
    found = Evaluated.of(evaluated).leaks(texts)
    assert found.tolist() == [brute(evaluated, text) for text in texts]


def test_a_whole_sentence_inside_a_longer_one_leaks() -> None:
    assert leaks([SENTENCE], f"He said: «{SENTENCE.upper()}!» and left")
    assert not leaks([SENTENCE], "The old man and the sea were not friends")


def test_vowel_signs_are_of_their_word() -> None:
    assert words("विश्वविद्यालय हिन्दुस्तान") == ["विश्वविद्यालय", "हिन्दुस्तान"]
    assert words("שָׁלוֹם עולם") == ["שָׁלוֹם", "עולם"]
    # Of the same consonants, and no word in common.
    assert not leaks(["मेरा नाम क्या है"], "मोरी नीम क्यों हो गया")


def test_words_that_a_treebank_cut_are_those_of_running_text() -> None:
    assert words("They do n't know why she ca n't stay .") == words("They don’t know why she can't stay.")
    assert words("We can not") == words("We cannot") == ["we", "cannot"]
    assert words("Montcan not isn note") == ["montcan", "not", "isn", "note"]
    # Four words still, of which a sentence in a passage may well have come by chance.
    assert not leaks(["Do n't you know ?"], "He asked: don't you know the way?")


def test_a_short_text_leaks_only_where_it_is_all_there_is() -> None:
    assert leaks(["I am here."], "i am here")
    assert not leaks(["I am here."], "I am here and there")


def test_thirteen_words_of_a_passage_leak_and_twelve_do_not() -> None:
    passage = " ".join(f"word{number}" for number in range(40))
    thirteen = " ".join(f"word{number}" for number in range(20, 33))
    assert leaks([passage], f"x {thirteen} y")
    assert not leaks([passage], f"x {thirteen.rpartition(' ')[0]} y")


def test_runs_do_not_cross_from_one_text_into_the_next() -> None:
    evaluated = Evaluated.of([SENTENCE])
    first, second = SENTENCE[:15], SENTENCE[16:]
    assert evaluated.leaks([first, second]).tolist() == [False, False]


def test_characters_of_scripts_without_spaces_are_words() -> None:
    assert words("我爱北京ab ร้าน") == ["我", "爱", "北", "京", "ab", *"ร้าน"]
    assert leaks(["我爱北京天安门"], "他说:我爱北京天安门。")
    assert not leaks(["我爱北京天安门"], "我爱上海")


def test_nothing_to_compare_leaks_nothing() -> None:
    assert Evaluated.of([]).leaks(["a", ""]).tolist() == [False, False]
    assert Evaluated.of(["", "..."]).leaks(["", "..."]).tolist() == [False, False]
    assert Evaluated.of(["a"]).leaks([]).tolist() == []
