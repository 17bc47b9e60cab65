"""Files of plain and of parallel text: one reader per layout. Knows files; knows no task and no split but the held-out rule.

A reader of parallel text gives ``(key, text)``: what has the same key in two languages is a translation of each other.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, cast

from harness_xtreme.checked import member, read_json, sound, sound_member

from harness import DataError

_BOM = b"\xef\xbb\xbf"
# One text of so many is held out.
_HELD_OUT = 50

# The books of the Bible in canonical order: names of bible_databases to codes of bible-corpus, whose files at hand have the
# New Testament only.
BOOKS: Mapping[str, str] = dict(
    zip(
        """Genesis|Exodus|Leviticus|Numbers|Deuteronomy|Joshua|Judges|Ruth|I Samuel|II Samuel|I Kings|II Kings|I Chronicles
        |II Chronicles|Ezra|Nehemiah|Esther|Job|Psalms|Proverbs|Ecclesiastes|Song of Solomon|Isaiah|Jeremiah|Lamentations
        |Ezekiel|Daniel|Hosea|Joel|Amos|Obadiah|Jonah|Micah|Nahum|Habakkuk|Zephaniah|Haggai|Zechariah|Malachi|Matthew|Mark
        |Luke|John|Acts|Romans|I Corinthians|II Corinthians|Galatians|Ephesians|Philippians|Colossians|I Thessalonians
        |II Thessalonians|I Timothy|II Timothy|Titus|Philemon|Hebrews|James|I Peter|II Peter|I John|II John|III John|Jude
        |Revelation of John""".replace("\n        ", "").split("|"),
        """GEN EXO LEV NUM DEU JOS JDG RUT 1SA 2SA 1KI 2KI 1CH 2CH EZR NEH EST JOB PSA PRO ECC SON ISA JER LAM EZE DAN HOS
        JOE AMO OBA JON MIC NAH HAB ZEP HAG ZEC MAL MAT MAR LUK JOH ACT ROM 1CO 2CO GAL EPH PHI COL 1TH 2TH 1TI 2TI TIT
        PHM HEB JAM 1PE 2PE 1JO 2JO 3JO JUD REV""".split(),
        strict=True,
    )
)  # fmt: skip
_XML_VERSE = re.compile(r"b\.([0-9A-Z]{3}\.\d+\.\d+)")
_VERSE = re.compile(r"\[(\d+):(\d+)\](.*)")


def held_out(key: str) -> bool:
    """Whether a text belongs to split dev: 2 % of all keys, the same ones wherever and whenever it is asked.

    >>> sum(held_out(str(number)) for number in range(10_000))
    225
    """
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % _HELD_OUT == 0


def stream_lines(path: Path) -> Iterator[tuple[str, str]]:
    r"""``(file and line, text without white space at its ends)`` of each line that has text, one at a time.

    A byte order mark at the start is dropped. Lines end in ``\n`` or ``\r\n``.

    Raises:
        DataError: The file cannot be read, is no gzip file where its name says so, or a line is not UTF-8.
    """
    yield from _decoded(_raw_lines(path), str(path))


def _raw_lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            yield from cast("IO[bytes]", stream)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def _decoded(lines: Iterable[bytes], name: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, start=1):
        where = f"{name}, line {number}"
        try:
            text = line.removeprefix(_BOM if number == 1 else b"").decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise DataError(
                f"{where}: not UTF-8 (byte 0x{line[error.start]:02x}, {error.reason}); convert the file to UTF-8"
            ) from error
        if text:
            yield where, sound(text, where)


def numbered_lines(path: Path, language: str) -> Iterator[tuple[str, str]]:
    """FLORES-200 and Multi30K: line i is the same sentence in every language, so blank lines count. The key is its number."""
    for where, text in stream_lines(path):
        yield where.rpartition(" ")[2], text


def require_same_length(first: Path, second: Path) -> None:
    """Check that line i of two files can be the same sentence.

    Raises:
        DataError: They have different numbers of lines.
    """
    counts = [sum(1 for _ in _raw_lines(path)) for path in (first, second)]
    if counts[0] != counts[1]:
        raise DataError(
            f"{first} has {counts[0]} lines, {second} has {counts[1]}; line i of both must be a pair, fetch them again"
        )


def tab_pairs(path: Path) -> Iterator[tuple[str, str, str]]:
    """``(line number, English, translation)`` of each line ``english<TAB>translation``.

    Raises:
        DataError: A line has another number of fields, or one side is empty.
    """
    for where, line in stream_lines(path):
        sides = [side.strip() for side in line.split("\t")]
        if len(sides) != 2 or not all(sides):
            raise DataError(
                f"{where}: english<TAB>translation is expected, found {len(sides)} fields of which "
                f"{sides.count('')} are empty: {line[:60]!r}; mend or remove the line"
            )
        yield where.rpartition(" ")[2], sides[0], sides[1]


def quran_verses(path: Path, language: str) -> Iterator[tuple[str, str]]:
    """``quran-json``: an object of chapters, each a list of ``{"chapter", "verse", "text"}``; the key is ``2:255``.

    Raises:
        DataError: The file has another form.
    """
    chapters = read_json(path)
    for name in chapters if isinstance(chapters, dict) else [""]:
        for number, verse in enumerate(member(chapters, name, list, str(path)), start=1):
            where = f"{path}, chapter {name}, entry {number}"
            text = sound_member(verse, "text", where).strip()
            if text:
                yield f"{member(verse, 'chapter', int, where)}:{member(verse, 'verse', int, where)}", text


def bible_verses(path: Path, language: str) -> Iterator[tuple[str, str]]:
    """Verses of a Bible in either layout, keyed ``MAT.5.3``; what is missing in an edition is left out.

    A verse number that a file has twice in a book is one verse, whose text is both.

    Raises:
        DataError: The file has another form.
    """
    xml = path.name.removesuffix(".gz").endswith(".xml")
    verses: dict[str, str] = {}
    for key, text in _xml_verses(path) if xml else _text_verses(path):
        if text:
            verses[key] = f"{verses[key]} {text}" if key in verses else text
    yield from verses.items()


def _text_verses(path: Path) -> Iterator[tuple[str, str]]:
    """bible_databases: ``### Book`` and, below it, ``[chapter:verse] text``."""
    book = ""
    for where, line in stream_lines(path):
        if line.startswith("### "):
            book = BOOKS.get(line.removeprefix("### "), "")
            if not book:
                raise DataError(
                    f"{where}: no book of the Bible is called {line[4:60]!r}; there are {', '.join(BOOKS)}"
                )
            continue
        found = _VERSE.fullmatch(line)
        if not found or not book:
            raise DataError(
                f"{where}: neither '### Book' nor, below one, '[chapter:verse] text': {line[:60]!r}"
            )
        yield f"{book}.{found[1]}.{found[2]}", found[3].strip()


def _xml_verses(path: Path) -> Iterator[tuple[str, str]]:
    """bible-corpus, CES XML: ``<seg id="b.MAT.5.3" type="verse">``."""
    from xml.etree import ElementTree

    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            for _, element in ElementTree.iterparse(cast("IO[bytes]", stream)):
                if element.tag == "seg" and element.get("type") == "verse":
                    key = _XML_VERSE.fullmatch(element.get("id", ""))
                    if not key:
                        raise DataError(
                            f"{path}: a verse has the id {element.get('id')!r}, not one like 'b.MAT.5.3'"
                        )
                    yield key[1], sound(" ".join("".join(element.itertext()).split()), str(path))
                if element.tag == "div":
                    element.clear()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not XML ({error}); the file is damaged, fetch it again") from error


def zip_lines(path: Path, name: str) -> Iterator[tuple[str, str]]:
    """Lines of one file of a zip archive, keyed by number.

    Raises:
        DataError: The archive cannot be read or lacks the file.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            for where, text in _decoded(stream, f"{path}, {name}"):
                yield where.rpartition(" ")[2], text
    except KeyError as error:
        raise DataError(f"{path}: the archive has no file {name}; fetch it again") from error
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
