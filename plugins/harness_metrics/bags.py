"""Many texts compared as words, in order or as bags, all at once in NumPy. Knows no language and no metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.formats.rows import ranges

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
# From lines of text and their language to lines whose words stand between white space.
Cut: TypeAlias = Callable[[str, str], str]


@dataclass(frozen=True, slots=True)
class Texts:
    """The words of distinct texts as numbers, one text after the other.

    Attributes:
        place: Each text's number.
        words: A number per word, shape ``(words,)``.
        starts: Where each text begins in ``words``, with the end of the last, shape ``(texts + 1,)``.
        bags: For each text the numbers of its words in ascending order, in which the second occurrence of a word has
            another number than the first, and so on; aligned with ``words``.
        largest: Above every number in ``bags``.
    """

    place: dict[str, int]
    words: Ints
    starts: Ints
    bags: Ints
    largest: int


# F1 and exact match of one set of answers are computed one after the other.
@lru_cache(maxsize=2)
def cut(distinct: tuple[str, ...], language: str, words: Cut) -> Texts:
    """The words of distinct texts, all cut at once as the lines of one long text.

    >>> known = cut(("The Cat sat", "cat", ""), "en", lambda text, language: text.lower())
    >>> known.words.tolist(), known.starts.tolist()
    ([0, 1, 2, 1], [0, 3, 4, 4])
    """
    joined = "\n".join(distinct)
    if joined.count("\n") >= len(distinct):
        joined = "\n".join(text.replace("\n", " ") for text in distinct)
    joined = words(joined, language)
    # A character of its own between texts, so that one split serves all.
    border = next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in joined)
    flat = joined.replace("\n", f" {border} ").split()
    flat.append(border)
    number = {word: place for place, word in enumerate(dict.fromkeys(flat))}
    numbers = np.fromiter(map(number.__getitem__, flat), np.int64, len(flat))
    ends = np.flatnonzero(numbers == number[border])
    starts = np.concatenate(([0], ends - np.arange(len(ends))))
    kept = np.delete(numbers, ends)
    bags, largest = _bags(kept, starts, len(number))
    return Texts({text: place for place, text in enumerate(distinct)}, kept, starts, bags, largest)


def _bags(words: Ints, starts: Ints, vocabulary: int) -> tuple[Ints, int]:
    """See :class:`Texts`."""
    keys = np.sort(np.repeat(np.arange(len(starts) - 1), np.diff(starts)) * vocabulary + words)
    first = np.ones(len(keys), dtype=np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    begins = np.flatnonzero(first)
    nth = np.arange(len(keys)) - np.repeat(begins, np.diff(np.append(begins, len(keys))))
    most = int(nth.max(initial=0)) + 1
    return keys % vocabulary * most + nth, vocabulary * most


def _taken(flat: Ints, starts: Ints, texts: Ints) -> tuple[Ints, Ints]:
    """The words of some texts one after the other, and for each word which of these texts it is from."""
    counts = starts[texts + 1] - starts[texts]
    return flat[ranges(starts[texts], counts)], np.repeat(np.arange(len(texts)), counts)


def f1(known: Texts, said: Ints, gold: Ints) -> Floats:
    """F1 of the bags of words of pairs of texts; 0 where they share none, also when both are empty.

    Args:
        known: The texts.
        said: Number of each pair's first text, shape ``(pairs,)``; ``gold`` of its second.
    """
    mine, pair = _taken(known.bags, known.starts, said)
    theirs, other = _taken(known.bags, known.starts, gold)
    # Both ascend, so that a look-up by bisection finds what they share.
    mine, theirs = pair * known.largest + mine, other * known.largest + theirs
    shared = np.bincount(pair[_within(mine, theirs)], minlength=len(said))
    lengths = np.diff(known.starts)
    values: Floats = 2 * shared / np.maximum(lengths[said] + lengths[gold], 1)
    return values


def _within(keys: Ints, ascending: Ints) -> NDArray[np.bool_]:
    """Which keys are among others."""
    if not len(ascending):
        return np.zeros(len(keys), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[places] == keys
    return found


def equal(known: Texts, said: Ints, gold: Ints) -> Floats:
    """1 where a pair of texts has the same words in the same order, else 0, shape ``(pairs,)``."""
    lengths = np.diff(known.starts)
    same = lengths[said] == lengths[gold]
    some = np.flatnonzero(same)
    mine, pair = _taken(known.words, known.starts, said[some])
    theirs, _ = _taken(known.words, known.starts, gold[some])
    same[some[pair[mine != theirs]]] = False
    values: Floats = same.astype(np.float64)
    return values
