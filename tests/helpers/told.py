"""What a command told, looked at: for tests of bad input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def assert_one_line(said: Any, words: Sequence[str], code: int = 2) -> None:
    """A command ended as it should: exit code, one line, these words in it, no traceback."""
    assert said.code == code, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    lines = said.err.strip().splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("harness: ")
    assert "internal error" not in lines[0]
    for word in words:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"
