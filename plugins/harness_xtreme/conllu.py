"""Universal Dependencies treebanks in CoNLL-U, read as words with parts of speech. Knows the format, no task, no folder.

Format: ten tab-separated columns (universaldependencies.org/format.html), of which ID, FORM, UPOS, HEAD and DEPS are
read. A multiword token (``1-2``) covers several syntactic words; an empty node (``8.1``) is no word of the text.

Surface tokens are made as XTREME makes them (google-research/xtreme at commit 838c13b: ud-conversion-tools with
``--replace_subtokens_with_fused_forms``, then ``utils_preprocess.py``): a multiword token is one token, with the part
of speech of the word in it that stands highest in the tree; of several equally high ones that which comes first in a
ranking, else in the text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import DataError, files

# The ranking of XTREME's converter, by language of the file name. A tag that is not named comes after all that are.
_RANKING: Mapping[str, tuple[str, ...]] = {
    "": tuple("VERB NOUN PROPN PRON ADJ NUM ADV INTJ AUX ADP DET PART CCONJ SCONJ X PUNCT".split()),
    "es": tuple("VERB AUX PRON ADP DET".split()),
    "fr": tuple("VERB AUX PRON NOUN ADJ ADV ADP DET PART SCONJ".split()),
    "it": tuple("VERB AUX ADV PRON ADP DET INTJ".split()),
}
# XTREME takes these out of words: "bắt chuyện" is "bắtchuyện" there.
_REMOVED = str.maketrans("", "", " \u200c")
_HIDDEN = "_"
# A word's number, a multiword token's range or an empty node's number.
_ID = re.compile(r"([0-9]+)(?:([-.])([0-9]+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence.

    Attributes:
        id: Its ``sent_id``, None where it has none.
        words: Surface tokens or syntactic words.
        tags: Their parts of speech (UPOS).
    """

    id: str | None
    words: tuple[str, ...]
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """A syntactic word: ``heads`` are the numbers of its heads in the basic and the enhanced tree."""

    form: str
    tag: str
    heads: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fused:
    """A multiword token: the number of its last word, its form, and where it stands."""

    last: int
    form: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    """What the lines of a sentence say; ``fused`` has multiword tokens by the number of their first word."""

    words: Sequence[_Word]
    fused: Mapping[int, _Fused]


def read_sentences(path: Path, language: str, tags: Collection[str], *, surface: bool) -> Iterator[Sentence]:
    """The sentences of a file that XTREME would keep, with spaces and U+200C taken out of words as XTREME does.

    Left out are sentences whose text the treebank may not print: XTREME's rule drops those that have an ``_`` and at
    most one word that is not.

    Args:
        language: Code of the file name, on which XTREME's ranking depends.
        tags: The parts of speech there are.
        surface: Whether multiword tokens are one token (else their syntactic words are read).

    Raises:
        DataError: A line is malformed; the message names file and line.
    """
    for first, identity, lines in _blocks(path):
        tree = _tree(path, first, lines, tags)
        pairs = _surface(tree, language) if surface else [(word.form, word.tag) for word in tree.words]
        hidden = sum(form == _HIDDEN for form, _ in pairs)
        if pairs and not 0 < hidden >= len(pairs) - 1:
            yield Sentence(
                id=identity,
                words=tuple(form.translate(_REMOVED) or form for form, _ in pairs),
                tags=tuple(tag for _, tag in pairs),
            )


def _blocks(path: Path) -> Iterator[tuple[int, str | None, list[str]]]:
    """``(number of the first line, sent_id, lines)`` of each sentence; comments have become blank lines."""
    start, identity, block = 1, None, list[str]()
    for number, line in enumerate([*files.read_lines(path), ""], start=1):
        if line.startswith("#"):
            named = re.fullmatch(r"#\s*sent_id\s*=\s*(\S.*?)\s*", line)
            identity = named[1] if named else identity
            block.append("")
        elif line.strip():
            block.append(line)
        else:
            if any(block):
                yield start, identity, block
            start, identity, block = number + 1, None, []


def _tree(path: Path, first: int, lines: Sequence[str], tags: Collection[str]) -> _Tree:
    words: list[_Word] = []
    fused: dict[int, _Fused] = {}
    covered = 0
    for number, line in enumerate(lines, start=first):
        place = f"{path}, line {number}"
        fields = _fields(place, line) if line else []
        found = _ID.fullmatch(fields[0]) if fields else None
        begin, joint, end = (int(found[1]), found[2], int(found[3] or 0)) if found else (-1, "", 0)
        if not fields or (joint == "." and begin == len(words)):
            continue
        if joint == "-" and begin == len(words) + 1 and end >= begin > covered:
            covered = end
            fused[begin] = _Fused(last=end, form=fields[1], place=place)
        elif joint is None and begin == len(words) + 1:
            words.append(_word(place, fields, tags))
        else:
            raise DataError(
                f"{place}: the id {fields[0]!r} does not follow word {len(words)}; words count from 1, a multiword "
                "token such as 3-4 stands before its words and does not overlap another"
            )
    for begin, token in fused.items():
        if token.last > len(words):
            raise DataError(
                f"{token.place}: multiword token {begin}-{token.last} goes beyond the last word, {len(words)}"
            )
    return _Tree(words=words, fused=fused)


def _fields(place: str, line: str) -> list[str]:
    fields = line.split("\t")
    if len(fields) != 10:
        raise DataError(f"{place}: {len(fields)} tab-separated fields where CoNLL-U has 10: {line[:60]!r}")
    if not fields[1]:
        raise DataError(f"{place}: the form (column 2) is empty")
    return fields


def _word(place: str, fields: Sequence[str], tags: Collection[str]) -> _Word:
    if fields[3] not in tags:
        raise DataError(
            f"{place}: the part of speech (column 4) {fields[3]!r} is not one of {', '.join(tags)}"
        )
    named = [fields[6], *(part.partition(":")[0] for part in fields[8].split("|"))]
    return _Word(form=fields[1], tag=fields[3], heads=tuple(int(head) for head in named if head.isdecimal()))


def _surface(tree: _Tree, language: str) -> list[tuple[str, str]]:
    """Form and part of speech of each surface token."""
    pairs: list[tuple[str, str]] = []
    number = 1
    while number <= len(tree.words):
        token = tree.fused.get(number)
        last = token.last if token else number
        form = token.form if token else tree.words[number - 1].form
        pairs.append((form, _tag(tree.words, range(number, last + 1), language)))
        number = last + 1
    return pairs


def _tag(words: Sequence[_Word], span: range, language: str) -> str:
    """The part of speech of a token that is made of these words."""
    if len(span) == 1:
        return words[span[0] - 1].tag
    ranking = _RANKING.get(language, _RANKING[""])
    depth = {number: _depth(words, number) for number in span}
    highest = [words[number - 1].tag for number in span if depth[number] == min(depth.values())]
    return min(highest, key=lambda tag: ranking.index(tag) if tag in ranking else len(ranking))


def _depth(words: Sequence[_Word], number: int) -> int:
    """How many other nodes stand above a word, counting the root and the heads of enhanced dependencies."""
    above: set[int] = set()
    waiting = [number]
    while waiting:
        node = waiting.pop()
        heads = words[node - 1].heads if 0 < node <= len(words) else ()
        fresh = set(heads) - above
        above |= fresh
        waiting.extend(fresh)
    return len(above - {number})
