"""Whether a text occurs in texts that are evaluated: the contamination check of masked-LM training.

A text leaks where it has a whole evaluated text in it (of at least five words; a shorter one must be all of it), or shares
thirteen words in a row with one, the measure of Brown et al. 2020 (arXiv 2005.14165, appendix C). Case, width and
punctuation do not count; a character of a script without spaces is a word. Knows strings; knows no task and no file.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import xxhash
from numpy.typing import NDArray

# Words in a row that two texts share only if one is taken from the other.
RUN = 13
# A shorter text occurs everywhere by chance: only a text that is just this is a copy of it.
_LEAST = 5
# Thai, Lao, Burmese, Khmer, kana and Han: scripts that do not part words.
_ALONE = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_LETTERS = rf"[^\W_{_ALONE}]"
# Where treebanks cut English words in two: "does n't", "can not".
_CUT = re.compile(r"\s+(?=n['’]t\b)|(?<=\bcan)\s+(?=not\b)")
# Odd, so that multiplication modulo 2**64 loses nothing.
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
Hashes = NDArray[np.uint64]


@cache
def _word() -> re.Pattern[str]:
    r"""A word. Vowel signs and accents are of the word they stand in (Devanagari, Tamil), yet ``\w`` has none of them."""
    marks = "".join(
        mark
        for mark in map(chr, range(0x300, sys.maxunicode + 1))
        if unicodedata.category(mark) in ("Mn", "Mc") and not re.match(f"[{_ALONE}]", mark)
    )
    return re.compile(rf"[{_ALONE}]|{_LETTERS}+(?:[{marks}]+{_LETTERS}*)*")


def words(text: str) -> list[str]:
    """The words of a text that count, in one spelling, the same whether a treebank cut its contractions or not.

    >>> words("Don't PANIC, 你好!")
    ['don', 't', 'panic', '你', '好']
    >>> words("हिन्दी में")
    ['हिन्दी', 'में']
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _word().findall(_CUT.sub("", folded))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flat:
    """Words of texts, one text after the other, as 64-bit hashes; ``starts`` has shape ``(texts + 1,)``."""

    hashes: Hashes
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[str], known: dict[str, int]) -> _Flat:
        values: list[int] = []
        ends = [0]
        for text in texts:
            for word in words(text):
                value = known.get(word)
                if value is None:
                    value = known[word] = xxhash.xxh3_64_intdigest(word.encode("utf-8", "surrogatepass"))
                values.append(value)
            ends.append(len(values))
        return cls(hashes=np.array(values, dtype=np.uint64), starts=np.array(ends, dtype=np.int64))

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)


def _longer(runs: Hashes, hashes: Hashes, length: int) -> Hashes:
    """Hashes of all runs of ``length`` words, from those of runs one word shorter; shape ``(words - length + 1,)``."""
    count = max(0, len(hashes) - length + 1)
    return runs[:count] * _FACTOR + hashes[length - 1 : length - 1 + count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Texts that must not be learned, ready to be looked for.

    Attributes:
        whole: Number of words to the sorted hashes of texts of just so many words.
        runs: Sorted hashes of every run of :data:`RUN` words in longer texts.
        texts: How many texts these are.
    """

    whole: Mapping[int, Hashes]
    runs: Hashes
    texts: int

    @classmethod
    def of(cls, texts: Iterable[str]) -> Evaluated:
        """Of any number of texts."""
        flat = _Flat.of(texts, {})
        lengths, found = flat.lengths, flat.hashes
        whole: dict[int, Hashes] = {}
        runs = np.empty(0, dtype=np.uint64)
        for length in range(1, RUN + 1):
            found = _longer(found, flat.hashes, length) if length > 1 else found
            if length < RUN:
                mine = flat.starts[:-1][lengths == length]
                if len(mine):
                    whole[length] = np.unique(found[mine])
            else:
                runs = np.unique(found[_inside(flat, length)[: len(found)]]) if len(found) else runs
        return cls(whole=whole, runs=runs, texts=len(lengths))

    def leaks(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """For each text whether it has something in it that is evaluated, bool, shape ``(texts,)``."""
        flat = _Flat.of(texts, {})
        lengths, found = flat.lengths, flat.hashes
        bad = np.zeros(len(lengths), dtype=np.bool_)
        owner = np.repeat(np.arange(len(lengths)), lengths)
        for length in range(1, RUN + 1):
            found = _longer(found, flat.hashes, length) if length > 1 else found
            wanted = self.runs if length == RUN else self.whole.get(length)
            if wanted is None or not len(wanted) or not len(found):
                continue
            here = _inside(flat, length)[: len(found)]
            if length < _LEAST:
                here = here & (lengths[owner[: len(found)]] == length)
            places = np.flatnonzero(here)
            hit = places[_among(found[places], wanted)]
            bad[owner[hit]] = True
        return bad


def _inside(flat: _Flat, length: int) -> NDArray[np.bool_]:
    """Where a run of so many words begins that ends in the same text, shape ``(words,)``."""
    ends = np.repeat(flat.starts[1:], flat.lengths)
    inside: NDArray[np.bool_] = np.arange(len(flat.hashes)) + length <= ends
    return inside


def _among(values: Hashes, known: Hashes) -> NDArray[np.bool_]:
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    found: NDArray[np.bool_] = known[place] == values
    return found
