"""PAN-X and UDPOS on broken files: one line that says what, where, what is allowed and what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from harness_xtreme.panx import PANX
from harness_xtreme.udpos import UDPOS, UDPOS_SYNTACTIC

from harness import sources
from harness.errors import DataError
from harness.sources import DataLocation
from harness.spec import TaskSpec

PANX_FILE = "panx/dev-de.tsv"
ORIGINAL_FILE = "panx_dataset/de/dev"
UDPOS_FILE = "udpos/dev-de.tsv"
TREEBANK = "ud/UD_German-GSD/de_gsd-ud-dev.conllu"


def told(task: TaskSpec, folder: Path) -> str:
    """What is said of a data folder; always one line that names task, language and split."""
    with pytest.raises(DataError) as caught:
        sources.read(task, "de", "dev", DataLocation.parse(str(folder)))
    message = str(caught.value)
    assert message.startswith(f"{task.name}/de/dev: ")
    assert "\n" not in message
    return message


def put(folder: Path, name: str, content: str | bytes) -> Path:
    """A file with exactly this content."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("Anna\tB-PER\nKim\n\n", 2, ["'Kim' has no tag", "after a tab", "B-PER, I-PER"]),
        ("Anna\tB-PER\nKim\tI-MISC\n", 2, ["the tag 'I-MISC' is not one of O, B-PER"]),
        ("Anna\tB-PER\nKim\t\n", 2, ["the tag '' is not one of"]),
        ("Anna\tB-PER\nKim\tI-PER \n", 2, ["the tag 'I-PER ' is not one of"]),
        ("Anna\tb-per\n", 1, ["the tag 'b-per' is not one of"]),
        ("Anna B-PER\nKim I-PER\n", 1, ["separated by spaces, not by a tab", "'Anna B-PER'"]),
        ("Anna\tB-PER\tx\n", 1, ["3 tab-separated fields where a word and its tag are expected"]),
        ("\tO\n", 1, ["the word before the tag is empty"]),
        ("Anna\tB-PER\n\n\n\tO\n", 4, ["the word before the tag is empty"]),
        ("Anna\nKim\n\nBerlin\n", 1, ["no line of the file has a tag, only words", "--split panx=dev"]),
    ],
)
def test_a_bad_line_of_columns_is_named(tmp_path: Path, content: str, line: int, words: list[str]) -> None:
    path = put(tmp_path, PANX_FILE, content)
    message = told(PANX, tmp_path)
    assert f"{path}, line {line}: " in message
    for word in words:
        assert word in message


def test_the_same_holds_with_windows_line_ends(tmp_path: Path) -> None:
    path = put(tmp_path, PANX_FILE, "Anna\tB-PER\r\n\r\nKim\tPER\r\n")
    assert f"{path}, line 3: the tag 'PER' is not one of O, B-PER" in told(PANX, tmp_path)


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("de:Anna\tB-PER\nKim\tI-PER\n", 2, ["'Kim' does not begin with 'de:'"]),
        ("de:Anna\tB-PER\nnl:Kim\tI-PER\n", 2, ["'nl:Kim' does not begin with 'de:'"]),
        ("de:\tO\n", 1, ["the word before the tag is empty"]),
    ],
)
def test_a_bad_line_of_the_original_format_is_named(
    tmp_path: Path, content: str, line: int, words: list[str]
) -> None:
    path = put(tmp_path, ORIGINAL_FILE, content)
    message = told(PANX, tmp_path)
    assert f"{path}, line {line}: " in message
    for word in words:
        assert word in message


def test_a_tag_of_another_task_is_named(tmp_path: Path) -> None:
    path = put(tmp_path, UDPOS_FILE, "ein\tDET\nHund\tNN\n")
    assert f"{path}, line 2: the tag 'NN' is not one of ADJ, ADP" in told(UDPOS, tmp_path)
    put(tmp_path, UDPOS_FILE, "ein\tDET\nHund\t_\n")
    assert "the tag '_' is not one of ADJ, ADP" in told(UDPOS, tmp_path)


@pytest.mark.parametrize(
    "content", ["", "\n", "\n \n\t\n\r\n", "\ufeff"], ids=["empty", "one", "blank", "mark"]
)
@pytest.mark.parametrize(
    ("task", "name"),
    [
        (PANX, PANX_FILE),
        (PANX, ORIGINAL_FILE),
        (UDPOS, UDPOS_FILE),
        (UDPOS, TREEBANK),
        (UDPOS_SYNTACTIC, TREEBANK),
    ],
)
def test_a_file_without_sentences_is_no_data(tmp_path: Path, task: TaskSpec, name: str, content: str) -> None:
    put(tmp_path, name, content)
    assert "holds no example" in told(task, tmp_path)


@pytest.mark.parametrize(
    ("task", "name"), [(PANX, PANX_FILE), (PANX, ORIGINAL_FILE), (UDPOS, UDPOS_FILE), (UDPOS, TREEBANK)]
)
def test_bytes_that_are_not_utf8_are_named(tmp_path: Path, task: TaskSpec, name: str) -> None:
    path = put(tmp_path, name, b"\n\nM\xfcller\tO\n")
    assert f"{path}, line 3: not UTF-8 (byte 0xfc" in told(task, tmp_path)


@pytest.mark.parametrize(
    ("task", "name"), [(PANX, PANX_FILE), (PANX, ORIGINAL_FILE), (UDPOS, UDPOS_FILE), (UDPOS, TREEBANK)]
)
@pytest.mark.parametrize("damage", ["cut", "no gzip"])
def test_a_damaged_packed_file_is_named(tmp_path: Path, task: TaskSpec, name: str, damage: str) -> None:
    packed = gzip.compress(b"Anna\tO\n" * 500)
    path = put(tmp_path, f"{name}.gz", packed[:-12] if damage == "cut" else b"Anna\tO\n")
    assert f"{path}: cannot be read" in told(task, tmp_path)


def word(number: str, *, form: str = "Hund", tag: str = "NOUN") -> str:
    """A line of a treebank."""
    return f"{number}\t{form}\thund\t{tag}\t_\t_\t0\troot\t_\t_\n"


@pytest.mark.parametrize(
    ("content", "line", "words"),
    [
        ("1\tHund\thund\tNOUN\t_\t_\t0\troot\t_\n", 1, ["9 tab-separated fields where CoNLL-U has 10"]),
        ("1 Hund hund NOUN _ _ 0 root _ _\n", 1, ["1 tab-separated fields where CoNLL-U has 10"]),
        ("# sent_id = a\n" + word("1") + word("3"), 3, ["the id '3' does not follow word 1"]),
        (word("2"), 1, ["the id '2' does not follow word 0", "words count from 1"]),
        (word("1") + "\n" + word("2"), 3, ["the id '2' does not follow word 0"]),
        (word("one"), 1, ["the id 'one' does not follow word 0"]),
        (word(""), 1, ["the id '' does not follow word 0"]),
        (word("1") + word("2") + word("3-2") + word("3"), 3, ["the id '3-2' does not follow word 2"]),
        (word("2-3") + word("1"), 1, ["the id '2-3' does not follow word 0", "before its words"]),
        (
            word("1-2") + word("1") + word("2-3") + word("2") + word("3"),
            3,
            ["'2-3'", "does not overlap another"],
        ),
        (word("1-3") + word("1") + word("2"), 1, ["multiword token 1-3 goes beyond the last word, 2"]),
        (word("1") + word("3.1") + word("2"), 2, ["the id '3.1' does not follow word 1"]),
        (word("1", tag="NN"), 1, ["the part of speech (column 4) 'NN' is not one of ADJ, ADP"]),
        (word("1", tag="_"), 1, ["the part of speech (column 4) '_' is not one of ADJ, ADP"]),
        (word("1", form=""), 1, ["the form (column 2) is empty"]),
    ],
)
def test_a_bad_line_of_a_treebank_is_named(tmp_path: Path, content: str, line: int, words: list[str]) -> None:
    path = put(tmp_path, TREEBANK, content)
    for task in (UDPOS, UDPOS_SYNTACTIC):
        message = told(task, tmp_path)
        assert f"{path}, line {line}: " in message
        for expected in words:
            assert expected in message


def test_windows_line_ends_and_a_missing_last_blank_line_are_no_fault(tmp_path: Path) -> None:
    put(tmp_path, TREEBANK, (word("1") + "\n" + word("1-1") + word("1")).replace("\n", "\r\n").rstrip())
    rows = sources.read(UDPOS, "de", "dev", DataLocation.parse(str(tmp_path)))
    assert len(rows.examples) == 2


def test_a_split_that_is_not_there_is_named_with_its_layouts(tmp_path: Path) -> None:
    put(tmp_path, "panx/test-de.tsv", "Anna\tO\n")
    message = told(PANX, tmp_path)
    assert "panx layout lacks panx_dataset/de/dev" in message
    assert "xtreme layout lacks panx/dev-de.tsv" in message
    assert "--split panx=test" in message
