"""Extractive question answering: the answer is a span of the context. Knows texts and offsets; knows no file, no model.

How contexts are divided and how answers are chosen follows BERT's SQuAD script, which XTREME's run_squad.py took over
(google-research/xtreme, third_party/processors/squad.py; transformers, squad_metrics.py), save that an answer is cut out
of the context by character offsets. The scripts put it together from tokens, which spoils Chinese (XTREME issue 38).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from harness.arrays import NDArray, np
from harness.errors import DataError, SpecError, UsageError
from harness.formats.answers import AnswerReader, SpanRows
from harness.formats.base import Example, Head, HeadFormat, Json, Reader
from harness.formats.passages import covering, solid_counts
from harness.formats.rows import Ints, Part, Pieces, Rows, Tokenizer, assembled, fixed
from harness.formats.windows import stepped

_SIZES = ("stride", "max_question", "best", "max_answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Example):
    """A question on a passage.

    Attributes:
        question: The question.
        context: The passage.
        answers: Gold answers, each the context's own characters at its start; none where there is no answer.
        starts: Character offset of each answer in the context.
        language: Of the context, for metrics that split words by language.
    """

    question: str
    context: str
    answers: tuple[str, ...]
    starts: tuple[int, ...]
    language: str


def question(row: Mapping[str, Json]) -> Question:
    """A row with ``id``, ``question``, ``context``, ``answers``, ``starts`` and ``language``.

    Raises:
        ValueError: An answer does not stand where its start says.
    """
    answers, starts = tuple(row["answers"]), tuple(row["starts"])
    for answer, start in zip(answers, starts, strict=True):
        if row["context"][start : start + len(answer)] != answer:
            raise ValueError(f"question {row['id']}: answer {answer!r} does not stand at character {start}")
    return Question(
        id=row["id"],
        question=row["question"],
        context=row["context"],
        answers=answers,
        starts=starts,
        language=row["language"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans(HeadFormat):
    """A span of the context per question, read from a start and an end score of every token.

    Attributes:
        stride: Tokens between the beginnings of two consecutive windows, as ``doc_stride`` in BERT's and XTREME's
            scripts. (In Hugging Face's tokenizers ``stride`` is the overlap, which is the room for the context less
            this.) Windows that would leave a gap are moved together.
        max_question: Tokens of a question at most; the rest of it is cut off.
        best: Starts and ends of each row, the highest, of which an answer is made up.
        max_answer: Tokens of an answer at most.
        no_answer: Whether a question may have no answer, as in SQuAD 2.0.
    """

    name: ClassVar[str] = "spans"
    version: ClassVar[int] = 1

    stride: int = 128
    max_question: int = 64
    best: int = 20
    max_answer: int = 30
    no_answer: bool = False

    def __post_init__(self) -> None:
        for name in _SIZES:
            if getattr(self, name) < 1:
                raise SpecError(f"format 'spans': {name} is {getattr(self, name)}; must be at least 1")

    @property
    def head(self) -> Head:
        """Two scores per token."""
        return Head(kind="span")

    @property
    def views(self) -> tuple[str, ...]:
        """One."""
        return ("",)

    @property
    def settings(self) -> Mapping[str, Json]:
        """All fields."""
        return asdict(self)

    def replaced(self, changes: Mapping[str, str]) -> Spans:
        """``stride``, ``max_question``, ``best`` and ``max_answer`` can be changed (see :meth:`Format.replaced`)."""
        values: dict[str, Any] = {}
        for name, text in changes.items():
            if name not in _SIZES:
                raise UsageError(f"no setting '{name}' here; there are {', '.join(_SIZES)}")
            if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
                raise UsageError(f"{name}={text}: must be a whole number of at least 1")
            values[name] = int(text)
        return replace(self, **values)

    def texts(self, example: Question) -> tuple[str, ...]:
        """The question and the context."""
        return example.question, example.context

    def encode(self, examples: Sequence[Question], tokenizer: Tokenizer, max_length: int) -> SpanRows:
        """As many rows per question as its context has windows, at least one.

        Raises:
            UsageError: ``max_length`` leaves no room for the context beside a question.
        """
        numbers: dict[str, int] = {}
        context = [numbers.setdefault(example.context, len(numbers)) for example in examples]
        questions = tokenizer.pieces([example.question for example in examples])
        pieces = tokenizer.pieces(list(numbers))
        read = _Read(
            questions=questions,
            asked=np.minimum(questions.counts, self.max_question),
            contexts=list(numbers),
            pieces=pieces,
            context=np.array(context, dtype=np.int64),
            total=pieces.counts[np.array(context, dtype=np.int64)],
        )
        room = max_length - tokenizer.template.pair_size - read.asked
        _check_room(examples, read.asked, room, tokenizer.template.pair_size, max_length)
        owner, first, count = stepped(read.total, room, np.minimum(self.stride, room))
        ids, segments, starts = assembled(_layout(read, tokenizer, owner, first, count), tokenizer.unknown)
        solid = solid_counts(read.contexts, pieces)
        answer = _answers(examples, read, solid)
        before, between, _ = tokenizer.template.pair
        return SpanRows(
            ids=ids,
            segments=segments,
            starts=starts,
            owner=owner,
            health={
                **_health(examples, read, tokenizer.unknown),
                "rows": len(owner),
                "lost": sum(map(_has_answer, examples))
                - len(np.unique(owner[_held(answer[owner], first, count)])),
            },
            pieces=pieces,
            solid=solid,
            context=read.context,
            room=room,
            answer=answer,
            at=len(before) + read.asked[owner] + len(between),
            first=first,
            count=count,
        )

    def targets(self, examples: Sequence[Question], rows: Rows) -> NDArray[np.int64]:
        """Positions of the first gold answer's first and last token in each row, shape ``(rows, 2)``.

        They are (0, 0), the row's first token, where the row does not hold the whole answer.

        Raises:
            DataError: A question has no answer, and the format does not allow that.
        """
        assert isinstance(rows, SpanRows)
        for example in examples:
            if not self.no_answer and not _has_answer(example):
                raise DataError(
                    f"question {example.id} has no answer to learn from; only a format with no_answer allows that"
                )
        answer = rows.answer[rows.owner]
        place = answer + (rows.at - rows.first)[:, None]
        return np.where(_held(answer, rows.first, rows.count)[:, None], place, 0)

    def reader(self, examples: Sequence[Question], rows: Rows) -> Reader:
        """The best span over all windows of a context.

        A token may begin an answer only in the window in which it has the most context, and a pair counts where its
        start is among the row's ``best`` highest starts and its end among the ``best`` highest ends, as in the SQuAD
        script. Where that leaves a question without any pair (the script answers ``empty``), all pairs count. Of pairs
        with equal scores the one in the first window, with the first start, with the first end. An answer of white
        space alone is none.

        Predictions are ``{"text", "start", "score", "no_answer"}``: the context's own characters without white space
        around them, the character offset of the first, the sum of both scores, and by how much the score of the row's
        first token (start and end, the smallest over all windows) exceeds that. The text is empty where the context has
        no piece, and, in a format with ``no_answer``, where the last of these is above 0.
        """
        assert isinstance(rows, SpanRows)
        return AnswerReader(
            rows,
            ids=[example.id for example in examples],
            gold=[{"answers": list(example.answers), "language": example.language} for example in examples],
            contexts=[example.context for example in examples],
            settings=self,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """Questions and distinct contexts as pieces.

    For each example: ``asked``, the pieces of its question that are kept; ``context``, the number of its context;
    ``total``, the pieces of that.
    """

    questions: Pieces
    asked: Ints
    contexts: list[str]
    pieces: Pieces
    context: Ints
    total: Ints


def _check_room(examples: Sequence[Question], asked: Ints, room: Ints, special: int, max_length: int) -> None:
    if len(room) and room.min() < 1:
        short = int(room.argmin())
        raise UsageError(
            f"a maximum length of {max_length} tokens leaves no room for the context of question "
            f"{examples[short].id}: the question takes {asked[short]} and special tokens {special}; "
            "raise the maximum length or lower the setting max_question"
        )


def _layout(read: _Read, tokenizer: Tokenizer, owner: Ints, first: Ints, count: Ints) -> list[Part]:
    everywhere = np.ones(len(owner), dtype=np.bool_)
    before, between, behind = tokenizer.template.pair
    segment = int(tokenizer.template.segments)
    begin = read.pieces.starts[read.context[owner]] + first
    return [
        fixed(before, everywhere),
        Part(ids=read.questions.ids, begin=read.questions.starts[owner], count=read.asked[owner]),
        fixed(between, everywhere),
        Part(ids=read.pieces.ids, begin=begin, count=count, segment=segment),
        fixed(behind, everywhere, segment),
    ]


def _has_answer(example: Question) -> bool:
    return bool(example.answers and example.answers[0])


def _answers(examples: Sequence[Question], read: _Read, solid: Ints) -> Ints:
    """First and last piece of each first answer, see :class:`SpanRows`."""
    begin = np.array([example.starts[0] if example.starts else 0 for example in examples], dtype=np.int64)
    size = [len(example.answers[0]) if example.answers else 0 for example in examples]
    end = begin + np.array(size, dtype=np.int64)
    return covering(read.contexts, read.pieces, solid, read.context, begin, end)


def _held(answer: Ints, first: Ints, count: Ints) -> NDArray[np.bool_]:
    """Whether a window holds all pieces of an answer."""
    held: NDArray[np.bool_] = (answer[:, 0] >= first) & (answer[:, 1] < first + count)
    return held


def _health(examples: Sequence[Question], read: _Read, unknown: int | None) -> dict[str, int]:
    words = np.array([len(text.split()) for text in read.contexts], dtype=np.int64)
    asked = read.questions.occurrences(unknown).sum()
    return {
        "examples": len(examples),
        "pieces": int(read.questions.counts.sum() + read.total.sum()),
        "unknown": int(asked + read.pieces.occurrences(unknown)[read.context].sum()),
        "words": sum(len(example.question.split()) for example in examples) + int(words[read.context].sum()),
        "truncated": int(np.count_nonzero(read.questions.counts > read.asked)),
    }
