"""Where text in many languages lies, alone and beside English: own files, files of which a part is held out, collections.

Split dev is held out of what is learned: by its own files, else 2 % by a digest. Of parallel text the digest is that of
the line's or the verse's number, so a held-out sentence is held out in every language and in every task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TypeAlias

from harness import FilesSource, Row
from harness_intermediate.parallel_text import COLLECTIONS, Collection
from harness_intermediate.text_files import held_out, require_same_length, stream_lines, tab_pairs
from harness_intermediate.wikipedia import CODES

_Files: TypeAlias = Callable[[str, str], Mapping[str, str]]

SPLITS = ("train", "dev")
_PIVOT = "en"
LANGUAGES = tuple(sorted({*CODES, *(code for given in COLLECTIONS for code in given.paths)}))
OTHER_LANGUAGES = tuple(code for code in LANGUAGES if code != _PIVOT)


def _kept(key: str, split: str) -> bool:
    return held_out(key) == (split == "dev")


def split_text(language: str, split: str) -> Mapping[str, str]:
    """``text/<language>.{train,dev}.txt``: one passage per line."""
    return {"text": f"text/{language}.{split}.txt"}


def whole_text(language: str, split: str) -> Mapping[str, str]:
    """``text/<language>.txt``, of which split dev is held out."""
    return {"text": f"text/{language}.txt"}


def read_text(paths: Mapping[str, Path], language: str, *, split: str = "") -> Iterator[Row]:
    """One row per line that has text, its number as id; with a split, only what belongs to it by the text's digest."""
    for where, line in stream_lines(paths["text"]):
        if not split or _kept(line, split):
            yield {"id": where.rpartition(" ")[2], "text": line, "language": language}


def split_pairs(language: str, split: str) -> Mapping[str, str]:
    """``text/en-<language>.{train,dev}.tsv``: ``english<TAB>translation``."""
    return {"pairs": f"text/{_PIVOT}-{language}.{split}.tsv"}


def whole_pairs(language: str, split: str) -> Mapping[str, str]:
    """``text/en-<language>.tsv``, of which split dev is held out."""
    return {"pairs": f"text/{_PIVOT}-{language}.tsv"}


def read_pairs(paths: Mapping[str, Path], language: str, *, split: str = "") -> Iterator[Row]:
    """One row per line, its number as id; with a split, only what belongs to it by the digest of the English text."""
    for number, english, other in tab_pairs(paths["pairs"]):
        if not split or _kept(english, split):
            yield {"id": number, "text": english, "other": other, "language": language}


def _collections(language: str, split: str) -> list[Collection]:
    """Where a language occurs; what is not aligned cannot be held out together with its translations, so it is learned."""
    return [given for given in COLLECTIONS if language in given.paths and (given.aligned or split == "train")]


def parallel_text(language: str, split: str) -> Mapping[str, str]:
    """Every collection below ``parallel`` that has this language."""
    return {given.name: f"parallel/{given.paths[language]}" for given in _collections(language, split)}


def read_parallel_text(paths: Mapping[str, Path], language: str, *, split: str) -> Iterator[Row]:
    """The texts of one language in all collections that are there, one after the other."""
    for given in _collections(language, split):
        if given.name in paths:
            for key, line in given.read(paths[given.name], language):
                if not given.aligned or _kept(f"{given.name}-{key}", split):
                    yield {"id": f"{given.name}-{key}", "text": line, "language": language}


def parallel_pairs(language: str, split: str) -> Mapping[str, str]:
    """Every aligned collection below ``parallel`` that has this language and English."""
    return {
        f"{given.name} {code}": f"parallel/{given.paths[code]}"
        for given in COLLECTIONS
        if given.aligned and {language, _PIVOT} <= set(given.paths)
        for code in (_PIVOT, language)
    }


def read_parallel_pairs(paths: Mapping[str, Path], language: str, *, split: str) -> Iterator[Row]:
    """Pairs of an English text and the text with the same key, of all collections of which both files are there."""
    for given in COLLECTIONS:
        sides = [paths.get(f"{given.name} {code}") for code in (_PIVOT, language)]
        if sides[0] is None or sides[1] is None:
            continue
        if given.by_line:
            require_same_length(sides[0], sides[1])
        english = {
            key: line for key, line in given.read(sides[0], _PIVOT) if _kept(f"{given.name}-{key}", split)
        }
        for key, line in given.read(sides[1], language):
            if key in english:
                yield {"id": f"{given.name}-{key}", "text": english[key], "other": line, "language": language}


_TEXT_HOME = "your own files: one passage per line, UTF-8"
_PAIRS_HOME = "your own files: english<TAB>translation per line, UTF-8"
_PARALLEL_HOME = (
    "FLORES-200 (facebookresearch/flores), multi30k/dataset, risan/quran-json, scrollmapper/bible_databases, "
    "christos-c/bible-corpus and, for mlm, udhr2.zip of nltk/nltk_data, each in a folder of its own below parallel/"
)


def _when(language: str, split: str, *, files: _Files, only: str) -> Mapping[str, str]:
    """The files of one split; a source that holds a part out has to know which, so there is one per split."""
    return files(language, split) if split == only else {}


def _sources(
    names: tuple[str, str, str],
    files: tuple[_Files, _Files, _Files],
    read: Callable[..., Iterator[Row]],
    read_parallel: Callable[..., Iterator[Row]],
    homepage: str,
) -> tuple[FilesSource, ...]:
    """Files by split, files of which a part is held out, and the folder of parallel text, in that order."""
    roles = [
        f"{given.name}{side}" for given in COLLECTIONS for side in ("", *(f" {code}" for code in LANGUAGES))
    ]
    split_files, whole_files, parallel_files = files
    return (
        FilesSource(name=names[0], files=split_files, read=read, homepage=homepage),
        *(
            FilesSource(
                name=names[1],
                files=partial(_when, files=whole_files, only=split),
                read=partial(read, split=split),
                homepage=homepage,
            )
            for split in SPLITS
        ),
        *(
            FilesSource(
                name=names[2],
                files=partial(_when, files=parallel_files, only=split),
                read=partial(read_parallel, split=split),
                homepage=_PARALLEL_HOME,
                optional=frozenset(roles),
            )
            for split in SPLITS
        ),
    )


TEXTS = _sources(
    ("text", "text, held out", "parallel"),
    (split_text, whole_text, parallel_text),
    read_text,
    read_parallel_text,
    _TEXT_HOME,
)
PAIRS = _sources(
    ("pairs", "pairs, held out", "parallel"),
    (split_pairs, whole_pairs, parallel_pairs),
    read_pairs,
    read_parallel_pairs,
    _PAIRS_HOME,
)

LICENCES = (
    "your own text: yours; FLORES-200 and quran-json CC BY-SA 4.0; Multi30K CC BY-NC-SA 4.0; Bibles and the Universal "
    "Declaration of Human Rights public domain or CC0"
)
NOTES = (
    "Learned from, never scored. Split dev is held out: its own files, else 2 % by a digest.",
    "Files below text/ go before those below parallel/; where both have a language, only text/ is read.",
)
PAIR_NOTES = (
    *NOTES,
    "Verse numbers of Bible editions differ in places, chiefly in the Psalms, so some pairs are a verse apart.",
)
