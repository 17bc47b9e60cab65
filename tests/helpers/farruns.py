"""Experiments carried out by programs of their own, looked at from outside."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

RECIPE = """
title: Tiny
question: Does it run anywhere?
models: [sample]
settings:
  - name: baseline
  - each: [copa]
targets: [odd]
languages: [de]
data: sample
stage:
  hyper: {epochs: 2, batch_size: 8, learning_rate: 1e-3, select: last}
"""


# A task of which a cell waits, once, where a file beside it says so.
PLUGIN = """
import os, time
from pathlib import Path
from dataclasses import asdict, replace
from harness import hookimpl
from harness.formats.retrieval import Retrieval
from harness_xtreme.tatoeba import TATOEBA

HERE = Path(__file__).parent

class Odd(Retrieval):
    name = "odd"
    def decode(self, examples, outputs, tuning, neighbours):
        if (HERE / "broken").exists():
            raise RuntimeError("cannot count to three")
        try:
            (HERE / "wait").rename(HERE / "waiting.tmp")
        except FileNotFoundError:
            return super().decode(examples, outputs, tuning, neighbours)
        (HERE / "waiting.tmp").write_text(str(os.getpid()))
        (HERE / "waiting.tmp").rename(HERE / "waiting")
        while True:
            time.sleep(0.05)

@hookimpl
def harness_tasks():
    return [replace(TATOEBA, name="odd", format=Odd(searches=TATOEBA.format.searches))]
"""


def command(odd: Path, out: Path, *arguments: object) -> list[str]:
    given = ("run", odd / "tiny.yaml", "-p", odd / "odd_plugin.py", "-o", out, *arguments)
    return [sys.executable, "-m", "harness", *map(str, given)]


def records(out: Path) -> dict[str, bytes]:
    """Records and predictions of all cells."""
    paths = [*(out / "runs").rglob("records.jsonl"), *(out / "runs").rglob("*.parquet")]
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(paths)}


def statuses(out: Path) -> list[str]:
    told = json.loads((out / "experiment.json").read_text(encoding="utf-8"))
    return [cell["status"] for cell in told["cells"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A program at work. It writes into files: a pipe would stay open as long as jobs that outlive it."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so; fails when the program ends before, with what it said."""
        until = time.monotonic() + 900
        while not condition():
            assert self.process.poll() is None, f"it ended before: {self.err.read_text(encoding='utf-8')}"
            assert time.monotonic() < until, "it never happened"
            time.sleep(0.05)

    def end(self) -> tuple[int, str, str]:
        """Its exit code, and what it said on standard output and standard error."""
        code = self.process.wait(timeout=900)
        return code, self.out.read_text(encoding="utf-8"), self.err.read_text(encoding="utf-8")


def parent(process: int) -> int:
    """The process that began another."""
    return int(Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
