"""Reading text with file and line in every error, and writing that leaves all or nothing."""

from __future__ import annotations

import errno
import gzip
import os
import re
from pathlib import Path

import pytest

from harness import DataError, OutputError, files


def _file(folder: Path, data: bytes, name: str = "text.tsv") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\r\n\r\nb", ["a", "", "b"]),
        (b"a\n\n", ["a", ""]),
        (b"a\rb\n", ["a\rb"]),
        (b"\xef\xbb\xbfa\n", ["a"]),
        (b"\xef\xbb\xbf", []),
        (b"\xef\xbb\xbf\xef\xbb\xbfa\n\xef\xbb\xbfb", ["\ufeffa", "\ufeffb"]),
        (" ä \t\n".encode(), [" ä \t"]),
    ],
)
@pytest.mark.parametrize("name", ["text.txt", "text.txt.gz"])
def test_lines_come_without_their_ends_and_the_byte_order_mark(
    tmp_path: Path, name: str, data: bytes, lines: list[str]
) -> None:
    assert files.read_lines(_file(tmp_path, data, name)) == lines


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_what_unicode_calls_a_line_separator_belongs_to_the_text(tmp_path: Path, separator: str) -> None:
    text = f"before{separator}after"
    assert files.read_lines(_file(tmp_path, f"{text}\n{text}".encode())) == [text, text]
    path = _file(tmp_path, f"1\t{text}\n".encode())
    assert list(files.read_columns(path, 2)) == [(1, ["1", text])]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "marked"])
@pytest.mark.parametrize("name", ["text.txt", "text.txt.gz"])
def test_bytes_that_are_not_utf8_are_named_with_file_and_line(tmp_path: Path, name: str, mark: bytes) -> None:
    path = _file(tmp_path, mark + "gut\nä\n".encode() + b"caf\xe9\n", name)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}, line 3: not UTF-8 \(byte 0xe9"):
        files.read_lines(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt: cannot be read"):
        files.read_lines(tmp_path / "nowhere.txt")


def test_a_folder_is_not_read_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(str(tmp_path))):
        files.read_lines(tmp_path)


@pytest.mark.parametrize("cut", [0, 5, 15, -1])
def test_a_gzip_file_that_is_cut_short_or_none_is_named(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"some text\n" * 40)[:cut] if cut else b"plain text")
    with pytest.raises(DataError, match=re.escape(str(path))):
        files.read_lines(path)


def test_the_plain_file_comes_before_its_packed_twin(tmp_path: Path) -> None:
    wanted = tmp_path / "text.tsv"
    assert files.find(wanted) is None
    packed = _file(tmp_path, b"a", "text.tsv.gz")
    assert files.find(wanted) == packed
    plain = _file(tmp_path, b"a")
    assert files.find(wanted) == plain


def test_a_folder_of_that_name_is_not_found_as_a_file(tmp_path: Path) -> None:
    (tmp_path / "text.tsv").mkdir()
    assert files.find(tmp_path / "text.tsv") is None


def test_columns_come_with_line_numbers(tmp_path: Path) -> None:
    path = _file(tmp_path, b"a\tb\r\n\tc\n")
    assert list(files.read_columns(path, 2)) == [(1, ["a", "b"]), (2, ["", "c"])]


@pytest.mark.parametrize(("line", "fields"), [("", 1), ("a", 1), ("a\tb\tc", 3), ("a b", 1)])
def test_another_number_of_columns_is_named_with_file_and_line(
    tmp_path: Path, line: str, fields: int
) -> None:
    path = _file(tmp_path, f"a\tb\n{line}\nc\td\n".encode())
    message = rf"^{re.escape(str(path))}, line 2: {fields} tab-separated fields where 2 are expected"
    with pytest.raises(DataError, match=message):
        list(files.read_columns(path, 2))


def test_a_text_is_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "text.txt"
    files.write_text(path, "ä\u2028b\r\nc\n")
    assert path.read_bytes() == "ä\u2028b\r\nc\n".encode()
    assert os.listdir(path.parent) == ["text.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_written_text_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    path = _file(tmp_path, b"old and longer")
    files.write_text(path, "new")
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_a_block_that_raises_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    path = _file(tmp_path, b"old")

    def interrupted() -> None:
        with files.atomic(path) as temporary:
            temporary.write_text("half of the ne")
            assert temporary.parent == tmp_path
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


def test_the_new_file_is_not_seen_before_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    with files.atomic(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    blocking = _file(tmp_path, b"a file", "file")
    for path in (blocking / "text.txt", blocking / "deeper" / "text.txt"):
        with pytest.raises(OutputError, match=rf"^{re.escape(str(path))}: cannot be written .*--output"):
            files.write_text(path, "x")
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_in_the_place_of_the_file_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "text.txt" / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot be written"):
        files.write_text(tmp_path / "text.txt", "x")
    assert os.listdir(tmp_path) == ["text.txt"]


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _file(tmp_path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=rf"^{re.escape(str(path))}: the disk is full"):
        files.write_text(path, "new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_within_the_block_is_told(tmp_path: Path, number: int) -> None:
    """A quota that is used up is a full disk to its user."""

    def filling() -> None:
        with files.atomic(tmp_path / "text.txt"):
            raise OSError(number, os.strerror(number))

    with pytest.raises(OutputError, match="the disk is full"):
        filling()
    assert os.listdir(tmp_path) == []
