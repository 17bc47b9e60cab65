"""UDPOS on the hub: which rows of ``google/xtreme`` belong to a language, what is repaired and what is refused.

The repository's sets were made by a glob over folder names, so that ``udpos.Greek`` holds the treebanks of Ancient
Greek as well (84 % of its test set), ``udpos.German`` Swiss German, and so on; XTREME itself goes by the prefix of the
file names. Folders were read in sorted order, so the foreign treebanks stand at one end. A set is repaired by cutting
them off where their size is certain, and the cut is proved on the rows themselves: function words, or punctuation,
which the language has and the foreign one lacks. Everything else is refused.

The rows are syntactic words. XTREME scores surface tokens, which cannot be made from them where the two differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness import DataError, Json, Row

REPOSITORY = "google/xtreme"
# Head of the main branch, Parquet files only; PAN-X and MLQA are read from there too.
REVISION = "ec5f1f46e9af79639a90684a7a70a956c4998f04"
# Order of the labels in the repository's files, and their number there.
TAGS = tuple("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split())

NAMES: Mapping[str, str] = {
    pair[:2]: pair[3:]
    for pair in """af-Afrikaans ar-Arabic bg-Bulgarian de-German el-Greek en-English es-Spanish et-Estonian eu-Basque
    fa-Persian fi-Finnish fr-French he-Hebrew hi-Hindi hu-Hungarian id-Indonesian it-Italian ja-Japanese kk-Kazakh
    ko-Korean mr-Marathi nl-Dutch pt-Portuguese ru-Russian ta-Tamil te-Telugu th-Thai tl-Tagalog tr-Turkish ur-Urdu
    vi-Vietnamese yo-Yoruba zh-Chinese""".split()
}

# Languages of whose UD 2.5 treebanks none has multiword tokens, so that words and surface tokens are the same.
PLAIN = frozenset("af bg et eu hi hu ja ko nl te th tl ur vi zh".split())
_ALMOST = {"en": "google/xtreme splits the few multiword tokens of English-ParTUT, which XTREME keeps whole"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """A set that begins or ends with treebanks of another language.

    Attributes:
        foreign: Their language.
        first: Whether the foreign sentences come first.
        own: Number of all sentences of a split to the number of its own ones.
        mark: ``(word, tag)`` to whether this is a token that the language has often and the foreign one hardly ever.
    """

    foreign: str
    first: bool
    own: Mapping[int, int]
    mark: Callable[[str, str], bool]


def _among(words: str) -> Callable[[str, str], bool]:
    known = frozenset(words.split())
    return lambda word, tag: word.lower() in known


# Sizes: treebank statistics of UD 2.5. Test, dev and train, in this order.
MIXTURES: Mapping[str, Mixture] = {
    "el": Mixture(
        foreign="Ancient Greek",
        first=True,
        own={2809: 456, 2559: 403, 28152: 1662},
        mark=_among("και το της την του των να για στο στην"),  # written with other accents in Ancient Greek
    ),
    "de": Mixture(
        foreign="Swiss German",
        first=False,
        own={22458: 22358, 19233: 19233, 166849: 166849},
        mark=_among("ist nicht auch von auf eine einen einer werden haben hat durch"),
    ),
    "zh": Mixture(
        foreign="Classical Chinese",
        first=False,
        own={5528: 3455, 3038: 1000, 18998: 7994},
        mark=lambda word, tag: tag == "PUNCT",  # the Kyoto treebank has no punctuation
    ),
}
REFUSED: Mapping[str, str] = {
    "fr": "it holds Old French, and sentences of French-FTB without their words, and how many is not certain",
    "ru": "it holds Old Russian, and how many of its sentences is not certain",
}
_ADVICE = "use the treebanks themselves (--data with a folder that has ud/UD_*/*.conllu)"


def read_surface(rows: Iterable[Row], language: str) -> Iterator[Row]:
    """Rows for scoring surface tokens, of languages in which these are the rows' words.

    Raises:
        DataError: They are not, or the set is refused.
    """
    if language not in PLAIN and language not in _ALMOST:
        raise DataError(
            f"{REPOSITORY} splits multiword tokens, and the surface tokens that XTREME scores cannot be made from its "
            f"udpos.{NAMES[language]}; {_ADVICE}, or the task udpos-syntactic"
        )
    note = _ALMOST.get(language)
    return _rows(rows, language, [note] if note else [])


def read_words(rows: Iterable[Row], language: str) -> Iterator[Row]:
    """Rows for scoring syntactic words.

    Raises:
        DataError: The set is refused.
    """
    return _rows(rows, language, [])


def _rows(rows: Iterable[Row], language: str, notes: Sequence[str]) -> Iterator[Row]:
    name = f"{REPOSITORY} udpos.{NAMES[language]}"
    if language in REFUSED:
        raise DataError(f"{name} cannot be repaired: {REFUSED[language]}; {_ADVICE}")
    sentences = [
        ([_clean(word) for word in row["tokens"]], tag_names(row["pos_tags"], TAGS, f"{name}, row {number}"))
        for number, row in enumerate(rows, start=1)
    ]
    mixture = MIXTURES.get(language)
    begin, end = _own(sentences, mixture, name) if mixture else (0, len(sentences))
    if mixture and end - begin < len(sentences):
        notes = [
            *notes,
            f"{name}: {len(sentences) - (end - begin)} of {len(sentences)} sentences are {mixture.foreign} and left out",
        ]
    repair = {"repair": "; ".join(notes)} if notes else {}
    for number in range(begin, end):
        words, tags = sentences[number]
        yield {"id": f"{language}-{number - begin + 1}", "words": words, "tags": tags, **repair}


def _own(sentences: Sequence[tuple[list[str], list[str]]], mixture: Mixture, name: str) -> tuple[int, int]:
    """First and last (exclusive) of the sentences that are in the language itself."""
    total = len(sentences)
    if total not in mixture.own:
        known = ", ".join(str(size) for size in mixture.own)
        raise DataError(
            f"{name} has {total} sentences where {known} are known; which of them are {mixture.foreign} is not "
            f"certain; {_ADVICE}"
        )
    own = mixture.own[total]
    begin, end = (total - own, total) if mixture.first else (0, own)
    kept = _rate(sentences[begin:end], mixture)
    dropped = _rate([*sentences[:begin], *sentences[end:]], mixture)
    if kept < 0.01 or 5 * dropped > kept:
        raise DataError(
            f"{name}: the {mixture.foreign} sentences are not where they should be ({100 * kept:.1f} % of the tokens "
            f"to keep and {100 * dropped:.1f} % of those to leave out are typical of {name.split('.')[-1]}); {_ADVICE}"
        )
    return begin, end


def _rate(sentences: Sequence[tuple[list[str], list[str]]], mixture: Mixture) -> float:
    """Share of the tokens that carry the language's mark, 0 where there is none."""
    marks = [
        mixture.mark(word, tag) for words, tags in sentences for word, tag in zip(words, tags, strict=False)
    ]
    return sum(marks) / max(len(marks), 1)


def _clean(word: Json) -> str:
    """Without spaces and U+200C, as XTREME has words."""
    return str(word).replace(" ", "").replace("\u200c", "") or str(word)


def tag_names(numbers: Sequence[Json], tags: Sequence[str], place: str) -> list[str]:
    """Names of class labels, which the hub gives as numbers.

    Raises:
        DataError: There is no such label.
    """
    named = dict(enumerate(tags))
    try:
        return [named[number] for number in numbers]
    except KeyError as error:
        raise DataError(f"{place}: the label {error} is not one of 0 to {len(tags) - 1}") from error
