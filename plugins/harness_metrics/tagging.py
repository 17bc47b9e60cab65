"""Metrics of tagged sentences: chunks, entities and tokens. Knows tags as strings; knows no words and no task.

An item is one sentence: gold and prediction are lists of tags of one length. All parts are counts per sentence.

Three readings of the same tags:

- *chunks* are what seqeval 0.0.12 sees, and so what XTREME calls F1. A tag's first letter is its prefix (B, I, E, S, O
  or none of these) and what follows its last hyphen its type, also where tags are no BIO tags at all. So on parts of
  speech neighbours with the same tag are one chunk; SCONJ ends after each token, for its S reads as «single»; a tag O…
  or «.» is outside, ``_`` is not; and an I- that nothing leads to starts a chunk. Later versions of seqeval cut off the
  first letter instead, which makes CCONJ and SCONJ one type.
- *entities* are strict IOB2: B-X and the I-X that follow it directly. An I- that continues no entity of its type is
  none, nor part of one (as in seqeval 1.2.2's strict mode; CoNLL's conlleval would start an entity there, which is the
  reading of *chunks*).
- *tokens* are tags, equal or not.

Everything is read from the flat tags of all sentences at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, repeat
from typing import TypeAlias

from harness import DataError, Json, Metric, Parts, hookimpl
from harness.arrays import NDArray, np
from harness_metrics.counts import f1, macro_f1, precision, ratio, recall

Ints: TypeAlias = "NDArray[np.int64]"
Bools: TypeAlias = "NDArray[np.bool_]"

# What seqeval looks at in a tag's first letter; the last stands for every other letter.
_LETTERS = "BIESO.?"
_OUTSIDE = _LETTERS.index("O")


def _table(*pairs: tuple[str, str]) -> Bools:
    """For every two first letters of neighbours whether they are among the pairs, flat."""
    table = np.zeros((len(_LETTERS), len(_LETTERS)), dtype=np.bool_)
    for before, after in pairs:
        for one in before:
            table[_LETTERS.index(one), [_LETTERS.index(two) for two in after]] = True
    return table.ravel()


@cache
def _rules() -> tuple[Bools, Bools, Bools]:
    """Between which neighbours a chunk starts, between which one ends, both flat; and which letters have a type."""
    starts = _table((_LETTERS, "BS"), ("ESO", "EI"))
    ends = _table(("ES", _LETTERS), ("BI", "BSO"))
    return starts, ends, np.array([letter not in "O." for letter in _LETTERS])


@dataclass(frozen=True, slots=True)
class _Tagged:
    """The tags of all sentences, each sentence followed by one ``O``, as numbers into ``tags``.

    ``first`` holds each sentence's first place, shape ``(sentences,)``.
    """

    tags: list[str]
    gold: NDArray[np.int32]
    predicted: NDArray[np.int32]
    first: Ints

    def per_sentence(self, marks: Bools) -> NDArray[np.float64]:
        """The number of marked places in each sentence, shape ``(sentences,)``."""
        return np.add.reduceat(marks, self.first, dtype=np.float64)


def _tagged(gold: Sequence[Json], predictions: Sequence[Json]) -> _Tagged:
    """Both sets of tags, flat.

    Raises:
        DataError: A sentence has another number of predicted tags than of gold tags.
    """
    lengths = np.fromiter(map(len, gold), np.int64, len(gold))
    found = np.fromiter(map(len, predictions), np.int64, len(predictions))
    if (odd := np.flatnonzero(lengths != found)).size:
        place = int(odd[0])
        raise DataError(
            f"sentence {place + 1} of {len(gold)}: {found[place]} tags predicted where gold has {lengths[place]}; "
            "every token needs one tag"
        )
    # A number for each tag at its first sight, so that a million tags are looked at once.
    number: defaultdict[str, int] = defaultdict()
    number.default_factory = number.__len__
    total = int(lengths.sum()) + len(lengths)
    seen = [
        np.fromiter(map(number.__getitem__, _flat(side)), np.int32, total) for side in (gold, predictions)
    ]
    tags = sorted({*number, "O"})
    rank = {tag: place for place, tag in enumerate(tags)}
    ordered = np.array([rank[tag] for tag in number], dtype=np.int32)
    first = np.cumsum(lengths + 1) - (lengths + 1)
    return _Tagged(tags, ordered[seen[0]], ordered[seen[1]], first)


def _flat(sentences: Sequence[Json]) -> Iterator[str]:
    """All tags in order, an ``O`` behind each sentence."""
    return chain.from_iterable(chain.from_iterable(zip(sentences, repeat(("O",)))))


def _types(tags: Sequence[str]) -> NDArray[np.int32]:
    """A number for the type of each tag: what follows its last hyphen."""
    names = [tag.rsplit("-", 1)[-1] for tag in tags]
    number = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], dtype=np.int32)


def _borders(
    line: NDArray[np.int32], letters: NDArray[np.int8], types: NDArray[np.int32]
) -> tuple[Bools, Bools]:
    """Where a chunk starts, and before which places one ends."""
    letter, kind = letters[line], types[line]
    before = np.concatenate((np.array([_OUTSIDE], np.int8), letter[:-1]))
    pair = before * np.int8(len(_LETTERS)) + letter
    other = np.concatenate(([True], kind[1:] != kind[:-1]))
    starts, ends, typed = _rules()
    return starts[pair] | (other & typed[letter]), ends[pair] | (other & typed[before])


def chunks(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """Per sentence the numbers of right, predicted and gold chunks, each of shape ``(sentences,)``.

    Raises:
        DataError: A sentence has another number of predicted tags than of gold tags.

    >>> parts = chunks([["NOUN", "NOUN", "VERB"]], [["NOUN", "VERB", "VERB"]])
    >>> {name: part.tolist() for name, part in parts.items()}
    {'hits': [0.0], 'predicted': [2.0], 'gold': [2.0]}
    """
    both = _tagged(gold, predictions)
    letters = np.array([_LETTERS.find(tag[:1] or "?") for tag in both.tags], dtype=np.int8) % len(_LETTERS)
    types = _types(both.tags)
    (start, end), (start_said, end_said) = (
        _borders(line, letters, types) for line in (both.gold, both.predicted)
    )
    last = np.flatnonzero(end & end_said)
    same = types[both.gold[last - 1]] == types[both.predicted[last - 1]]
    same &= _latest(start, last) == _latest(start_said, last)
    hits = np.zeros(len(end), dtype=np.bool_)
    hits[last[same]] = True
    return {
        "hits": both.per_sentence(hits),
        "predicted": both.per_sentence(end_said),
        "gold": both.per_sentence(end),
    }


def _latest(marks: Bools, places: Ints) -> Ints:
    """The last marked place before each of some places, shape ``(places,)``; 0 where there is none."""
    latest: Ints = np.maximum.accumulate(np.where(marks, np.arange(len(marks)), 0))[places - 1]
    return latest


def entities(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """Per sentence the numbers of right, predicted and gold entities by strict IOB2, each of shape ``(sentences,)``.

    Raises:
        DataError: A tag is not O, B-TYPE or I-TYPE, or a sentence has another number of tags than gold.

    >>> parts = entities([["B-PER", "I-PER", "O"]], [["B-PER", "I-PER", "I-LOC"]])
    >>> {name: part.tolist() for name, part in parts.items()}
    {'hits': [1.0], 'predicted': [1.0], 'gold': [1.0]}
    """
    both = _tagged(gold, predictions)
    for tag in both.tags:
        if tag != "O" and not (tag.startswith(("B-", "I-")) and len(tag) > 2):
            raise DataError(f"the tag {tag!r} is not O, B-TYPE or I-TYPE; entities are read from IOB2 tags")
    number = {name: place for place, name in enumerate(dict.fromkeys(tag[2:] for tag in both.tags))}
    types = np.array([number[tag[2:]] for tag in both.tags], dtype=np.int32)
    letters = np.array([_LETTERS.index(tag[0]) for tag in both.tags], dtype=np.int8)
    (begin, ends), (begin_said, ends_said) = (
        _strict(line, letters, types) for line in (both.gold, both.predicted)
    )
    shared = np.flatnonzero(begin & begin_said)
    same = types[both.gold[shared]] == types[both.predicted[shared]]
    same &= _next(ends, shared) == _next(ends_said, shared)
    hits = np.zeros(len(begin), dtype=np.bool_)
    hits[shared[same]] = True
    return {
        "hits": both.per_sentence(hits),
        "predicted": both.per_sentence(begin_said),
        "gold": both.per_sentence(begin),
    }


def _strict(
    line: NDArray[np.int32], letters: NDArray[np.int8], types: NDArray[np.int32]
) -> tuple[Bools, Ints]:
    """Where an entity begins, and every place that continues nothing."""
    letter, kind = letters[line], types[line]
    goes_on = (letter == _LETTERS.index("I")) & (np.concatenate(([_OUTSIDE], letter[:-1])) != _OUTSIDE)
    goes_on[1:] &= kind[1:] == kind[:-1]
    return letter == _LETTERS.index("B"), np.flatnonzero(~goes_on)


def _next(places: Ints, after: Ints) -> Ints:
    """The first of some places behind each of others."""
    following: Ints = places[np.searchsorted(places, after, side="right")]
    return following


def tokens(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """Per sentence the numbers of right tags and of all tags, each of shape ``(sentences,)``."""
    both = _tagged(gold, predictions)
    length = np.diff(np.append(both.first, len(both.gold))) - 1
    # The O behind each sentence is right by itself.
    hits = both.per_sentence(both.gold == both.predicted) - 1
    return {"hits": hits, "tokens": length.astype(np.float64)}


def token_classes(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """Per sentence and tag ``hits.TAG``, ``predicted.TAG`` and ``gold.TAG``, counts of shape ``(sentences,)``."""
    both = _tagged(gold, predictions)
    inside = np.ones(len(both.gold), dtype=np.bool_)
    inside[np.append(both.first[1:], len(inside)) - 1] = False
    parts: dict[str, NDArray[np.float64]] = {}
    for number, tag in enumerate(both.tags):
        true, said = (inside & (line == number) for line in (both.gold, both.predicted))
        if true.any() or said.any():
            parts[f"hits.{tag}"] = both.per_sentence(true & said)
            parts[f"predicted.{tag}"] = both.per_sentence(said)
            parts[f"gold.{tag}"] = both.per_sentence(true)
    return parts


_CHUNKS = (
    "in percent; chunks as seqeval 0.0.12 reads them, of all sentences together. Paper: Hu et al. 2020 (XTREME, "
    "arXiv 2003.11080). Official scorer: f1 in google-research/xtreme evaluate.py with seqeval 0.0.12."
)
TAGGING = (
    Metric(
        name="tag_f1",
        signature="tag_f1|seqeval-0.0.12|v1",
        parts=chunks,
        combine=f1,
        itemwise=True,
        doc=f"F1 of chunks of tags, {_CHUNKS}",
    ),
    Metric(
        name="tag_precision",
        signature="tag_precision|seqeval-0.0.12|v1",
        parts=chunks,
        combine=precision,
        itemwise=True,
        doc=f"Share of the predicted chunks that are right, {_CHUNKS}",
    ),
    Metric(
        name="tag_recall",
        signature="tag_recall|seqeval-0.0.12|v1",
        parts=chunks,
        combine=recall,
        itemwise=True,
        doc=f"Share of the gold chunks that are found, {_CHUNKS}",
    ),
    Metric(
        name="entity_f1",
        signature="entity_f1|iob2-strict|v1",
        parts=entities,
        combine=f1,
        itemwise=True,
        doc="F1 of named entities, in percent, of all sentences together; strict IOB2: an I- that continues no entity of "
        "its type is ignored. Paper: Tjong Kim Sang & De Meulder 2003 (CoNLL-2003 shared task). "
        "Official scorer: seqeval 1.2.2 with mode='strict', scheme=IOB2.",
    ),
    Metric(
        name="token_accuracy",
        signature="token_accuracy|micro|v1",
        parts=tokens,
        combine=lambda means: ratio(means["hits"], means["tokens"]),
        itemwise=True,
        doc="Share of the tokens whose tag is right, in percent, of all sentences together. "
        "Paper: Nivre et al. 2020 (Universal Dependencies v2, LREC). Official scorer: UPOS in the CoNLL 2018 shared "
        "task's evaluation script, on gold tokens.",
    ),
    Metric(
        name="token_macro_f1",
        signature="token_macro_f1|sklearn|v1",
        parts=token_classes,
        combine=macro_f1,
        itemwise=True,
        doc="Plain mean over tags of each tag's F1 over tokens, in percent; tags are those in gold or predictions. "
        "Paper: van Rijsbergen 1979 (Information Retrieval, chapter 7) for F1. "
        "Official scorer: f1_score(average='macro', zero_division=0) in scikit-learn.",
    ),
)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """Chunk F1, precision and recall; entity F1; token accuracy and macro-F1."""
    return TAGGING
