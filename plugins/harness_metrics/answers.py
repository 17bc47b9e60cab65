"""Metrics of extracted answers: exact match and F1 over words. Knows texts and languages; knows no passage and no task.

An item is one question: gold is ``{"answers": [text, …], "language": code}``, the prediction ``{"text": text}``, or None
where there is no answer at all, which is wrong always. The best of the gold answers counts.

Three ways of cutting a text into words:

- *squad*: SQuAD v1.1's script, made for English and used by XTREME for XQuAD and TyDiQA in every language: lower case,
  no ASCII punctuation, no «a», «an», «the», words between white space. A Chinese or Thai answer is one word.
- *mlqa*: MLQA v1's script: lower case, no punctuation of any script, the articles of that language, words between white
  space, in Chinese each Han character a word. Only for the languages that it knows. Its lists are kept as they are: the
  Vietnamese one has words that are no articles, and the Arabic one takes the letters of the article out of any place.
- *answer*: this harness's own, an extra: NFKC, lower case, no punctuation of any script, articles of the language where
  they are words (in Arabic the prefix), and characters of scripts that put no spaces between words (Han, kana, Thai,
  Lao, Khmer, Burmese) are words, each with the marks that follow it.

The rules are applied to all distinct words of one language at once, as the lines of one long text.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import chain

from harness import DataError, Json, Metric, Parts, hookimpl
from harness.arrays import np
from harness_metrics import bags
from harness_metrics.bags import Floats
from harness_metrics.words import Cut, Ints, Texts, cut

_MLQA_ARTICLES = {
    "ar": "",
    "de": "ein eine einen einem eines einer der die das den dem des",
    "en": "a an the",
    "es": "un una unos unas el la los las",
    "hi": "",
    "vi": "của là cái chiếc những",
    "zh": "",
}
_ARTICLES = {
    "de": _MLQA_ARTICLES["de"],
    "el": "ο η το οι τα τον την του της των τους τις ένας μία μια ένα",
    "en": _MLQA_ARTICLES["en"],
    "es": "un una unos unas el la los las lo",
    "fr": "un une des le la les",
    "hu": "a az egy",
    "it": "un uno una il lo la i gli le",
    "nl": "de het een",
    "pt": "um uma uns umas o a os as",
}
_ARABIC_ARTICLE = "ال"
# Blocks of the scripts that put no spaces between words.
_UNSPACED = (
    (0x0E00, 0x0E7F),
    (0x0E80, 0x0EFF),
    (0x1000, 0x109F),
    (0x1780, 0x17FF),
    (0x3005, 0x3007),
    (0x3041, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)


def _without(text: str, characters: Iterable[str]) -> str:
    """The text without some characters; one sweep of the whole for each is faster than a look at each character."""
    for character in characters:
        text = text.replace(character, "")
    return text


def _punctuation(text: str) -> set[str]:
    """The characters of a text that are punctuation, in ASCII or by their Unicode category."""
    present = set(text)
    return {one for one in present if one in string.punctuation or unicodedata.category(one).startswith("P")}


@cache
def _any_word(words: str) -> re.Pattern[str]:
    """Any of some words where it stands alone.

    The look back comes behind the first letter, so that the search can skip to the next of these letters.
    """
    rests: dict[str, list[str]] = {}
    for word in words.split():
        rests.setdefault(word[0], []).append(word[1:])
    choices = (rf"{first}(?<!\w{first})(?:{'|'.join(mine)})" for first, mine in rests.items())
    return re.compile(rf"(?:{'|'.join(choices)})\b")


def squad_words(text: str, language: str) -> str:
    """Words as SQuAD v1.1's script has them; the language does not matter."""
    return _any_word("a an the").sub(" ", _without(text.lower(), string.punctuation))


def mlqa_words(text: str, language: str) -> str:
    """Words as MLQA v1's script has them.

    Raises:
        DataError: The script has no rules for the language.
    """
    if language not in _MLQA_ARTICLES:
        raise DataError(
            f"MLQA's scorer has no rules for the language '{language}'; it has {', '.join(_MLQA_ARTICLES)}"
        )
    text = text.lower()
    text = _without(text, _punctuation(text))
    if language == "ar":
        return text.replace(_ARABIC_ARTICLE, " ")
    if language == "zh":
        return _apart("[\u4e00-\u9fa5]", "\u4e00-\u9fa5", text)
    articles = _MLQA_ARTICLES[language]
    return _any_word(articles).sub(" ", text) if articles else text


def language_words(text: str, language: str) -> str:
    """Words by the rules of the language and the script; any language."""
    text = unicodedata.normalize("NFKC", text).lower()
    text = _without(text, _punctuation(text))
    if language == "ar":
        text = re.sub(rf"\b{_ARABIC_ARTICLE}(?=\w)", "", text)
    if language in _ARTICLES:
        text = _any_word(_ARTICLES[language]).sub(" ", text)
    return _apart(*_unspaced(), text)


def _apart(one: str, letters: str, text: str) -> str:
    """The text with spaces around what a pattern matches; ``letters`` is the class of the characters it begins with.

    To find all pieces and join them is some times faster than to put each match in place.
    """
    return " ".join(re.findall(f"{one}|[^{letters}]+", text))


@cache
def _unspaced() -> tuple[str, str]:
    """A character of a script without spaces with the marks that follow it, and the class of such characters."""
    blocks = "".join(f"{chr(first)}-{chr(last)}" for first, last in _UNSPACED)
    marks = "".join(
        chr(code)
        for first, last in _UNSPACED[:4]
        for code in range(first, last + 1)
        if unicodedata.category(chr(code)).startswith("M")
    )
    return f"[{blocks}][{marks}]*", blocks


def _best(
    gold: Sequence[Json],
    predictions: Sequence[Json],
    *,
    words: Cut,
    compare: Callable[[Texts, Ints, Ints], Floats],
    name: str,
) -> Parts:
    """For each question the best comparison with a gold answer, shape ``(items,)``.

    Raises:
        DataError: A question has no gold answer.
    """
    answers = [answer["answers"] for answer in gold]
    counts = np.fromiter(map(len, answers), np.int64, len(answers))
    if not counts.all():
        place = int(np.flatnonzero(counts == 0)[0])
        raise DataError(f"question {place + 1} of {len(gold)} has no gold answer to compare with")
    said = ["" if one is None else one["text"] for one, _ in zip(predictions, gold, strict=True)]
    values = np.zeros(len(gold), dtype=np.float64)
    for language, here in _by_language(gold).items():
        several = counts[here]
        asked = len(several)
        numbers = here.tolist()
        known = chain.from_iterable(map(answers.__getitem__, numbers))
        texts = (*map(said.__getitem__, numbers), *known)
        found = compare(
            cut(texts, language, words), np.repeat(np.arange(asked), several), np.arange(asked, len(texts))
        )
        values[here] = np.maximum.reduceat(found, np.cumsum(several) - several)
    if None in predictions:
        values[[one is None for one in predictions]] = 0
    return {name: values}


def _by_language(gold: Sequence[Json]) -> Mapping[str, Ints]:
    """The numbers of each language's questions, ascending."""
    languages = [answer["language"] for answer in gold]
    distinct = dict.fromkeys(languages)
    if len(distinct) == 1:
        return dict.fromkeys(distinct, np.arange(len(gold)))
    every = np.array(languages, dtype=object)
    return {language: np.flatnonzero(every == language) for language in distinct}


def _pair(family: str, words: Cut, version: str, rules: str, source: str) -> tuple[Metric, Metric]:
    """F1 and exact match of one way of cutting words."""
    f1, exact_match = f"{family}_f1", f"{family}_exact_match"
    return (
        Metric(
            name=f1,
            signature=f"{f1}|{version}|v1",
            parts=partial(_best, words=words, compare=bags.f1, name="f1"),
            combine=lambda means: means["f1"],
            itemwise=True,
            doc=f"F1 of the words of answer and gold answer, mean over questions, in percent; {rules}. {source}",
        ),
        Metric(
            name=exact_match,
            signature=f"{exact_match}|{version}|v1",
            parts=partial(_best, words=words, compare=bags.equal, name="exact"),
            combine=lambda means: means["exact"],
            itemwise=True,
            doc=f"Share of questions whose answer has the words of a gold answer, in percent; {rules}. {source}",
        ),
    )


_FAMILIES: Mapping[str, tuple[Cut, str, str, str]] = {
    "squad": (
        squad_words,
        "v1.1",
        "English normalisation in every language",
        (
            "Paper: Rajpurkar et al. 2016 (SQuAD, arXiv 1606.05250), used so by XTREME for XQuAD and TyDiQA. "
            "Official scorer: evaluate-v1.1.py of SQuAD."
        ),
    ),
    "mlqa": (
        mlqa_words,
        "mlqa-v1",
        "MLQA's normalisation by language",
        (
            "Paper: Lewis et al. 2020 (MLQA, arXiv 1910.07475). "
            "Official scorer: mlqa_evaluation_v1.py in facebookresearch/MLQA."
        ),
    ),
    "answer": (
        language_words,
        "by-language",
        "articles by language, characters as words where a script has no spaces",
        (
            "Paper: Lewis et al. 2020 (MLQA, arXiv 1910.07475) for the idea; the rules are this harness's own. "
            "Official scorer: none."
        ),
    ),
}
ANSWERS = tuple(
    metric for family, (words, *told) in _FAMILIES.items() for metric in _pair(family, words, *told)
)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """F1 and exact match in SQuAD's, MLQA's and the language-aware way."""
    return ANSWERS
