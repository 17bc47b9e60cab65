"""Language codes: one spelling each, names for all, and the codes of the data sets."""

from __future__ import annotations

import pytest
from harness_xtreme.bucc2018 import BUCC
from harness_xtreme.tatoeba import CODES, FILE_CODE, TATOEBA, XTREME

from harness import UsageError, languages


def test_tatoeba_has_112_languages_and_xtreme_36_of_them() -> None:
    assert len(CODES) == len(set(CODES)) == len(FILE_CODE) == 112
    assert len(XTREME) == len(set(XTREME)) == 36
    assert set(XTREME) <= set(FILE_CODE)


@pytest.mark.parametrize("code", CODES)
def test_a_code_of_tatoeba_round_trips_and_has_a_name(code: str) -> None:
    spelling = languages.canonical(code)
    assert FILE_CODE[spelling] == code
    assert languages.canonical(spelling) == spelling
    assert languages.is_canonical(spelling)
    assert languages.name(spelling) not in ("", code, spelling)


def test_xtremes_languages_have_two_letters() -> None:
    assert {len(code) for code in XTREME} == {2}
    assert all(languages.is_canonical(code) for code in (*XTREME, *BUCC.languages, *TATOEBA.languages))


@pytest.mark.parametrize(
    ("code", "spelling"),
    [
        ("de", "de"),
        ("DEU", "de"),
        ("arb", "ar"),
        ("cmn", "zh"),
        ("zho", "zh"),
        ("swh", "sw"),
        ("swa", "sw"),
        ("pes", "fa"),
        ("lvs", "lv"),
        ("zsm", "ms"),
        ("ekk", "et"),
        ("yue", "yue"),
        ("wuu", "wuu"),
        ("arz", "arz"),
    ],
)
def test_either_code_is_taken(code: str, spelling: str) -> None:
    assert languages.canonical(code) == spelling


@pytest.mark.parametrize("code", ["deu", "cmn", "DE", "xx", ""])
def test_other_spellings_are_not_canonical(code: str) -> None:
    assert not languages.is_canonical(code)


@pytest.mark.parametrize("code", ["xx", "", "de-en", "german", "-"])
def test_an_unknown_code_is_told_with_what_is_allowed(code: str) -> None:
    with pytest.raises(UsageError, match=rf"unknown language code '{code}'; give an ISO 639-1 or 639-3 code"):
        languages.canonical(code)


def test_no_two_languages_share_a_code_or_a_name() -> None:
    entries = [entry for entry in languages._TABLE.replace("\n", "|").split("|") if entry.strip()]
    spellings = [code for entry in entries for code in entry.split(" ", 3)[:3] if code != "-"]
    names = [entry.split(" ", 3)[3] for entry in entries]
    assert len(set(spellings)) == len(spellings)
    assert len(set(names)) == len(names)


def test_a_code_without_a_name_stands_for_itself() -> None:
    assert languages.name("xx") == "xx"
    assert languages.name("yue") == "Cantonese"
