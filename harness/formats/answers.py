"""Reads answers from start and end scores: the best span over all windows of a context. Knows no question and no model."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness.formats.base import Json, Predictions, Reader
from harness.formats.pairs import Allowed, Pairs, all_pairs, ranked_pairs
from harness.formats.rows import Ints, Pieces, Rows
from harness.formats.windows import most_context


class AnswerSettings(Protocol):
    """What decides which spans are looked at; the fields of :class:`harness.formats.spans.Spans`."""

    @property
    def stride(self) -> int:
        """Tokens between the beginnings of two windows."""
        ...

    @property
    def best(self) -> int:
        """Starts and ends of a row of which answers are made up."""
        ...

    @property
    def max_answer(self) -> int:
        """Tokens of an answer at most."""
        ...

    @property
    def no_answer(self) -> bool:
        """Whether there may be none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRows(Rows):
    """Windows of contexts, each behind its question. A context that several examples share is held once.

    Attributes:
        pieces: Sub-words of the distinct contexts.
        solid: For each piece how many characters of all contexts up to its beginning, and up to its end, are no white
            space, shape ``(pieces, 2)``.
        context: For each example the number of its context, shape ``(examples,)``.
        room: For each example the context pieces that fit into a row beside its question, same shape.
        answer: First and last piece of the first gold answer, counted in its own context; -1 where there is none or no
            piece covers it; shape ``(examples, 2)``.
        at: Position in each row at which the context begins, shape ``(rows,)``.
        first: Number of each row's first context piece, counted in its context, shape ``(rows,)``.
        count: Context pieces of each row, shape ``(rows,)``.
    """

    pieces: Pieces
    solid: Ints
    context: Ints
    room: Ints
    answer: Ints
    at: Ints
    first: Ints
    count: Ints


class AnswerReader(Reader):
    """Keeps the best pair of each row, as numbers of pieces of all contexts."""

    def __init__(
        self,
        rows: SpanRows,
        *,
        ids: Sequence[str],
        gold: Sequence[Json],
        contexts: Sequence[str],
        settings: AnswerSettings,
    ) -> None:
        """Ids, gold answers and contexts are those of the examples, in order."""
        self._settings = settings
        self._ids, self._gold, self._contexts = ids, gold, contexts
        self._rows = rows
        # Places outside a context are looked up as well, so there is one to look at where no context has a piece.
        self._solid = rows.solid if len(rows.solid) else np.zeros((1, 2), dtype=np.int64)
        self._score = np.full(len(rows.owner), -np.inf)
        self._null = np.zeros(len(rows.owner))
        self._ranked = np.zeros(len(rows.owner), dtype=np.bool_)
        self._first, self._last = (np.zeros(len(rows.owner), dtype=np.int64) for _ in range(2))

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        rows = self._rows
        behind = np.arange(scores.shape[1]) >= rows.lengths[chosen][:, None]
        start, end = (np.where(behind, np.float32(-np.inf), scores[:, :, side]) for side in (0, 1))
        place, allowed = self._allowed(chosen, scores.shape[1])
        pairs = ranked_pairs(start, end, allowed, self._settings.best)
        self._ranked[chosen] = np.isfinite(pairs.score)
        self._keep(chosen, place, pairs)
        rest = np.flatnonzero(~np.isfinite(pairs.score))
        if len(rest):
            self._keep(chosen[rest], place[rest], all_pairs(start[rest], end[rest], allowed.of(rest)))
        self._null[chosen] = scores[:, 0].sum(axis=1, dtype=np.float64)

    def _keep(self, chosen: Ints, place: Ints, pairs: Pairs) -> None:
        lines = np.arange(len(chosen))
        self._score[chosen] = pairs.score
        self._first[chosen], self._last[chosen] = place[lines, pairs.start], place[lines, pairs.end]

    def _allowed(self, chosen: Ints, length: int) -> tuple[Ints, Allowed]:
        """For each token of some rows its number among the pieces of all contexts, and what it may be."""
        rows = self._rows
        example = rows.owner[chosen]
        context, room = rows.context[example], rows.room[example]
        step = np.minimum(self._settings.stride, room)
        inside = np.arange(length) - rows.at[chosen][:, None]
        held = (inside >= 0) & (inside < rows.count[chosen][:, None])
        inside += rows.first[chosen][:, None]
        window = most_context(inside, rows.pieces.counts[context][:, None], room[:, None], step[:, None])
        place = np.where(held, inside + rows.pieces.starts[context][:, None], 0)
        return place, Allowed(
            start=held & (window == (rows.first[chosen] // step)[:, None]),
            end=held,
            before=self._solid[place, 0],
            behind=self._solid[place, 1],
            longest=self._settings.max_answer,
        )

    def predictions(self) -> list[Predictions]:
        owner = self._rows.owner
        first = np.searchsorted(owner, np.arange(len(self._ids)))
        best = np.lexsort((-self._score, ~self._ranked, owner))[first]
        null = np.minimum.reduceat(self._null, first) if len(first) else self._null
        values = [
            self._value(context, row, nothing)
            for context, row, nothing in zip(self._contexts, best.tolist(), null.tolist(), strict=True)
        ]
        return [Predictions(view="", ids=self._ids, gold=self._gold, values=values)]

    def _value(self, context: str, row: int, nothing: float) -> Json:
        score, pieces = float(self._score[row]), self._rows.pieces
        if not np.isfinite(score):
            return {"text": "", "start": 0, "score": nothing, "no_answer": 0.0}
        if self._settings.no_answer and nothing > score:
            return {"text": "", "start": 0, "score": score, "no_answer": nothing - score}
        begin = int(pieces.begin[self._first[row]])
        text = context[begin : self._end(context, row)]
        return {
            "text": text.strip(),
            "start": begin + len(text) - len(text.lstrip()),
            "score": score,
            "no_answer": nothing - score,
        }

    def _end(self, context: str, row: int) -> int:
        """Behind the last piece's last character and the combining marks on it, which some tokenizers drop."""
        rows, last = self._rows, int(self._last[row])
        end = int(rows.pieces.end[last])
        more = last + 1 < rows.pieces.starts[rows.context[rows.owner[row]] + 1]
        limit = int(rows.pieces.begin[last + 1]) if more else len(context)
        while end < limit and unicodedata.category(context[end]).startswith("M"):
            end += 1
        return end
