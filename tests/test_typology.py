"""The table of languages: which ones it has, and that its entries agree with what is published about them."""

from __future__ import annotations

from collections import Counter

import pytest

from harness import languages, typology

XTREME = """af ar bg bn de el en es et eu fa fi fr he hi hu id it ja jv ka kk ko ml mr ms my nl pt ru sw ta te th tl tr
    ur vi yo zh""".split()
XTREME_R = "az gu ht lt pa pl qu ro uk wo".split()

# The classes of Joshi et al. 2020 as their published list groups languages: turned round, a slip in a line shows.
CLASSES = {
    5: "ar zh en fr de ja es",
    4: "eu nl fi hi hu it ko fa pl pt ru tr vi",
    3: "af bn bg et ka el he id kk lt ms ro tl ta th uk ur",
    2: "ht mr pa sw wo yo",
    1: "az gu jv ml my qu te",
}


def test_the_table_has_the_50_languages_of_xtreme_and_xtreme_r() -> None:
    assert list(typology.known()) == sorted(XTREME + XTREME_R)
    assert len(typology.known()) == 50
    assert all(languages.is_canonical(code) for code in typology.known())


@pytest.mark.parametrize("number", CLASSES)
def test_resource_classes_are_those_of_the_published_list(number: int) -> None:
    found = {code for code in typology.known() if (typology.find(code) or _none()).resources == number}
    assert found == set(CLASSES[number].split())


def test_families_are_as_many_as_xtreme_r_counts() -> None:
    """Ruder et al. 2021: 50 languages from 14 families and 2 isolates."""
    families = {(typology.find(code) or _none()).family for code in typology.known()}
    isolates = {family for family in families if "isolate" in family}
    assert (len(families - isolates), len(isolates)) == (14, 2)


def test_a_genus_and_a_script_of_one_family_never_cross() -> None:
    """A genus lies in one family: a slip in one line of the table would put it in two."""
    entries = [typology.find(code) or _none() for code in typology.known()]
    assert (
        max(Counter(genus for genus, _ in {(entry.genus, entry.family) for entry in entries}).values()) == 1
    )
    assert all(entry.script_name for entry in entries)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("he", "שלום"),
        ("el", "γλώσσα"),
        ("ru", "язык"),
        ("hi", "भाषा"),
        ("bn", "ভাষা"),
        ("ta", "மொழி"),
        ("te", "భాష"),
        ("ml", "ഭാഷ"),
        ("th", "ภาษา"),
        ("my", "ဘာသာ"),
        ("ka", "ენა"),
        ("gu", "ભાષા"),
        ("pa", "ਭਾਸ਼ਾ"),
        ("ar", "لغة"),
        ("tr", "dil"),
    ],
)
def test_a_script_is_the_one_that_unicode_names_in_a_word_of_the_language(code: str, text: str) -> None:
    import unicodedata

    entry = typology.find(code)
    assert entry is not None
    assert unicodedata.name(text[0]).startswith(entry.script_name.upper())


def test_a_language_outside_the_table_has_no_entry() -> None:
    assert typology.find("yue") is None
    assert typology.find("deu") is None


def _none() -> typology.Typology:
    raise AssertionError("a language of the table has no entry")
