"""Files of labelled sentence pairs: XTREME's own, and plain tab-separated ones with a header. Knows no task.

XTREME's script writes its pair files with Python's ``csv.writer``: tabs, CRLF, no header, fields with a double quote
quoted and the quotes doubled. The original files have a header and no quoting. XTREME strips every field, and so does
:func:`pair`, so that all copies of a data set give the same examples.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from harness import DataError, Row, files
from harness_xtreme.checked import sound


def pair(identity: str, text: str, text_pair: str, label: str) -> Row:
    """The row of one labelled pair."""
    return {"id": identity, "text": text.strip(), "text_pair": text_pair.strip(), "label": label}


def known(label: str, labels: Sequence[str], where: str) -> str:
    """The label, with ``contradictory``, as some copies of MultiNLI have it, read as ``contradiction``.

    Raises:
        DataError: It is not among the labels.
    """
    word = "contradiction" if label == "contradictory" else label
    if word not in labels:
        raise DataError(f"{where}: {label!r} is not a label; allowed are {', '.join(labels)}")
    return word


def numbered(number: int, labels: Sequence[str], where: str) -> str:
    """The label of a class number, as hub copies have it.

    Raises:
        DataError: There is no such class; -1 is what unlabelled rows have.
    """
    if not 0 <= number < len(labels):
        raise DataError(f"{where}: {number} is not a class; allowed are 0 to {len(labels) - 1}")
    return labels[number]


def quoted_fields(path: Path) -> Iterator[tuple[str, list[str]]]:
    """``(file and line, fields)`` of each line of a file that ``csv.writer`` wrote with tabs.

    Raises:
        DataError: Quotes do not pair within a line.
    """
    reader = csv.reader(files.read_lines(path), delimiter="\t", strict=True)
    for number in itertools.count(1):
        where = f"{path}, line {number}"
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{where}: {error}; {_QUOTING}") from error
        if fields is None:
            return
        if reader.line_num != number:
            raise DataError(f"{where}: a quoted field runs over the end of the line; {_QUOTING}")
        yield where, [sound(field, where) for field in fields]


_QUOTING = "a field with a double quote must be quoted and the quote doubled, as Python's csv.writer does it"


def headed_fields(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """``(file and line, fields of these columns)`` of each line of a tab-separated file that begins with a header.

    A line may lack columns at its end that are not asked for: some copies lost trailing tabs.

    Raises:
        DataError: There is no header, it lacks a column, or a line has too many or too few fields.
    """
    lines = files.read_lines(path)
    if not lines:
        raise DataError(
            f"{path}: the file is empty; a first line with the columns {', '.join(columns)} is expected"
        )
    header = lines[0].split("\t")
    lacking = [name for name in columns if name not in header]
    if lacking:
        raise DataError(f"{path}, line 1: column names lack {', '.join(lacking)}: {lines[0][:60]!r}")
    places = [header.index(name) for name in columns]
    for number, line in enumerate(lines[1:], start=2):
        where = f"{path}, line {number}"
        fields = line.split("\t")
        if not max(places) < len(fields) <= len(header):
            raise DataError(
                f"{where}: {len(fields)} tab-separated fields where the header has {len(header)}: {line[:60]!r}"
            )
        yield where, [sound(fields[place], where) for place in places]


def read_pairs(paths: Mapping[str, Path], labels: Sequence[str], *, first: int, advice: str) -> Iterator[Row]:
    """Rows of XTREME's ``sentence1<TAB>sentence2[<TAB>label]``.

    Args:
        paths: ``pairs`` and, where the label column may be missing, ``labels`` with a label per line.
        labels: What is allowed.
        first: The id of the first line; ids count on from it.
        advice: What to do where there are no labels.

    Raises:
        DataError: The file is empty, or a line has another number of fields, no label or an unknown one.
    """
    lines = list(quoted_fields(paths["pairs"]))
    if not lines:
        raise DataError(f"{paths['pairs']}: the file is empty")
    words: Iterable[str | None] = itertools.repeat(None, len(lines))
    if "labels" in paths:
        words = _label_lines(paths["labels"], labels, paths["pairs"], len(lines))
    for number, ((where, fields), word) in enumerate(zip(lines, words, strict=True), start=first):
        columns = [*fields, word] if len(fields) == 2 and word is not None else fields
        if len(columns) == 2:
            raise DataError(f"{where}: no label; XTREME removes those of its test sets: {advice}")
        if len(columns) != 3:
            raise DataError(
                f"{where}: {len(columns)} tab-separated fields where sentence1, sentence2 and label are expected"
            )
        yield pair(str(number), columns[0], columns[1], known(columns[2], labels, where))


def read_passages(paths: Mapping[str, Path], _language: str) -> Iterator[str]:
    """Both sentences of each line of ``pairs``, whose labels may have been taken out; raises DataError."""
    for _where, fields in quoted_fields(paths["pairs"]):
        yield from fields[:2]


def _label_lines(path: Path, labels: Sequence[str], pairs: Path, count: int) -> list[str]:
    words = [
        known(line.strip(), labels, f"{path}, line {number}")
        for number, line in enumerate(files.read_lines(path), start=1)
    ]
    if len(words) != count:
        raise DataError(
            f"{path} has {len(words)} lines, {pairs} has {count}; line i of both must belong together"
        )
    return words


def of_language(
    entries: Iterable[tuple[str, str, str, str, str]], language: str, labels: Sequence[str]
) -> Iterator[Row]:
    """Rows of one language from ``(place, language, label, sentence1, sentence2)`` of all, with ids counting from 1."""
    number = 0
    for where, code, label, text, text_pair in entries:
        if code == language:
            number += 1
            yield pair(str(number), text, text_pair, known(label, labels, where))
