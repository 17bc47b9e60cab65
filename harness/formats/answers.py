"""Reads answers from start and end scores: the best span over all windows of a context. Knows no question and no model."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.arrays import NDArray, np
from harness.formats.base import Json, Predictions, Reader
from harness.formats.pairs import Allowed, Pairs, all_pairs, highest, ranked_pairs
from harness.formats.rows import Ints, Pieces, Rows
from harness.formats.windows import most_context

# Tokens whose scores are read together.
_TOKENS_AT_ONCE = 1 << 16


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
        self._solid = rows.solid.astype(np.int32) if len(rows.solid) else np.zeros((1, 2), dtype=np.int32)
        self._score = np.full(len(rows.owner), -np.inf)
        self._null = np.zeros(len(rows.owner))
        self._ranked = np.zeros(len(rows.owner), dtype=np.bool_)
        self._answered = np.zeros(len(ids), dtype=np.bool_)
        self._first, self._last = (np.zeros(len(rows.owner), dtype=np.int64) for _ in range(2))
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        self._tokens = 0

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        # A batch of a CPU is too small for arrays to pay off, so some wait for each other.
        self._waiting.append((chosen, scores))
        self._tokens += scores.shape[0] * scores.shape[1]
        if self._tokens >= _TOKENS_AT_ONCE:
            self._read_waiting()

    def _read_waiting(self) -> None:
        waiting, self._waiting, self._tokens = self._waiting, [], 0
        if not waiting:
            return
        chosen = np.concatenate([rows for rows, _ in waiting])
        length = int(self._rows.lengths[chosen].max())
        both = np.empty((2, len(chosen), length), dtype=np.float32)
        begin = 0
        for rows, scores in waiting:
            both[:, begin : begin + len(rows), : scores.shape[1]] = scores[:, :length].transpose(2, 0, 1)
            begin += len(rows)
        np.copyto(both, -np.inf, where=np.arange(length) >= self._rows.lengths[chosen][:, None])
        self._read(chosen, both[0], both[1])

    def _read(self, chosen: Ints, start: NDArray[np.float32], end: NDArray[np.float32]) -> None:
        starts, ends = (highest(scores, self._settings.best) for scores in (start, end))
        pairs = ranked_pairs(start, end, starts, ends, self._allowed(chosen, starts, ends))
        ranked, owner = np.isfinite(pairs.score), self._rows.owner[chosen]
        self._ranked[chosen] = ranked
        self._answered[owner[ranked]] = True
        self._keep(chosen, pairs)
        # All pairs of a row count only where its question has no ranked one.
        rest = np.flatnonzero(~self._answered[owner])
        if len(rest):
            every = np.tile(np.arange(start.shape[1]), (len(rest), 1))
            allowed = self._allowed(chosen[rest], every, every)
            self._keep(chosen[rest], all_pairs(start[rest], end[rest], allowed))
        self._null[chosen] = start[:, 0].astype(np.float64) + end[:, 0]

    def _keep(self, chosen: Ints, pairs: Pairs) -> None:
        rows = self._rows
        self._score[chosen] = pairs.score
        place = rows.pieces.starts[rows.context[rows.owner[chosen]]] + rows.first[chosen] - rows.at[chosen]
        self._first[chosen], self._last[chosen] = place + pairs.start, place + pairs.end

    def _allowed(self, chosen: Ints, starts: Ints, ends: Ints) -> Allowed:
        """What the tokens in some columns of some rows may be."""
        rows = self._rows
        example = rows.owner[chosen]
        context, room, first = rows.context[example], rows.room[example], rows.first[chosen]
        step = np.minimum(self._settings.stride, room)
        opened, begins = self._held(chosen, starts)
        closed, finishes = self._held(chosen, ends)
        number = begins - rows.pieces.starts[context][:, None]
        window = most_context(number, rows.pieces.counts[context][:, None], room[:, None], step[:, None])
        return Allowed(
            start=opened & (window == (first // step)[:, None]),
            end=closed,
            before=self._solid[np.where(opened, begins, 0), 0],
            behind=self._solid[np.where(closed, finishes, 0), 1],
            longest=self._settings.max_answer,
        )

    def _held(self, chosen: Ints, columns: Ints) -> tuple[NDArray[np.bool_], Ints]:
        """Whether the tokens in some columns are the context's, and their numbers among the pieces of all contexts."""
        rows = self._rows
        inside = columns - rows.at[chosen][:, None]
        begin = rows.pieces.starts[rows.context[rows.owner[chosen]]] + rows.first[chosen]
        return (inside >= 0) & (inside < rows.count[chosen][:, None]), inside + begin[:, None]

    def predictions(self) -> list[Predictions]:
        self._read_waiting()
        owner, pieces = self._rows.owner, self._rows.pieces
        first = np.searchsorted(owner, np.arange(len(self._ids)))
        best = np.lexsort((-self._score, ~self._ranked, owner))[first]
        null = np.minimum.reduceat(self._null, first) if len(first) else self._null
        begin, last = self._first[best], self._last[best]
        found = np.isfinite(self._score[best])
        # Where nothing was found the places are not a context's; they are not used.
        begin, last = np.where(found, begin, 0), np.where(found, last, 0)
        if not len(pieces.ids):
            begins = ends = limits = [0] * len(best)
        else:
            behind = pieces.starts[self._rows.context + 1]
            sizes = np.array([len(context) for context in self._contexts], dtype=np.int64)
            following = pieces.begin[np.minimum(last + 1, len(pieces.ids) - 1)]
            begins, ends = pieces.begin[begin].tolist(), pieces.end[last].tolist()
            limits = np.where(last + 1 < behind, following, sizes).tolist()
        values = [
            self._value(*answer)
            for answer in zip(
                self._contexts, self._score[best].tolist(), null.tolist(), begins, ends, limits, strict=True
            )
        ]
        return [Predictions(view="", ids=self._ids, gold=self._gold, values=values)]

    def _value(self, context: str, score: float, nothing: float, begin: int, end: int, limit: int) -> Json:
        if score == -np.inf:
            return {"text": "", "start": 0, "score": nothing, "no_answer": 0.0}
        if self._settings.no_answer and nothing > score:
            return {"text": "", "start": 0, "score": score, "no_answer": nothing - score}
        # The combining marks on the last character belong to it; some tokenizers drop them.
        while end < limit and unicodedata.category(context[end]).startswith("M"):
            end += 1
        text = context[begin:end]
        return {
            "text": text.strip(),
            "start": begin + len(text) - len(text.lstrip()),
            "score": score,
            "no_answer": nothing - score,
        }
