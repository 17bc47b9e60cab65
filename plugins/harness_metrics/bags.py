"""Pairs of texts compared as words, in order or as bags, all at once in NumPy. Knows no language and no metric."""

from __future__ import annotations

from typing import TypeAlias

from harness.arrays import NDArray, np
from harness.formats.rows import ranges
from harness_metrics.words import Ints, Texts

Floats: TypeAlias = "NDArray[np.float64]"


def _taken(known: Texts, texts: Ints) -> tuple[Ints, Ints]:
    """The words of some texts one after the other, and for each word which of these texts it is from."""
    counts = known.starts[texts + 1] - known.starts[texts]
    return known.words[ranges(known.starts[texts], counts)], np.repeat(np.arange(len(texts)), counts)


def f1(known: Texts, said: Ints, gold: Ints) -> Floats:
    """F1 of the bags of words of pairs of texts; 0 where they share none, also when both are empty.

    Args:
        known: The texts.
        said: Number of each pair's first text, shape ``(pairs,)``; ``gold`` of its second.
    """
    bits = known.size.bit_length()
    keys = [
        (pair << bits | words) << 1 | side
        for side, (words, pair) in enumerate(_taken(known, texts) for texts in (said, gold))
    ]
    shared = _shared(np.sort(np.concatenate(keys)), bits, len(said))
    lengths = np.diff(known.starts)
    values: Floats = 2 * shared / np.maximum(lengths[said] + lengths[gold], 1)
    return values


def _shared(keys: Ints, bits: int, pairs: int) -> Floats:
    """For each pair how many words both sides have, from ascending keys: pair, word in so many bits, side in one."""
    if not len(keys):
        return np.zeros(pairs)
    word = keys >> 1
    begin = np.flatnonzero(np.concatenate(([True], word[1:] != word[:-1])))
    second = np.add.reduceat(keys & 1, begin)
    first = np.diff(begin, append=len(keys)) - second
    shared = np.bincount(word[begin] >> bits, weights=np.minimum(first, second), minlength=pairs)
    return shared.astype(np.float64, copy=False)


def equal(known: Texts, said: Ints, gold: Ints) -> Floats:
    """1 where a pair of texts has the same words in the same order, else 0, shape ``(pairs,)``."""
    lengths = np.diff(known.starts)
    same = lengths[said] == lengths[gold]
    some = np.flatnonzero(same)
    mine, pair = _taken(known, said[some])
    theirs, _ = _taken(known, gold[some])
    same[some[pair[mine != theirs]]] = False
    values: Floats = same.astype(np.float64)
    return values
