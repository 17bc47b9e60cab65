"""Translation pairs of which each text has to be told which one is its translation. Knows texts; knows no file, no model.

Nothing is predicted: a task with this format is trained on and never scored.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from harness.arrays import np
from harness.errors import SpecError
from harness.formats.base import Head, Json
from harness.formats.drawn import DrawnFormat, DrawnRows, Text
from harness.formats.rows import (
    Ints,
    Part,
    Rows,
    Tokenizer,
    assembled,
    fixed,
    require_room,
    sizes_to_starts,
)
from harness.languages import PIVOT


@dataclass(frozen=True, slots=True, kw_only=True)
class BitextRows(DrawnRows):
    """Two rows for each pair: an English text, then its translation.

    Attributes:
        text: Number of each row's text, shape ``(rows,)``: rows with the same tokens have the same number. A text that
            has several translations stands in several pairs, none of which is wrong.
    """

    text: Ints

    @property
    def pair_language(self) -> Ints:
        """Number of the language that each pair is in beside English, shape ``(pairs,)``."""
        return self.language[1::2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bitexts(DrawnFormat):
    """Translation pairs, each of which is told apart from the others of its group (translation ranking).

    Of a group of pairs each text looks for its translation among the texts of the other side: cross entropy over cosines
    of mean-pooled vectors, divided by ``temperature``, the mean of both directions. Source: Guo et al. 2018 (arXiv
    1807.11906) for ranking among the others of a batch, Yang et al. 2019 (arXiv 1902.08564) for both directions and the
    margin; the temperature is that of Gao et al. 2021 (arXiv 2104.08821). LaBSE (Feng et al. 2022, arXiv 2007.01852) learns
    by such a loss.

    Attributes:
        group: Pairs in a group at most. A batch is made of whole groups, so that the loss does not depend on how many rows
            a device reads at once.
        temperature: See above.
        margin: By how much the cosine of a translation has to be above that of others: it is taken off beforehand.
    """

    name: ClassVar[str] = "bitexts"
    version: ClassVar[int] = 1
    allowed: ClassVar[Mapping[str, str]] = {
        **DrawnFormat.allowed,
        "group": "a whole number, at least 2",
        "temperature": "a number above 0",
        "margin": "a number from 0 to below 2",
    }

    group: int = 64
    temperature: float = 0.05
    margin: float = 0.0

    def _fits(self) -> Mapping[str, bool]:
        return {
            "group": self.group >= 2,
            "temperature": 0 < self.temperature < float("inf"),
            "margin": 0 <= self.margin < 2,
            # Not super(), which a class with slots has not.
            **DrawnFormat._fits(self),
        }

    @property
    def head(self) -> Head:
        """One vector per text; it has no weights of its own."""
        return Head(kind="vector")

    @property
    def settings(self) -> Mapping[str, Json]:
        """Size of a group, temperature, margin and the exponent of language sampling."""
        return {
            "group": self.group,
            "temperature": self.temperature,
            "margin": self.margin,
            "alpha": self.alpha,
        }

    def texts(self, example: Text) -> tuple[str, ...]:
        """Both sides."""
        return (example.text, example.other)

    def encode(self, examples: Sequence[Text], tokenizer: Tokenizer, max_length: int) -> BitextRows:
        """Two rows for each pair, each cut to ``max_length``; a pair of which a side has no token is lost.

        Raises:
            SpecError: An example is no pair.
            UsageError: ``max_length`` leaves no room between the special tokens.
        """
        _require_pairs(examples)
        template = tokenizer.template
        require_room(max_length, template.single_size)
        texts = [side for example in examples for side in self.texts(example)]
        pieces = tokenizer.pieces(texts)
        whole = (pieces.counts.reshape(-1, 2) > 0).all(axis=1)
        rows = np.flatnonzero(np.repeat(whole, 2))
        counts = pieces.counts[rows]
        kept = np.minimum(counts, max_length - template.single_size)
        every = np.ones(len(rows), dtype=np.bool_)
        ids, segments, starts = assembled(
            [
                fixed(template.single[0], every),
                Part(ids=pieces.ids, begin=pieces.starts[rows], count=kept),
                fixed(template.single[1], every),
            ],
            tokenizer.unknown,
        )
        codes = [code for example in examples for code in (PIVOT, example.language)]
        languages = tuple(sorted({PIVOT, *codes}))
        return BitextRows(
            ids=ids,
            segments=segments,
            starts=starts,
            owner=rows // 2,
            languages=languages,
            language=_numbered(codes, languages)[rows],
            text=_numbered([ids[start:end].tobytes() for start, end in pairwise(starts.tolist())]),
            health={
                "examples": len(examples),
                "rows": len(rows),
                "pieces": len(pieces.ids),
                "unknown": int(pieces.occurrences(tokenizer.unknown).sum()),
                "words": sum(len(side.split()) for side in texts),
                "truncated": len(np.unique(rows[kept < counts] // 2)),
                "lost": int(np.count_nonzero(~whole)),
            },
        )

    def targets(self, examples: Sequence[Text], rows: Rows) -> Ints:
        """Number of each row's text, shape ``(rows,)``: which text is another's translation, the order of rows says.

        Raises:
            SpecError: The rows are another format's.
        """
        if not isinstance(rows, BitextRows):
            raise SpecError(f"format 'bitexts': rows are {type(rows).__name__}, not BitextRows")
        return rows.text


def _numbered(values: Sequence[Hashable], known: Sequence[Hashable] = ()) -> Ints:
    """The number of each value among those that are known, and then in the order in which they come."""
    numbers = {value: number for number, value in enumerate(known)}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _require_pairs(examples: Sequence[Text]) -> None:
    lone = next((example for example in examples if not example.other), None)
    if lone is not None:
        raise SpecError(f"format 'bitexts': example '{lone.id}' has no translation; every example is a pair")


def grouped(pairs: Ints, language: Ints, group: int) -> tuple[Ints, Ints]:
    """Pairs in groups of nearly equal size, sorted by language: retrieval looks through texts of one language.

    Args:
        pairs: Numbers of pairs, shape ``(pairs,)``.
        language: The language of each of them, same shape.
        group: Pairs in a group at most.

    Returns:
        The pairs group after group, shape ``(pairs,)``, and the size of each group.

    >>> grouped(np.array([5, 6, 7, 8, 9]), np.array([1, 0, 1, 0, 1]), 2)[0].tolist()
    [6, 8, 5, 7, 9]
    >>> grouped(np.arange(5), np.zeros(5), 2)[1].tolist()
    [2, 2, 1]
    """
    number = -(-len(pairs) // group)
    sizes = np.full(number, len(pairs) // max(1, number), dtype=np.int64)
    sizes[: len(pairs) % max(1, number)] += 1
    return pairs[np.argsort(language, kind="stable")], sizes


def rows_of_pairs(pairs: Ints, sizes: Ints) -> Ints:
    """Row numbers of grouped pairs: of each group the English sides, then the translations in the same order.

    >>> rows_of_pairs(np.array([4, 0, 7]), np.array([2, 1])).tolist()
    [8, 0, 9, 1, 14, 15]
    """
    ends = sizes_to_starts(sizes.tolist())
    parts = [pairs[start:end] for start, end in pairwise(ends.tolist())]
    return np.concatenate([np.concatenate([2 * part, 2 * part + 1]) for part in parts] or [pairs])
