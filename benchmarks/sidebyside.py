"""Two ways of doing one thing, measured side by side in one run: the rounds, the memory, the rows of the table.

Every way is a process of its own, so that its peak of memory is its own too. Ways take turns (A B A B), so that a machine
whose speed drifts is fair to all, and the ratio of two ways is the median of the ratios within the rounds. A way is either
a whole process from start to end (:func:`whole`) or a :func:`worker`, which prepares once and works when its turn comes.

Knows processes, seconds and MiB; knows nothing of what is measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeAlias

Json: TypeAlias = Any
Case: TypeAlias = Mapping[str, Json]
CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
# Makes ready, outside the clock, what one turn does within it.
Ready: TypeAlias = Callable[[], Callable[[], Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One way, once: wall seconds, the largest memory of its process so far in MiB, and what it said."""

    seconds: float
    memory: float
    said: Json = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a ratio should be: at most ``most``, or at least ``least``."""

    most: float | None = None
    least: float | None = None

    def met(self, ratio: float) -> bool:
        """Whether a ratio is as good as was wished."""
        return ratio <= self.most if self.most is not None else ratio >= (self.least or 0.0)

    def __str__(self) -> str:
        return f"≤ {self.most:g}" if self.most is not None else f"≥ {self.least:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table.

    Attributes:
        what: What was done; ``way`` how; ``against`` what it is compared with, empty for an absolute number.
        ratio: Median over the rounds, None where it was not measured; ``low`` and ``high`` its range over them.
        kind: ``time`` is the way's seconds over the other's, ``speed`` the other's over the way's.
        goal: What the ratio should be, None where it is only told.
        seconds: The way's median, then the other's; ``memory`` their peaks in MiB, 0 where not measured.
        note: What else there is to know: recall, agreement, or why the row was not measured.
    """

    what: str
    way: str
    against: str = ""
    ratio: float | None = None
    low: float = 0.0
    high: float = 0.0
    kind: str = "time"
    goal: Goal | None = None
    seconds: tuple[float, float] = (0.0, 0.0)
    memory: tuple[float, float] = (0.0, 0.0)
    note: str = ""

    @classmethod
    def of_json(cls, values: Json) -> Self:
        """The row that :func:`dataclasses.asdict` made JSON of."""
        goal = Goal(**values["goal"]) if values["goal"] else None
        pairs = {name: tuple(values[name]) for name in ("seconds", "memory")}
        return cls(**{**values, **pairs, "goal": goal})


def missing(what: str, way: str, against: str, why: str) -> Row:
    """A row that could not be measured, with the reason."""
    return Row(what=what, way=way, against=against, note=f"not measured: {why}")


def compared(
    what: str,
    turns: Mapping[str, Sequence[Turn]],
    way: str,
    against: str,
    *,
    kind: str = "time",
    goal: Goal | None = None,
    note: str = "",
) -> Row:
    """The row of two ways that took turns."""
    pairs = list(zip(turns[way], turns[against], strict=True))
    ratios = [mine.seconds / other.seconds for mine, other in pairs]
    if kind == "speed":
        ratios = [1 / ratio for ratio in ratios]
    return Row(
        what=what,
        way=way,
        against=against,
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        kind=kind,
        goal=goal,
        seconds=(median_seconds(turns[way]), median_seconds(turns[against])),
        memory=(peak_of(turns[way]), peak_of(turns[against])),
        note=note,
    )


def median_seconds(turns: Sequence[Turn]) -> float:
    """Of some turns of one way."""
    return statistics.median(turn.seconds for turn in turns)


def peak_of(turns: Sequence[Turn]) -> float:
    """The largest memory in some turns of one way, in MiB."""
    return max(turn.memory for turn in turns)


def alternate(ways: Mapping[str, Callable[[], Turn]], rounds: int) -> dict[str, list[Turn]]:
    """Every way once in each round, in order."""
    turns: dict[str, list[Turn]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            turns[name].append(way())
    return turns


def in_turn(
    script: str, cases: Mapping[str, Case], rounds: int, *, warm: Case | None = None
) -> dict[str, list[Turn]]:
    """Workers of one script that take turns.

    Args:
        script: Path of a benchmark that calls :func:`serve`.
        cases: By the way's name, what its worker is told.
        rounds: How often each works within the clock.
        warm: Changes to the case for one turn before the first round that does not count; None leaves it out.
    """
    with ExitStack() as stack:
        workers = {name: stack.enter_context(worker(script, case, warm)) for name, case in cases.items()}
        return alternate(workers, rounds)


def whole(command: Sequence[str], environment: Mapping[str, str], folder: str | Path = ".") -> Turn:
    """A whole process from start to end; its last line, where that is JSON, is what it said.

    Raises:
        SystemExit: The process failed; its last lines are told.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        with subprocess.Popen(command, stdout=output, stderr=errors, env=environment, cwd=folder) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        took = time.perf_counter() - start
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {_end_of(errors)}")
        output.seek(0)
        lines = output.read().strip().splitlines()
        said = json.loads(lines[-1]) if lines and lines[-1].startswith(("{", "[")) else None
        return Turn(seconds=took, memory=usage.ru_maxrss / 1024, said=said)


def _end_of(errors: Any) -> str:
    errors.seek(0)
    return " | ".join(errors.read().strip().splitlines()[-3:])


@contextmanager
def worker(script: str, case: Case, warm: Case | None) -> Iterator[Callable[[], Turn]]:
    """A process of a benchmark that has made itself ready; each call is a turn of it.

    Raises:
        SystemExit: It failed; its last lines are told.
    """
    command = [sys.executable, str(Path(script).resolve()), "--worker", json.dumps([case, warm])]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        asked, answers = process.stdin.fileno(), process.stdout

        def answer() -> Json:
            line = answers.readline()
            if not line:
                process.wait()
                raise SystemExit(f"{' '.join(command)} failed: {_end_of(errors)}")
            return json.loads(line)

        def turn() -> Turn:
            # A process that is gone is told by the answer that does not come.
            with suppress(BrokenPipeError):
                os.write(asked, b"go\n")
            return Turn(**answer())

        try:
            answer()
            yield turn
        except BaseException:
            process.kill()
            raise


def serve(told: str, prepare: Callable[[Case], Ready]) -> None:
    """Be a worker: make ready, then one turn for each line of standard input.

    What libraries print goes to standard error; seconds are of ``case["clock"]``, ``wall`` or ``cpu``.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    case, warm = json.loads(told)
    if warm is not None:
        prepare({**case, **warm})()()
    ready = prepare(case)
    print(json.dumps("ready"), file=answers, flush=True)
    clock = CLOCKS[case.get("clock", "wall")]
    for _ in sys.stdin:
        work = ready()
        start = clock()
        said = work()
        took = clock() - start
        turn = {"seconds": took, "memory": own_peak(), "said": said}
        print(json.dumps(turn, default=_plain), file=answers, flush=True)


def _plain(value: Any) -> Json:
    """Arrays as lists, other containers as dictionaries."""
    return value.tolist() if hasattr(value, "tolist") else dict(value)


def own_peak() -> float:
    """The largest memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def parser(doc: str | None, *, rounds: int) -> argparse.ArgumentParser:
    """Options that all benchmarks share."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", default=os.environ.get("HARNESS_REAL_DATA", "../shared/data"))
    options.add_argument("--rounds", type=int, default=rounds, help="turns of each way")
    options.add_argument("--json", type=Path, help="write the rows there too")
    options.add_argument("--worker", help=argparse.SUPPRESS)
    return options


def tell(rows: Iterable[Row], options: argparse.Namespace) -> None:
    """Print rows as they come, and write them where ``--json`` says when all are there."""
    found = []
    print(HEADER, flush=True)
    for row in rows:
        found.append(row)
        print(line(row), flush=True)
    if options.json:
        options.json.write_text(json.dumps([dataclasses.asdict(row) for row in found]), "utf-8")


_COLUMNS = ("what", "way", "against", "ratio", "over the rounds", "goal", "met", "seconds", "peak MiB", "")
_WIDTHS = (34, 30, 30, 13, 15, 7, 4, 15, 13, 0)
HEADER = " ".join(f"{name:<{width}}" for name, width in zip(_COLUMNS, _WIDTHS, strict=True)).rstrip()


def cells(row: Row) -> tuple[str, ...]:
    """The texts of a row, by column."""
    measured = row.ratio is not None
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}{' × time' if row.kind == 'time' else ' × speed'}"
    return (
        row.what,
        row.way,
        row.against,
        ratio if row.against else "",
        f"{row.low:.2f} – {row.high:.2f}" if measured and row.against else "",
        str(row.goal or ""),
        _met(row),
        _pair(row.seconds, _short),
        _pair(row.memory, lambda value: f"{value:.0f}"),
        row.note,
    )


def _met(row: Row) -> str:
    if row.goal is None or row.ratio is None:
        return ""
    return "yes" if row.goal.met(row.ratio) else "no"


def _pair(values: tuple[float, float], told: Callable[[float], str]) -> str:
    return " / ".join(told(value) for value in values if value)


def _short(seconds: float) -> str:
    return f"{seconds:.3g}" if seconds < 100 else f"{seconds:.0f}"


def line(row: Row) -> str:
    """A row as a line of text."""
    return " ".join(f"{text:<{width}}" for text, width in zip(cells(row), _WIDTHS, strict=True)).rstrip()


def markdown(rows: Iterable[Row]) -> list[str]:
    """Rows as the lines of a Markdown table."""
    lines = [f"| {' | '.join(_COLUMNS)} |", "|---|---|---|---:|---:|---:|---|---:|---:|---|"]
    return [*lines, *(f"| {' | '.join(cells(row))} |" for row in rows)]
