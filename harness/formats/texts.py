"""Plain texts and translation pairs for masked language modelling. Knows texts; knows no file, no model and no metric.

Nothing is predicted: a task with this format is trained on and never scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from harness.arrays import NDArray, np
from harness.errors import ModelError
from harness.formats.base import Head, Json
from harness.formats.classification import longest_first
from harness.formats.drawn import DrawnFormat, DrawnRows, Text
from harness.formats.rows import (
    IGNORED,
    Ints,
    Part,
    Pieces,
    Rows,
    Template,
    Tokenizer,
    assembled,
    fixed,
    require_room,
    sizes_to_starts,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRows(DrawnRows):
    """Rows of texts, and what may be masked in them.

    Attributes:
        maskable: Whether a token may be chosen for guessing: it is neither special nor the unknown token. At least one
            in each row; bool, shape ``(tokens,)``.
    """

    maskable: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts(DrawnFormat):
    """Texts whose hidden tokens are guessed: masked language modelling, and with translations that of translation pairs.

    A pair stands in one row, as any two texts do for this tokenizer, and either side helps to guess the other (TLM;
    Conneau & Lample 2019, arXiv 1901.07291, section 3.3). Positions run on through both sides and no language embedding
    is added, unlike there.

    Attributes:
        pack: Whether lone texts of one language that follow one another share a row as far as they fit, with the special
            tokens that end a text behind each: RoBERTa's full sentences over the borders of documents (Liu et al. 2019,
            arXiv 1907.11692, section 4.2). Most training text is one sentence a line, which alone gives little context.
        share: Of the tokens that are guessed (see :func:`harness.formats.masking.masked`).
    """

    name: ClassVar[str] = "texts"
    version: ClassVar[int] = 1
    allowed: ClassVar[Mapping[str, str]] = {
        **DrawnFormat.allowed,
        "share": "a number above 0 and at most 1",
    }

    pack: bool = True
    share: float = 0.15

    def _fits(self) -> Mapping[str, bool]:
        # Not super(), which a class with slots has not.
        return {"share": 0 < self.share <= 1, **DrawnFormat._fits(self)}

    @property
    def head(self) -> Head:
        """One score per entry of the vocabulary for each token."""
        return Head(kind="vocabulary")

    @property
    def settings(self) -> Mapping[str, Json]:
        """Whether texts are packed, the share of hidden tokens and the exponent of language sampling."""
        return {"pack": self.pack, "share": self.share, "alpha": self.alpha}

    def texts(self, example: Text) -> tuple[str, ...]:
        """The text, or both sides."""
        return (example.text, example.other) if example.other else (example.text,)

    def encode(self, examples: Sequence[Text], tokenizer: Tokenizer, max_length: int) -> TextRows:
        """Rows that together hold every lone text whole, cut where a row ends, and every pair as far as it fits.

        A pair that is too long is cut as Hugging Face's ``longest_first`` cuts it: the longer side first. What has no token
        that could be guessed gives no row and is counted as lost. Where texts are packed, a row's owner is the first of them.

        Raises:
            ModelError: The tokenizer has no mask token.
            UsageError: ``max_length`` leaves no room between the special tokens.
        """
        template, special = tokenizer.template, _special(tokenizer)
        texts = [self.texts(example) for example in examples]
        pieces = tokenizer.pieces([text for pair in texts for text in pair])
        maskable = ~np.isin(pieces.ids, special)
        languages = tuple(sorted({example.language for example in examples}))
        chunks = _chunks(texts, pieces, maskable, template, max_length)
        numbers = {code: number for number, code in enumerate(languages)}
        language = np.array([numbers[example.language] for example in examples], dtype=np.int64)
        begin = _row_begins(chunks, language[chunks.owner], template, max_length if self.pack else 0)
        first = np.zeros(len(chunks.owner), dtype=np.bool_)
        first[begin] = True
        ids, segments, starts = assembled(_layout(template, chunks, pieces.ids, first), tokenizer.unknown)
        owner = chunks.owner[begin]
        return TextRows(
            ids=ids,
            segments=segments,
            starts=starts[np.append(begin, len(chunks.owner))],
            owner=owner,
            maskable=~np.isin(ids, special),
            languages=languages,
            language=language[owner],
            health={
                "examples": len(examples),
                "rows": len(begin),
                "pieces": len(pieces.ids),
                "unknown": int(pieces.occurrences(tokenizer.unknown).sum()),
                "words": sum(len(text.split()) for pair in texts for text in pair),
                "truncated": chunks.truncated,
                "lost": len(examples) - len(np.unique(chunks.owner)),
            },
        )

    def targets(self, examples: Sequence[Text], rows: Rows) -> Ints:
        """Nothing to learn before masks are drawn: :data:`IGNORED` for each token, shape ``(len(rows.ids),)``."""
        return np.full(len(rows.ids), IGNORED, dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chunks:
    """What goes into rows undivided: a lone text or a part of it, or a pair. Arrays of shape ``(chunks,)``.

    Their pieces begin at ``first`` and, for the other side, at ``second``; ``truncated`` pairs were cut.
    """

    owner: Ints
    paired: NDArray[np.bool_]
    first: Ints
    first_count: Ints
    second: Ints
    second_count: Ints
    truncated: int


def _special(tokenizer: Tokenizer) -> Ints:
    """Ids that are never masked, wherever they stand."""
    if tokenizer.mask is None:
        raise ModelError(
            "the tokenizer has no mask token, so the model cannot learn by masked language modelling; "
            "take a model that was trained so, such as xlm-roberta-base"
        )
    around = [
        identity for part in (*tokenizer.template.single, *tokenizer.template.pair) for identity in part
    ]
    unknown = () if tokenizer.unknown is None else (tokenizer.unknown,)
    return np.array([*around, tokenizer.mask, *unknown], dtype=np.int64)


def _chunks(
    texts: Sequence[tuple[str, ...]],
    pieces: Pieces,
    maskable: NDArray[np.bool_],
    template: Template,
    max_length: int,
) -> _Chunks:
    """Lone texts divided into what fits into a row, and pairs cut to it; without those that have nothing maskable."""
    paired = np.array([len(pair) == 2 for pair in texts], dtype=np.bool_)
    special = np.where(paired, template.pair_size, template.single_size)
    require_room(max_length, int(special.max(initial=0)))
    one = sizes_to_starts([len(pair) for pair in texts])[:-1]
    # Of a lone text the second side has no piece; any place will do for where it begins.
    other = np.minimum(one + paired, max(0, len(pieces.counts) - 1))
    counts = pieces.counts[one], np.where(paired, pieces.counts[other], 0)
    room = max_length - special
    kept = [
        np.where(paired, short, count)
        for short, count in zip(longest_first(*counts, room), counts, strict=True)
    ]
    needed = np.where(paired, 1, -(-kept[0] // room))
    owner = np.repeat(np.arange(len(texts)), needed)
    done = (np.arange(len(owner)) - np.repeat(np.cumsum(needed) - needed, needed)) * room[owner]
    first, second = pieces.starts[one][owner] + done, pieces.starts[other][owner]
    first_count = np.minimum(kept[0][owner] - done, room[owner])
    second_count = kept[1][owner]
    before = np.concatenate([[0], np.cumsum(maskable)])
    usable = (before[first + first_count] > before[first]) | (before[second + second_count] > before[second])
    return _Chunks(
        owner=owner[usable],
        paired=paired[owner[usable]],
        first=first[usable],
        first_count=first_count[usable],
        second=second[usable],
        second_count=second_count[usable],
        truncated=int(np.count_nonzero(kept[0] + kept[1] < counts[0] + counts[1])),
    )


def _row_begins(chunks: _Chunks, language: Ints, template: Template, max_length: int) -> Ints:
    """The chunk with which each row begins, when each takes the next ones of its language as long as they fit.

    Args:
        max_length: Tokens per row, 0 for one chunk per row.
    """
    number = len(chunks.owner)
    if not max_length or not number:
        return np.arange(number, dtype=np.int64)
    before, behind = map(len, template.single)
    ends = np.cumsum(chunks.first_count + behind)
    # A change of language, and a pair on either side, is a border.
    border = (np.diff(language) != 0) | chunks.paired[1:] | chunks.paired[:-1]
    limits = np.append(np.flatnonzero(border) + 1, number)
    limit = limits[np.searchsorted(limits, np.arange(number), side="right")]
    start = ends - chunks.first_count - behind
    reach = np.searchsorted(ends, start + max_length - before, side="right")
    following = np.maximum(np.minimum(reach, limit), np.arange(1, number + 1)).tolist()
    begins, place = [], 0
    while place < number:
        begins.append(place)
        place = following[place]
    return np.array(begins, dtype=np.int64)


def _layout(
    template: Template, chunks: _Chunks, ids: NDArray[np.int32], first: NDArray[np.bool_]
) -> list[Part]:
    """The parts of lone texts and of pairs, in one order that serves both; ``first``: whether a chunk begins a row."""
    paired, segment = chunks.paired, int(template.segments)
    return [
        fixed(template.single[0], first & ~paired),
        fixed(template.pair[0], paired),
        Part(ids=ids, begin=chunks.first, count=chunks.first_count),
        fixed(template.single[1], ~paired),
        fixed(template.pair[1], paired),
        Part(ids=ids, begin=chunks.second, count=chunks.second_count, segment=segment),
        fixed(template.pair[2], paired, segment),
    ]
