"""The built-in sample of PAN-X and UDPOS: derived from the hand-tagged tables, sound as data, and read by the tasks."""

from __future__ import annotations

import csv
import importlib.resources
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness_tasks.derive_tags import derive_tags
from harness_xtreme import panx, udpos
from harness_xtreme.panx import PANX
from harness_xtreme.udpos import UDPOS, UDPOS_SYNTACTIC

from harness import sources
from harness.sources import DataLocation

HOME = Path(str(importlib.resources.files("harness_tasks")))
CORPUS, SAMPLES = HOME / "corpus", HOME / "samples"
FILES = sorted(
    path
    for folder in ("panx", "ud")
    for path in (SAMPLES / folder).rglob("*")
    if path.suffix in (".tsv", ".conllu")
)
NAMES = [path.name for path in FILES]
TREEBANKS = [path for path in FILES if path.suffix == ".conllu"]
COLUMNS = [path for path in FILES if path.suffix == ".tsv"]
UPOS = set("ADJ ADP ADV AUX CCONJ DET INTJ NOUN NUM PART PRON PROPN PUNCT SCONJ SYM VERB X".split())
BIO = set("O B-PER I-PER B-ORG I-ORG B-LOC I-LOC".split())
SIZES = {"panx": {"train": 36, "dev": 8, "test": 10}, "udpos": {"train": 40, "dev": 8, "test": 10}}

Sentence = list[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A block of a treebank: its comments by name, and its ten columns."""

    comments: dict[str, str]
    rows: list[list[str]]

    @property
    def words(self) -> Sentence:
        """Syntactic words."""
        return [(row[1], row[3]) for row in self.rows if "-" not in row[0]]

    @property
    def joint(self) -> list[tuple[str, list[str]]]:
        """Multiword tokens and what they are made of."""
        numbered = {row[0]: row[1] for row in self.rows}
        found: list[tuple[str, list[str]]] = []
        for row in self.rows:
            first, joint, last = row[0].partition("-")
            if joint:
                found.append((row[1], [numbered[str(at)] for at in range(int(first), int(last) + 1)]))
        return found

    @property
    def text(self) -> str:
        """The running text, put together again from the surface tokens."""
        covered = 0
        text = ""
        for row in self.rows:
            first, _, last = row[0].partition("-")
            if int(first) > covered:
                text += row[1] + ("" if row[9] == "SpaceAfter=No" else " ")
                covered = int(last or first)
        return text.rstrip(" ")


def blocks(path: Path) -> list[list[str]]:
    """The lines of each sentence; a blank line ends every one of them."""
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n\n")
    return [block.split("\n") for block in text.removesuffix("\n\n").split("\n\n")]


def trees(path: Path) -> list[Tree]:
    """The sentences of a treebank."""
    return [
        Tree(
            comments=dict(line[2:].split(" = ", 1) for line in block if line.startswith("# ")),
            rows=[line.split("\t") for line in block if not line.startswith("#")],
        )
        for block in blocks(path)
    ]


def columns(path: Path) -> list[Sentence]:
    """The sentences of a PAN-X file."""
    return [[(word, tag) for word, tag in (line.split("\t") for line in block)] for block in blocks(path)]


def entities(sentence: Sentence) -> list[tuple[str, str]]:
    """``(kind, words)`` of each entity, in order; an I- tag that continues nothing is an error."""
    found: list[tuple[str, str]] = []
    before = "O"
    for word, tag in sentence:
        if tag.startswith("B-"):
            found.append((tag[2:], word))
        elif tag.startswith("I-"):
            assert before[2:] == tag[2:], sentence
            found[-1] = (tag[2:], f"{found[-1][1]} {word}")
        before = tag
    return found


def part(path: Path) -> tuple[str, str]:
    """Language and split of a file."""
    if path.suffix == ".conllu":
        return path.name.partition("_")[0], path.stem.rpartition("-")[2]
    split, _, language = path.stem.partition("-")
    return language, split


# From tables to files


def test_the_files_are_what_the_tables_give(tmp_path: Path) -> None:
    written = derive_tags(CORPUS, tmp_path)
    derived = {path.relative_to(tmp_path): path.read_bytes() for path in written}
    assert derived == {path.relative_to(SAMPLES): path.read_bytes() for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_are_plain_lines_of_composed_utf8(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    assert unicodedata.is_normalized("NFC", text)
    assert not [line for line in text.split("\n") if line != line.strip()]
    assert not set("\r\ufeff\u200b\u200e\u200f\xa0") & set(text)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A copy of the tables, to be spoiled."""
    return Path(shutil.copytree(CORPUS, tmp_path / "corpus"))


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        (
            "words",
            "im=in/ADP+dem/DET",
            "in/ADP dem/DET",
            r"words\.tsv, s02: 'in' does not stand at 'im Garten",
        ),
        ("words", "Mein/DET ", "", r"words\.tsv, s02: 'Bruder' does not stand at 'Mein Bruder"),
        ("words", "Garten/NOUN ./PUNCT", "Garten/NOUN", r"words\.tsv, s02: '\.' at the end has no tags"),
        ("entities", "[Anna Berg]PER in", "[Anna Berg] in", r"entities\.tsv, e02: brackets or spaces"),
        ("entities", "[Anna Berg]PER in", "[Anna Berg]MISC in", r"entities\.tsv, e02: brackets or spaces"),
        ("entities", "by [Anna", "by  [Anna", r"entities\.tsv, e02: brackets or spaces"),
    ],
)
def test_a_slip_in_the_tables_is_named(corpus: Path, table: str, old: str, new: str, message: str) -> None:
    path = corpus / "tags" / f"{table}.tsv"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        derive_tags(corpus, corpus / "out")


# Treebanks


@pytest.mark.parametrize("path", TREEBANKS, ids=lambda path: path.name)
def test_a_treebank_is_well_formed(path: Path) -> None:
    for tree in trees(path):
        assert list(tree.comments) == ["sent_id", "text"]
        assert {len(row) for row in tree.rows} == {10}
        assert not [row for row in tree.rows if "" in row]
        assert {row[9] for row in tree.rows} <= {"_", "SpaceAfter=No"}
        number = end = 0
        for row in tree.rows:
            first, joint, last = row[0].partition("-")
            assert int(first) == number + 1
            if joint:
                assert int(last) > int(first) > end
                assert row[3] == "_"
                end = int(last)
            else:
                number += 1
                assert row[3] in UPOS
                # Spaces are told by the multiword token alone.
                assert number > end or row[9] == "_"
        assert number >= end


@pytest.mark.parametrize("path", TREEBANKS, ids=lambda path: path.name)
def test_surface_tokens_give_the_corpus_text(path: Path) -> None:
    language, _ = part(path)
    texts: dict[str, str] = {}
    for name, key in (("sentences", "{id}"), ("passages", "{passage}-{sentence}")):
        with (CORPUS / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
                texts[key.format_map(row)] = row[language]
    for tree in trees(path):
        assert tree.text == tree.comments["text"] == texts[tree.comments["sent_id"]]


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", []),
        ("zh", []),
        ("de", ["im in dem", "zur zu der", "im in dem", "im in dem"]),
        ("es", ["del de el", "del de el"]),
    ],
)
def test_multiword_tokens(language: str, expected: list[str]) -> None:
    (path,) = [path for path in TREEBANKS if part(path) == (language, "test")]
    joint = [pair for tree in trees(path) for pair in tree.joint]
    assert [" ".join([form, *words]) for form, words in joint] == expected


def test_arabic_clitics_are_words_of_their_own() -> None:
    (path,) = [path for path in TREEBANKS if part(path) == ("ar", "test")]
    joint = [pair for tree in trees(path) for pair in tree.joint]
    assert len(joint) == 8
    assert ("والسمك", ["و", "السمك"]) in joint
    # The two spellings that are not simply their words in a row: an opened feminine ending, the article after ل.
    assert [form for form, words in joint if "".join(words) != form] == ["معلمتنا", "للمتحف"]


def test_every_tag_of_dev_and_test_can_be_learned() -> None:
    tags = Counter[tuple[str, str]]()
    for path in TREEBANKS:
        tags.update((part(path)[1], tag) for tree in trees(path) for _, tag in tree.words)
    learned = {tag for split, tag in tags if split == "train"}
    assert learned == UPOS - {"SYM", "X"}
    assert {tag for split, tag in tags if split != "train"} <= learned


# Named entities


@pytest.mark.parametrize("path", COLUMNS, ids=lambda path: path.name)
def test_tags_are_valid_bio(path: Path) -> None:
    found = columns(path)
    assert {tag for sentence in found for _, tag in sentence} == BIO
    kinds = Counter(kind for sentence in found for kind, _ in entities(sentence))
    assert kinds.keys() == {"PER", "ORG", "LOC"}
    assert min(kinds.values()) >= 2


@pytest.mark.parametrize("split", ["dev", "test"])
def test_translations_have_the_same_entities(split: str) -> None:
    kinds = {
        path.name: [sorted(kind for kind, _ in entities(sentence)) for sentence in columns(path)]
        for path in COLUMNS
        if part(path)[1] == split
    }
    assert len(kinds) == 6
    for name, found in kinds.items():
        assert found == kinds[f"{split}-en.tsv"], name


# Both


def sentences(path: Path) -> Iterator[tuple[str, ...]]:
    """The words of each sentence of either task."""
    found = [tree.words for tree in trees(path)] if path.suffix == ".conllu" else columns(path)
    for sentence in found:
        yield tuple(word.casefold() for word, _ in sentence)


@pytest.mark.parametrize("suffix", [".conllu", ".tsv"])
def test_no_sentence_occurs_twice_in_a_language(suffix: str) -> None:
    for language in {part(path)[0] for path in FILES if path.suffix == suffix}:
        mine = [path for path in FILES if path.suffix == suffix and part(path)[0] == language]
        seen = Counter(sentence for path in mine for sentence in sentences(path))
        assert seen.most_common(1)[0][1] == 1, language


@pytest.mark.parametrize(("task", "suffix"), [("panx", ".tsv"), ("udpos", ".conllu")])
def test_languages_and_sizes(task: str, suffix: str) -> None:
    mine = {part(path): len(blocks(path)) for path in FILES if path.suffix == suffix}
    languages = {"panx": set("ar de en es sw zh".split()), "udpos": set("ar de en es zh".split())}[task]
    dev = languages if task == "panx" else {"en"}
    expected = {(code, "test") for code in languages} | {(code, "dev") for code in dev} | {("en", "train")}
    assert mine == {(code, split): SIZES[task][split] for code, split in expected}
    assert languages <= set({"panx": panx.LANGUAGES, "udpos": tuple(udpos.TREEBANKS)}[task])


def test_test_sentences_are_the_same_in_every_treebank() -> None:
    ids = {
        tuple(tree.comments["sent_id"] for tree in trees(path))
        for path in TREEBANKS
        if part(path)[1] == "test"
    }
    assert len(ids) == 1


# As the tasks read it


SAMPLE = DataLocation(kind="sample")


@pytest.mark.parametrize("path", COLUMNS, ids=lambda path: path.name)
def test_panx_reads_every_sentence(path: Path) -> None:
    read = sources.read(PANX, *part(path), SAMPLE)
    assert read.repairs == {}
    examples: list[Any] = list(read.examples)
    assert [list(zip(example.words, example.tags, strict=True)) for example in examples] == columns(path)


@pytest.mark.parametrize("path", TREEBANKS, ids=lambda path: path.name)
def test_udpos_reads_every_sentence(path: Path) -> None:
    found = trees(path)
    examples: list[Any] = list(sources.read(UDPOS_SYNTACTIC, *part(path), SAMPLE).examples)
    assert [example.id for example in examples] == [tree.comments["sent_id"] for tree in found]
    assert [list(zip(example.words, example.tags, strict=True)) for example in examples] == [
        tree.words for tree in found
    ]
    read = sources.read(UDPOS, *part(path), SAMPLE)
    assert read.repairs == {}
    surface: list[Any] = list(read.examples)
    assert ["".join(example.words) for example in surface] == [
        tree.comments["text"].replace(" ", "") for tree in found
    ]


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("de", {"im": "ADP", "zur": "ADP"}),
        ("es", {"del": "ADP"}),
        ("ar", {"والسمك": "NOUN", "وخطير": "ADJ", "يمكنني": "VERB", "أمهم": "NOUN"}),
    ],
)
def test_multiword_tokens_have_the_tag_of_their_main_word(language: str, expected: dict[str, str]) -> None:
    examples: list[Any] = list(sources.read(UDPOS, language, "test", SAMPLE).examples)
    tags = {word: tag for example in examples for word, tag in zip(example.words, example.tags, strict=True)}
    assert {word: tags[word] for word in expected} == expected


@pytest.mark.parametrize("split", ["train", "dev", "test"])
def test_the_sample_offers_these_languages(split: str) -> None:
    for task, suffix in ((PANX, ".tsv"), (UDPOS, ".conllu")):
        expected = {part(path)[0] for path in FILES if path.suffix == suffix and part(path)[1] == split}
        assert set(sources.available(task, split, SAMPLE)) == expected
