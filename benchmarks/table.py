"""Runs all benchmarks one after the other and writes the one table of docs/performance.md.

    python benchmarks/table.py [--quick] [--only NAME,…] [--data DIR] [--again] [--page FILE]

Each part is a script of this folder in a process of its own. The rows of a part that is done are kept in benchmarks/results/, so
that an interrupted run goes on where it stopped, as long as commit, machine, versions and settings are the same; a whole
table ends with the page, and the next run measures anew. ``--only`` measures the named parts again and prints them; the page
is written when all parts are there. A part whose script fails is told as a row and does not keep the others from running.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from sidebyside import HEADER, Json, Row, line, markdown

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "results"
PAGE = FOLDER.parent / "docs" / "performance.md"
BEGIN, END = "<!-- make bench: begin -->", "<!-- make bench: end -->"
PACKAGES = "torch transformers tokenizers faiss-cpu numpy accelerate sentence-transformers mteb".split()
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some rows of the table: the script that gives them, with its settings, and smaller ones for ``--quick``."""

    script: str
    settings: str = ""
    quick: str = ""


PARTS: Mapping[str, Part] = {
    "startup": Part(script="startup.py", settings="--rounds 15", quick="--rounds 1 --records 100"),
    "retrieval": Part(script="retrieval.py", quick="--rounds 1 --languages swh --dtype float32"),
    "inference": Part(
        script="inference.py",
        quick="--rounds 1 --tasks panx,xquad --examples 15 --questions 4 --languages 2 --dtype float32 --ways harness,bare,trainer",
    ),
    "encoders": Part(
        script="encoders.py",
        settings="--rounds 3",
        quick="--rounds 1 --lengths xnli --rows 16 --layers 2 --dtype float32",
    ),
    "training": Part(
        script="training.py",
        settings="--steps 2",
        quick="--rounds 1 --steps 2 --batch-size 4 --dtype float32 --tasks mnli",
    ),
    "search": Part(script="neighbours.py", quick="--rows 3000 --approximate 1000 --dimension 64"),
    "scoring": Part(script="scoring.py", quick="--rounds 1 --tokens 10000 --questions 500 --pairs 500"),
    "reading": Part(script="reading.py", quick="--rounds 1 --questions 2"),
    "growth": Part(script="memory.py", quick="--counts 300,900"),
    "growth-heads": Part(
        script="longsets.py", settings="--tasks xnli", quick="--tasks xnli --counts 40,120 --ways blocks"
    ),
}


def main() -> None:
    """Measure what is missing, print the table, write the page."""
    options = _options()
    chosen = options.only.split(",") if options.only else list(PARTS)
    unknown = sorted(set(chosen) - set(PARTS))
    if unknown:
        raise SystemExit(f"--only {','.join(unknown)}: no such part; there are {', '.join(PARTS)}")
    rows: list[Row] = []
    print(HEADER)
    for name in chosen:
        told = _settings(options, name)
        found = None if options.only or options.again else _kept(name, told)
        if found is None:
            found = _measured(name, told)
            _keep(name, told, found)
        rows += found
        print("\n".join(map(line, found)), flush=True)
    _finish(options, chosen, rows)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("HARNESS_REAL_DATA", "../shared/data"))
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all of it runs")
    parser.add_argument("--only", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--again", action="store_true", help="measure parts again that are done")
    parser.add_argument("--page", type=Path, help="default: docs/performance.md, with --quick none")
    return parser.parse_args()


def _settings(options: argparse.Namespace, name: str) -> Json:
    """What decides a part's numbers, as far as it is known."""
    part = PARTS[name]
    data = Path(options.data).resolve()
    return {
        "commit": _commit(),
        "machine": machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "threads": {key: os.environ.get(key, "") for key in THREADS},
        "command": [part.script, *(part.quick if options.quick else part.settings).split()],
        "data": str(data),
    }


def _commit() -> str:
    command = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty", "--abbrev=12", "--exclude", "*"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def machine() -> str:
    """The processor's name and how many cores there are to use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        named = [text for text in info.read_text("utf-8").splitlines() if text.startswith("model name")]
        name = named[0].partition(":")[2].strip() if named else name
    return f"{name}, {os.cpu_count()} cores"


def version(package: str) -> str:
    """The installed version of a package, ``-`` where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "-"


def _kept(name: str, told: Json) -> list[Row] | None:
    """The rows of a part that was measured before under the same settings."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return None
    kept = json.loads(path.read_text("utf-8"))
    return [Row.of_json(values) for values in kept["rows"]] if kept["settings"] == told else None


def _keep(name: str, told: Json, rows: Sequence[Row]) -> None:
    """A part that failed is not kept."""
    if any(row.note.startswith("failed") for row in rows):
        return
    RESULTS.mkdir(exist_ok=True)
    value = {"settings": told, "rows": [dataclasses.asdict(row) for row in rows]}
    temporary = RESULTS / f".{name}.{os.getpid()}"
    temporary.write_text(json.dumps(value, indent=1), "utf-8")
    temporary.replace(RESULTS / f"{name}.json")


def _measured(name: str, told: Json) -> list[Row]:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f".rows.{os.getpid()}.json"
    script, *settings = told["command"]
    command = [sys.executable, str(FOLDER / script), *settings, "--data", told["data"], "--json", str(path)]
    try:
        done = subprocess.run(
            command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            return [Row(what=name, way=" ".join(told["command"]), note=f"failed: {last[:300]}")]
        return [Row.of_json(values) for values in json.loads(path.read_text("utf-8"))]
    finally:
        path.unlink(missing_ok=True)


def _finish(options: argparse.Namespace, chosen: Sequence[str], rows: Sequence[Row]) -> None:
    """The counts, and the page where the table is whole."""
    goals = [row.goal.met(row.ratio) for row in rows if row.goal is not None and row.ratio is not None]
    print(f"\n{sum(goals)} of {len(goals)} goals met")
    if options.only:
        settings = {name: _settings(options, name) for name in PARTS}
        every = {name: _kept(name, told) for name, told in settings.items()}
        missing = [name for name, found in every.items() if found is None]
        if missing:
            print(f"the page is written when all parts are there; missing: {', '.join(missing)}")
            return
        rows = [row for found in every.values() for row in found or ()]
    page = options.page or (None if options.quick else PAGE)
    if page is not None:
        write_page(page, rows, [_settings(options, name) for name in PARTS])
        print(f"written: {page}")
    if any(row.note.startswith("failed") for row in rows):
        raise SystemExit(1)
    for name in PARTS:
        (RESULTS / f"{name}.json").unlink(missing_ok=True)


def write_page(page: Path, rows: Sequence[Row], settings: Sequence[Json]) -> None:
    """Put the table between the two marks of a page and leave the rest of it alone.

    Raises:
        SystemExit: The page does not have each mark once, in order.
    """
    text = page.read_text("utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise SystemExit(f"{page}: the marks {BEGIN} and {END} must be there once each, in this order")
    first = settings[0]
    versions = ", ".join(f"{name} {number}" for name, number in first["versions"].items())
    commands = [" ".join(told["command"]) for told in settings]
    told = [
        f"{datetime.date.today()}, {first['machine']}, commit {first['commit']}; Python {platform.python_version()}, {versions}.",
        f"Parts: {'; '.join(f'`{command}`' for command in commands)}.",
        "",
        *markdown(rows),
    ]
    page.write_text("\n".join([before + begin, "", *told, "", end + after]), "utf-8")


if __name__ == "__main__":
    main()
