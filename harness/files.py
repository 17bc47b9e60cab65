"""Reading and writing files whole: UTF-8 text with file and line in every error, and atomic writes.

Knows nothing about data sets or runs.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from harness.errors import DataError, UnwrittenError

_BOM = b"\xef\xbb\xbf"
# What a full disk says, and a used-up quota, which is what a full disk is to its user.
FULL = (errno.ENOSPC, errno.EDQUOT)


def find(path: Path) -> Path | None:
    """The file itself or its ``.gz`` twin, whichever exists (the plain one first)."""
    packed = path.with_name(path.name + ".gz")
    return path if path.is_file() else packed if packed.is_file() else None


def read_bytes(path: Path) -> bytes:
    """A file's bytes, unpacked when its name ends in ``.gz``.

    Raises:
        DataError: The file cannot be read or is not a valid gzip file.
    """
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if path.suffix == ".gz" else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def read_lines(path: Path) -> list[str]:
    r"""The lines of a UTF-8 file, without their ends.

    A byte order mark at the start is dropped. Lines end in ``\n`` or ``\r\n``; other characters that Unicode calls
    line separators belong to the text.

    Raises:
        DataError: The file cannot be read, or a line is not UTF-8 (the message names file and line).
    """
    data = read_bytes(path).removeprefix(_BOM)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}, line {line}: not UTF-8 (byte 0x{data[error.start]:02x}, {error.reason}); "
            "convert the file to UTF-8"
        ) from error
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def read_columns(path: Path, columns: int) -> Iterator[tuple[int, list[str]]]:
    """``(line number, fields)`` of each line of a tab-separated file, the line number counting from 1.

    Raises:
        DataError: A line has another number of fields than ``columns``.
    """
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.split("\t")
        if len(fields) != columns:
            raise DataError(
                f"{path}, line {number}: {len(fields)} tab-separated fields where {columns} are expected: {line[:60]!r}"
            )
        yield number, fields


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends well, and is removed when not.

    Raises:
        OutputError: The folder cannot be written or the disk is full.
    """
    temporary: Path | None = None
    try:
        temporary = temporary_beside(path)
        yield temporary
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def temporary_beside(path: Path) -> Path:
    """A new empty file in the folder of ``path``, which is made where it is missing, named ``.NAME.….tmp``.

    Raises:
        OSError: It cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    return Path(name)


def settle(folder: Path) -> None:
    """Bring the content of every file of a folder to the disk, so that a rename cannot outlive it in a power failure.

    Raises:
        OSError: It cannot be written.
    """
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())


def copy_folder(folder: Path, draft: Path) -> None:
    """Copy a folder's files, and those of folders in it, into a new one. (shutil.copytree loses what went wrong.)

    Raises:
        OSError: It cannot be read or written.
    """
    for place, _, names in os.walk(folder):
        target = draft / Path(place).relative_to(folder)
        target.mkdir()
        for name in names:
            shutil.copy2(Path(place, name), target / name)


def output_error(
    path: Path | str, error: OSError, advice: str = "choose another folder with --output"
) -> UnwrittenError:
    """The one-line form of a failed write."""
    if error.errno in FULL:
        return UnwrittenError(
            f"{path}: the disk is full; free some space and run the same command again to go on"
        )
    return UnwrittenError(f"{path}: cannot be written ({error.strerror or error}); {advice}")


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it appears whole or not at all (see :func:`atomic`)."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
