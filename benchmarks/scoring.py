"""Times scores against the usual way of computing them: token by token, text by text, pair by pair.

    python benchmarks/scoring.py [--tokens 1000000] [--questions 10000] [--pairs 20000] [--rounds 5]

Tag F1 is measured against seqeval where it is installed (0.0.12 gives the same number, later versions another), else
against the same rules as a Python loop. Answers are measured against SQuAD's rules applied to each pair of texts, as its
script does. Margin scores (the ratio of a pair's cosine to the mean of both sides' four neighbours') are measured against
the loop over candidates that mining scripts have, both from the neighbours on. Both sides give the same numbers from the same
lists; each round has data of its own.
"""

from __future__ import annotations

import importlib.util
import re
import string
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import sidebyside
from harness_metrics.answers import ANSWERS
from harness_metrics.counts import f1
from harness_metrics.tagging import chunks
from sidebyside import Case, Json, Ready, Row, compared, in_turn, tell

from harness.search import BothWays

PARTS_OF_SPEECH = "NOUN VERB ADJ ADP DET PROPN PUNCT PRON AUX ADV CCONJ SCONJ NUM PART INTJ SYM X".split()
ENTITIES = "O O O O O O O B-PER I-PER B-LOC I-LOC B-ORG I-ORG".split()
WORDS = (
    "The a river bank, of the north; city «New» York 1889 (in) water's edge state-owned and council.".split()
)
Sentences = list[list[str]]


def main() -> None:
    """Run the rounds and print the rows, or be one way's worker."""
    options = sidebyside.parser(__doc__, rounds=5)
    options.add_argument("--tokens", type=int, default=1_000_000)
    options.add_argument("--questions", type=int, default=10_000)
    options.add_argument("--pairs", type=int, default=20_000)
    chosen = options.parse_args()
    if chosen.worker:
        sidebyside.serve(chosen.worker, prepare)
        return
    tell(rows(chosen), chosen)


def rows(options: Namespace) -> Iterator[Row]:
    """The harness against the usual way, for each score."""
    sizes = {
        "tags": options.tokens,
        "entities": options.tokens,
        "answers": options.questions,
        "margins": options.pairs,
    }
    tagger = "seqeval" if importlib.util.find_spec("seqeval") is not None else "plain loop"
    usual = {"tags": tagger, "entities": tagger, "answers": "SQuAD's way", "margins": "loop over candidates"}
    for name, what in WHATS.items():
        case = {"name": name, "size": sizes[name]}
        cases = {way: {**case, "way": way} for way in ("harness", usual[name])}
        turns = in_turn(__file__, cases, options.rounds, warm={"size": 200})
        values = [[turn.said for turn in turns[way]] for way in cases]
        if not np.allclose(values[0], values[1], rtol=1e-9):
            raise SystemExit(f"{what}: the two sides disagree: {values}")
        note = f"the same value, {values[0][-1]:.6f}"
        yield compared(f"{what}, {sizes[name]:,}", turns, *cases, kind="speed", note=note)


def prepare(case: Case) -> Ready:
    """A turn scores data of its own, for the harness remembers the last."""
    make, ours, usual = SCORES[case["name"]]
    seeds = iter(range(1_000))
    score = ours if case["way"] == "harness" else usual

    def ready() -> Callable[[], Json]:
        data = make(case["size"], next(seeds))
        return lambda: float(score(*data))

    return ready


def _tagged(tags: Sequence[str], tokens: int, seed: int) -> tuple[Sentences, Sentences]:
    """Sentences of 5 to 35 tokens, 85 percent of the predictions right."""
    random = np.random.default_rng(seed)
    gold = random.integers(0, len(tags), tokens)
    said = np.where(random.random(tokens) < 0.85, gold, random.integers(0, len(tags), tokens))
    borders = np.cumsum(random.integers(5, 36, tokens // 20))
    names = np.array(tags, dtype=object)
    first, second = (
        [part.tolist() for part in np.split(names[line], borders[borders < tokens])] for line in (gold, said)
    )
    return first, second


def _tag_f1(gold: Sentences, said: Sentences) -> float:
    return f1({name: float(part.sum()) for name, part in chunks(gold, said).items()})


def _usual_tagging(gold: Sentences, said: Sentences) -> float:
    if importlib.util.find_spec("seqeval") is None:
        return _loop_f1(gold, said)
    from seqeval.metrics import sequence_labeling  # type: ignore[import-not-found]

    return float(sequence_labeling.f1_score(gold, said))


def _loop_f1(gold: Sentences, said: Sentences) -> float:
    true, found = _loop_chunks(gold), _loop_chunks(said)
    return 2 * len(true & found) / (len(true) + len(found))


def _loop_chunks(sentences: Sentences) -> set[tuple[str, int, int]]:
    found = set()
    before, kind, begin = "O", "", 0
    for place, tag in enumerate([tag for sentence in sentences for tag in [*sentence, "O"]]):
        letter, type_ = tag[0], tag.split("-")[-1]
        differs = kind != type_
        if before in "ES" or (before in "BI" and letter in "BSO") or (before not in "O." and differs):
            found.add((kind, begin, place - 1))
        if letter in "BS" or (before in "ESO" and letter in "EI") or (letter not in "O." and differs):
            begin = place
        before, kind = letter, type_
    return found


def _answered(questions: int, seed: int) -> tuple[list[Any], list[Any]]:
    """Answers of 1 to 6 words, a third of the predictions right, the others longer, shorter or elsewhere."""
    random = np.random.default_rng(seed)
    gold, said = [], []
    for number in range(questions):
        words = [WORDS[index] for index in random.integers(0, len(WORDS), random.integers(1, 7))]
        answers = [" ".join([*words, str(number)])]
        begin, end = random.integers(0, 3), random.integers(0, 3)
        other = [*words[begin:], str(number - int(end)), *WORDS[:end]]
        gold.append({"answers": answers, "language": "en"})
        said.append({"text": answers[0] if number % 3 == 0 else " ".join(other)})
    return gold, said


def _answers(gold: list[Any], said: list[Any]) -> float:
    metrics = [metric for metric in ANSWERS if metric.name.startswith("squad_")]
    means = [float(part.mean()) for metric in metrics for part in metric.parts(gold, said).values()]
    return sum(means) / len(means)


_PUNCTUATION = set(string.punctuation)


def _normal(text: str) -> str:
    kept = "".join(one for one in text.lower() if one not in _PUNCTUATION)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def _pair_f1(said: str, gold: str) -> float:
    one, two = _normal(said).split(), _normal(gold).split()
    shared = sum((Counter(one) & Counter(two)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(one), shared / len(two)
    return 2 * precision * recall / (precision + recall)


def _usual_answers(gold: list[Any], said: list[Any]) -> float:
    exact = best = 0.0
    for answer, prediction in zip(gold, said, strict=True):
        exact += max(_normal(prediction["text"]) == _normal(text) for text in answer["answers"])
        best += max(_pair_f1(prediction["text"], text) for text in answer["answers"])
    return (exact + best) / 2 / len(gold)


def _candidates(pairs: int, seed: int) -> tuple[BothWays]:
    """Four neighbours of each of so many sources and targets, with made-up cosines."""
    random = np.random.default_rng(seed)
    cosines = [np.sort(random.random((pairs, 4)))[:, ::-1] for _ in range(2)]
    places = [random.integers(0, pairs, (pairs, 4)) for _ in range(2)]
    return (
        BothWays(forward=cosines[0], forward_rows=places[0], backward=cosines[1], backward_rows=places[1]),
    )


def _margins(both: BothWays) -> float:
    return float(both.best_forward("ratio")[1].mean())


def _usual_margins(both: BothWays) -> float:
    mine, theirs = both.forward.mean(axis=1), both.backward.mean(axis=1)
    total = 0.0
    for row in range(len(mine)):
        scores = [
            both.forward[row, place] / ((mine[row] + theirs[other]) / 2)
            for place, other in enumerate(both.forward_rows[row])
        ]
        total += max(scores)
    return float(total / len(mine))


WHATS = {
    "tags": "tag F1, parts of speech",
    "entities": "tag F1, entities",
    "answers": "SQuAD EM and F1",
    "margins": "margin scores",
}
# What makes the data from a size and a seed, the harness's way, the usual one.
SCORES: Mapping[str, tuple[Callable[..., Any], Callable[..., float], Callable[..., float]]] = {
    "tags": (partial(_tagged, PARTS_OF_SPEECH), _tag_f1, _usual_tagging),
    "entities": (partial(_tagged, ENTITIES), _tag_f1, _usual_tagging),
    "answers": (_answered, _answers, _usual_answers),
    "margins": (_candidates, _margins, _usual_margins),
}

if __name__ == "__main__":
    main()
