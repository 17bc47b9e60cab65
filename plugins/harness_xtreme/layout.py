"""XTREME's submission layout: how labels and predictions of each kind of task are written down, as ``Submission`` values.

Knows the files ``<task>/test-<language>.tsv|json`` of google-research/xtreme (``evaluate.py``) and the form in which the
metrics take answers. Knows no task, no metric and no folder.

Where XTREME's reader takes anything, this one takes what is right and says in which line it is not: an unknown label
word, a line that is no number, a pair without its tab would count as a wrong answer there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from harness import DataError, Json, Submission, files

NLI_WORDS = ("entailment", "neutral", "contradiction")
PARAPHRASE_WORDS = ("0", "1")
_ALL_PAIRS = "pairs"


def read_words(path: Path, language: str, *, words: Sequence[str]) -> dict[str, Json]:
    """One label word per line; the item's id is its line number, counting from 1."""
    items: dict[str, Json] = {}
    for number, line in enumerate(files.read_lines(path), start=1):
        word = line.strip()
        if word not in words:
            raise DataError(f"{path}, line {number}: {word!r} is not a label; allowed are {', '.join(words)}")
        items[str(number)] = word
    return items


def write_words(ids: Sequence[str], answers: Sequence[Json], *, words: Sequence[str]) -> str:
    """One label word per line."""
    for identity, word in zip(ids, answers, strict=True):
        if word not in words:
            raise DataError(f"item {identity}: {word!r} is not a label; allowed are {', '.join(words)}")
    return _lines(answers)


def read_tags(path: Path, language: str) -> dict[str, Json]:
    """One tag per line, a blank line after each sentence; the item's id is the sentence's number, counting from 1.

    As in XTREME, a blank line that follows another is a sentence without tokens.
    """
    sentences: list[list[str]] = [[]]
    for line in files.read_lines(path):
        tag = line.strip()
        if tag:
            sentences[-1].append(tag)
        else:
            sentences.append([])
    if not sentences[-1]:
        sentences.pop()
    return {str(number): tags for number, tags in enumerate(sentences, start=1)}


def write_tags(ids: Sequence[str], answers: Sequence[Json]) -> str:
    """One tag per line, a blank line after each sentence."""
    for identity, tags in zip(ids, answers, strict=True):
        for tag in tags:
            if not tag or tag != tag.strip() or "\n" in tag:
                raise DataError(f"item {identity}: the tag {tag!r} does not fit on a line of its own")
    return _lines(line for tags in answers for line in (*tags, ""))


def read_line_numbers(path: Path, language: str) -> dict[str, Json]:
    """One line number of the other language's file per line; the item's id is its own line number, counting from 1."""
    items: dict[str, Json] = {}
    for number, line in enumerate(files.read_lines(path), start=1):
        text = line.strip()
        if not re.fullmatch("[0-9]+", text):
            raise DataError(
                f"{path}, line {number}: {text!r} is not a line number of the other language's file (0, 1, …)"
            )
        items[str(number)] = int(text)
    return items


def write_line_numbers(ids: Sequence[str], answers: Sequence[Json]) -> str:
    """The number in each sentence id (``ja-17``), one per line, in the order of the queries."""
    numbers = []
    for identity, answer in zip(ids, answers, strict=True):
        found = re.fullmatch("[^\n]*-([0-9]+)", str(answer))
        if found is None:
            raise DataError(
                f"item {identity}: the sentence id {answer!r} does not end in a line number (ja-17)"
            )
        numbers.append(str(int(found[1])))
    return _lines(numbers)


def read_gold_pairs(path: Path, language: str) -> dict[str, Json]:
    """Id pairs, ``other language<TAB>English``. The whole set is one item, for XTREME scores it as one set."""
    return {_ALL_PAIRS: _pairs(path)}


def read_mined_pairs(path: Path, language: str) -> dict[str, Json]:
    """As :func:`read_gold_pairs`, each pair an accepted candidate."""
    return {_ALL_PAIRS: [{"target": pair, "score": 1.0, "accepted": True} for pair in _pairs(path)]}


def _pairs(path: Path) -> list[str]:
    pairs: dict[str, None] = {}
    for number, line in enumerate(files.read_lines(path), start=1):
        fields = line.strip().split("\t")
        if len(fields) != 2 or not all(fields):
            raise DataError(f"{path}, line {number}: {line[:60]!r} is not two ids with a tab between them")
        pairs.setdefault("\t".join(fields))
    return list(pairs)


def write_pairs(ids: Sequence[str], answers: Sequence[Json]) -> str:
    """One pair per line; an answer is a list of English ids (gold) or of candidates, of which the accepted count."""
    pairs = [
        (identity, english)
        for identity, answer in zip(ids, answers, strict=True)
        for english in _taken(answer)
    ]
    for pair in pairs:
        odd = [name for name in pair if not name or name != name.strip() or re.search("[\t\n]", name)]
        if odd:
            raise DataError(
                f"the sentence id {odd[0]!r} cannot be written: it is empty or has white space in it"
            )
    return _lines("\t".join(pair) for pair in pairs)


def _taken(answer: Sequence[Json]) -> list[str]:
    """The English ids of one sentence's answer, gold or predicted."""
    gold = [english for english in answer if isinstance(english, str)]
    return gold or [candidate["target"] for candidate in answer if candidate["accepted"]]


def read_gold_answers(path: Path, language: str) -> dict[str, Json]:
    """Questions of a SQuAD file, ``{"data": [article, …]}`` or the list alone, by question id.

    Gives ``{"answers": [text, …], "language": language}``.
    """
    data = _json(path)
    items: dict[str, Json] = {}
    try:
        articles = data["data"] if isinstance(data, dict) else data
        for article in articles:
            for question in (one for paragraph in article["paragraphs"] for one in paragraph["qas"]):
                identity, answers = question["id"], [str(answer["text"]) for answer in question["answers"]]
                if identity in items:
                    raise DataError(f"{path}: the question id {identity!r} occurs a second time")
                if not answers:
                    raise DataError(
                        f"{path}: question {identity!r} has no answer; these labels cannot be scored with"
                    )
                items[identity] = {"answers": answers, "language": language}
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path}: not SQuAD's format, data → paragraphs → qas → id, answers → text ({type(error).__name__}: {error})"
        ) from error
    return items


def read_answers(path: Path, language: str) -> dict[str, Json]:
    """``{question id: text}`` as ``{question id: {"text": text}}``."""
    data = _json(path)
    if not isinstance(data, dict):
        raise DataError(
            f"{path}: holds {type(data).__name__} where an object {{question id: answer}} is expected"
        )
    for identity, text in data.items():
        if not isinstance(text, str):
            raise DataError(f"{path}: the answer to question {identity!r} is {text!r:.60}, not a text")
    return {identity: {"text": text} for identity, text in data.items()}


def write_answers(ids: Sequence[str], answers: Sequence[Json]) -> str:
    """Predictions as ``{question id: text}``, gold answers in SQuAD's format, each question its own paragraph."""
    if len(set(ids)) < len(ids):
        twice = next(identity for place, identity in enumerate(ids) if identity in ids[:place])
        raise DataError(f"the question id {twice!r} occurs a second time; answers are filed by question id")
    if not any("answers" in answer for answer in answers):
        return _text({identity: answer["text"] for identity, answer in zip(ids, answers, strict=True)})
    questions = [
        {"id": identity, "answers": [{"text": text} for text in answer["answers"]]}
        for identity, answer in zip(ids, answers, strict=True)
    ]
    return _text(
        {"version": "1.1", "data": [{"paragraphs": [{"qas": [question]} for question in questions]}]}
    )


def _json(path: Path) -> Json:
    try:
        return json.loads("\n".join(files.read_lines(path)), object_pairs_hook=partial(_once, path))
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error})") from error


def _once(path: Path, pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{path}: the key {twice!r} occurs a second time")
    return value


def _text(value: Mapping[str, Json]) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _words(words: Sequence[str]) -> Submission:
    read = partial(read_words, words=words)
    return Submission(
        suffix="tsv", read_labels=read, read_predictions=read, write=partial(write_words, words=words)
    )


# XNLI: gold and prediction are entailment, neutral or contradiction.
NLI = _words(NLI_WORDS)

# PAWS-X: gold and prediction are the texts 0 and 1.
PARAPHRASE = _words(PARAPHRASE_WORDS)

# UDPOS and PANX: gold and prediction are lists of tags.
TAGS = Submission(suffix="tsv", read_labels=read_tags, read_predictions=read_tags, write=write_tags)

# XQuAD, MLQA and TyDiQA: gold is {"answers": [text, …], "language": code}, the prediction {"text": text}. A question
# that is not answered counts as wrong.
ANSWERS = Submission(
    suffix="json",
    read_labels=read_gold_answers,
    read_predictions=read_answers,
    write=write_answers,
    complete=False,
)

# BUCC 2018: see harness.formats.retrieval.Mining.
BITEXT_PAIRS = Submission(
    suffix="tsv", read_labels=read_gold_pairs, read_predictions=read_mined_pairs, write=write_pairs
)

# Tatoeba: English queries; gold and prediction are sentence ids that end in the line number of the other language.
BITEXT_LINES = Submission(
    suffix="tsv",
    read_labels=read_line_numbers,
    read_predictions=read_line_numbers,
    write=write_line_numbers,
)
