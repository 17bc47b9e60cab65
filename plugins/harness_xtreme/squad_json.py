"""Questions on passages in the JSON of SQuAD v1.1, and in the columns of its hub copies. Knows no data set.

Every answer is checked against the passage. Some copies moved the passage without the offsets (hub copies of XTREME's
sets lost the white space at its start): there the answer is looked for, and the row says how many were moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from harness import DataError, Row
from harness_xtreme.checked import member, read_json, sound, sound_member

# What a record says of rows whose answers did not stand where the file said.
_MOVED = "answer_start put where the answer stands"


class Entry(NamedTuple):
    """A question of a file as it stands there, its answers not yet checked."""

    where: str
    id: str
    question: str
    context: str
    answers: Sequence[tuple[str, int]]


def entries(path: Path) -> Iterator[Entry]:
    """The questions of a file, in order.

    Raises:
        DataError: The file is not JSON of this form.
    """
    for number, article in enumerate(member(read_json(path), "data", list, str(path)), start=1):
        where = f"{path}, article {number}"
        for paragraph in member(article, "paragraphs", list, where):
            context = sound_member(paragraph, "context", where)
            for item in member(paragraph, "qas", list, where):
                identity = sound_member(item, "id", where)
                place = f"{path}, question {identity}"
                yield Entry(
                    where=place,
                    id=identity,
                    question=sound_member(item, "question", place),
                    context=context,
                    answers=[
                        (sound_member(answer, "text", place), member(answer, "answer_start", int, place))
                        for answer in member(item, "answers", list, place)
                    ],
                )


def rows(questions: Iterable[Entry], language: str) -> Iterator[Row]:
    """Rows of questions, answers checked (see :func:`checked_answers`).

    Raises:
        DataError: There is no question, an id occurs twice, or an answer is missing or not in the passage.
    """
    seen: set[str] = set()
    for entry in questions:
        if entry.id in seen:
            raise DataError(f"{entry.where}: this id occurs a second time")
        seen.add(entry.id)
        answers, starts, moved = checked_answers(entry.context, entry.answers, entry.where)
        yield {
            "id": entry.id,
            "question": entry.question,
            "context": entry.context,
            "answers": answers,
            "starts": starts,
            "language": language,
            "repair": _MOVED if moved else "",
        }


def read_questions(path: Path, language: str) -> Iterator[Row]:
    """Rows of a file in SQuAD's format; the id is the question's own. Raises DataError as :func:`rows` does."""
    return rows(entries(path), language)


def read_passages(paths: Mapping[str, Path], _language: str) -> Iterator[str]:
    """Questions and contexts of ``questions``, whose answers may have been taken out; raises DataError."""
    for entry in entries(paths["questions"]):
        yield from (entry.question, entry.context)


def hub_entries(given: Iterable[Row]) -> Iterator[Entry]:
    """Questions of a hub copy: ``id``, ``question``, ``context``, ``answers`` with lists ``text`` and ``answer_start``."""
    for row in given:
        where = f"question {row['id']}"
        texts, starts = row["answers"]["text"], row["answers"]["answer_start"]
        if len(texts) != len(starts):
            raise DataError(f"{where}: {len(texts)} answers with {len(starts)} places")
        yield Entry(
            where=where,
            id=row["id"],
            question=sound(row["question"], where),
            context=sound(row["context"], where),
            answers=list(zip(texts, starts, strict=True)),
        )


def read_hub(given: Iterable[Row], language: str) -> Iterator[Row]:
    """Rows of a hub copy. Raises DataError as :func:`rows` does."""
    return rows(hub_entries(given), language)


def checked_answers(
    context: str, answers: Iterable[tuple[str, int]], where: str
) -> tuple[list[str], list[int], int]:
    """Answers with the places where they really stand.

    Args:
        context: The passage.
        answers: Texts with the character offsets that the file gives.
        where: For messages.

    Returns:
        Texts, character offsets, and how many of these differ from those given.

    Raises:
        DataError: There is no answer, it is empty, or it is nowhere in the passage.
    """
    texts: list[str] = []
    starts: list[int] = []
    moved = 0
    for text, start in answers:
        if not text.strip():
            raise DataError(f"{where}: the answer is empty; {_UNLABELLED}")
        place = _placed(context, text, start)
        if place is None:
            raise DataError(
                f"{where}: the answer {text[:60]!r} is not in the passage; an answer must be characters of it: "
                "the file is damaged, fetch it again or use another source"
            )
        moved += place != start
        texts.append(text)
        starts.append(place)
    if not texts:
        raise DataError(f"{where}: there is no answer; {_UNLABELLED}")
    return texts, starts, moved


_UNLABELLED = (
    "XTREME removes those of its test sets: use the data set's original files or the hub, or another --split"
)


def _placed(context: str, text: str, start: int) -> int | None:
    """Where the answer stands: as given, or shifted by the white space that begins the passage, or as near as can be."""
    leading = len(context) - len(context.lstrip())
    for place in (start, start + leading):
        if place >= 0 and context.startswith(text, place):
            return place
    before = context.rfind(text, 0, max(0, start + len(text)))
    after = context.find(text, max(0, start))
    found = [place for place in (before, after) if place >= 0]
    return min(found, key=lambda place: abs(place - start), default=None)
