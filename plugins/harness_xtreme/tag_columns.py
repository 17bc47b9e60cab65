"""Sentences in columns, ``word<TAB>tag`` with a blank line after each: the files of PAN-X and of XTREME's UDPOS.

Knows the columns; knows no task, no language and no folder.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator
from pathlib import Path

from harness import DataError, files

Sentence = tuple[list[str], list[str]]


def read_sentences(
    path: Path, tags: Collection[str], *, prefix: str = "", advice: str = ""
) -> Iterator[Sentence]:
    """``(words, tags)`` of each sentence.

    Any number of blank lines (spaces and tabs alone) separates sentences; the last one may lack its own. A word is all
    that stands before the tab, whatever characters it has.

    Args:
        tags: The tags there are.
        prefix: What every word begins with in the file and is not part of it (``en:``).
        advice: What to do when the file has words only, which is how XTREME distributes some test sets.

    Raises:
        DataError: A line is not a word, a tab and a known tag; the message names file and line.
    """
    words: list[str] = []
    found: list[str] = []
    for number, line in enumerate(files.read_lines(path), start=1):
        if line.strip(" \t"):
            fields = line.split("\t")
            if len(fields) != 2 or fields[1] not in tags:
                raise DataError(f"{path}, line {number}: {_fault(path, line, tags, advice)}")
            words.append(_word(path, number, fields[0], prefix))
            found.append(fields[1])
        elif words:
            yield words, found
            words, found = [], []
    if words:
        yield words, found


def read_passages(path: Path) -> Iterator[str]:
    """Each sentence of a file whose tags may have been taken out, its words parted by spaces."""
    for filled, lines in itertools.groupby(files.read_lines(path), key=lambda line: bool(line.strip(" \t"))):
        if filled:
            yield " ".join(line.partition("\t")[0] for line in lines)


def _word(path: Path, number: int, text: str, prefix: str) -> str:
    if not text.startswith(prefix):
        raise DataError(
            f"{path}, line {number}: {text!r} does not begin with {prefix!r}, the language of this file"
        )
    if len(text) == len(prefix):
        raise DataError(f"{path}, line {number}: the word before the tag is empty; take the line out")
    return text.removeprefix(prefix)


def _fault(path: Path, line: str, tags: Collection[str], advice: str) -> str:
    """What is wrong with a line."""
    fields = line.split("\t")
    allowed = ", ".join(tags)
    if len(fields) == 2:
        return f"the tag {fields[1]!r} is not one of {allowed}"
    if len(fields) > 2:
        return f"{len(fields)} tab-separated fields where a word and its tag are expected: {line[:60]!r}"
    if line.split(" ")[-1] in tags:
        return f"the word and its tag are separated by spaces, not by a tab: {line[:60]!r}"
    if not any("\t" in other for other in files.read_lines(path)):
        return f"no line of the file has a tag, only words: its answers were taken out{advice}"
    return f"{line[:60]!r} has no tag; after a tab there must be one of {allowed}"
