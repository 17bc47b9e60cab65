"""Runs that meet something bad, looked at."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]


Change = Callable[[Path], object]


SAMPLE = ("eval", "-m", "sample", "-t", "tatoeba", "-l", "de", "--data", "sample")


def assert_failed_units(said: Any, words: Sequence[str]) -> None:
    """A run of which units failed: told once per unit, and at the end."""
    assert said.code == 3, said.err
    assert "Traceback" not in said.err
    assert "internal error" not in said.err
    lines = said.err.strip().splitlines()
    assert all(line.startswith("harness: ") for line in lines), said.err
    told = next(line for line in lines if " failed: " in line)
    for word in words:
        assert word in told, f"{word!r} is not in {told!r}"


def status(run: Path) -> str:
    """The status of a run folder."""
    return str(json.loads((run / "run.json").read_text(encoding="utf-8"))["status"])


def scored(run: Path) -> dict[tuple[str, str], list[str]]:
    """The lines of ``records.jsonl`` by task and language."""
    found: dict[tuple[str, str], list[str]] = {}
    for line in (run / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        found.setdefault((record["task"], record["language"]), []).append(line)
    return found


@contextlib.contextmanager
def full_disk(files: int) -> Iterator[None]:
    """A disk on which so many files can be written whole, and which is full then."""
    left = iter(range(files))
    sync = os.fsync

    def fsync(stream: Any) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(stream)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield
