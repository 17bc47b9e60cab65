"""Runs that meet something bad, looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
