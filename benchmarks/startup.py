"""Times light commands as whole processes, against an interpreter that does nothing; and the report of many records.

    python benchmarks/startup.py [--rounds 5] [--records 1000]

Each command also stands against an interpreter that imports the libraries it is built on and nothing of the harness: what no
change of the harness could do without.

``report``, ``gate`` and ``score`` read a small run that the built-in model made on the built-in sample. The large run has that
one's records again in other languages and layers, as many as are asked for.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sidebyside import Goal, Row, alternate, compared, median_seconds, parser, peak_of, tell, whole

if TYPE_CHECKING:
    from harness.records import Record

HARNESS = str(Path(sysconfig.get_path("scripts")) / "harness")
NOTHING = "python -c pass"
_PLUGINS = "import click, pluggy; from importlib import metadata; metadata.entry_points(group='harness')"
# The libraries that commands are built on, entry points being looked up by Python.
LIBRARIES = {
    "click alone": "import click",
    "click, pluggy, entry points": _PLUGINS,
    "these, NumPy": f"{_PLUGINS}; import numpy",
    "these, Jinja, rich": f"{_PLUGINS}; import jinja2, rich.console",
    "these, NumPy, pyarrow, rich": f"{_PLUGINS}; import numpy, pyarrow.parquet, rich.console",
}
NEEDS = {
    "harness --help": "click alone",
    "harness tasks list": "click, pluggy, entry points",
    "harness plugins list": "click, pluggy, entry points",
    "harness score": "these, NumPy",
    "harness report": "these, Jinja, rich",
    "harness gate": "these, NumPy, pyarrow, rich",
}
LANGUAGES = "de,es"


def main() -> None:
    """Run the rounds and print the rows."""
    options = parser(__doc__, rounds=5)
    options.add_argument("--records", type=int, default=1000, help="of the large report; 0 leaves it out")
    chosen = options.parse_args()
    tell(rows(chosen), chosen)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """A row for each command."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        environment = {**os.environ, "HARNESS_HOME": scratch, "HF_HUB_OFFLINE": "1"}
        # Without compiled files every start would compile the harness again, which no user sees twice.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        _prepare(folder, environment)
        ways = {
            name: partial(whole, command, environment, scratch) for name, command in _commands(folder).items()
        }
        for way in ways.values():
            way()
        turns = alternate(ways, options.rounds)
        for name in NEEDS:
            yield compared("start-up", turns, name, NOTHING, goal=Goal(most=6))
        for name in LIBRARIES:
            yield compared("start-up", turns, name, NOTHING, note="nothing of the harness")
        for name, libraries in NEEDS.items():
            yield compared("start-up", turns, name, libraries)
        if options.records:
            yield _large(folder, environment, options)


def _commands(folder: Path) -> Mapping[str, Sequence[str]]:
    run, submission = str(folder / "run"), folder / "submission"
    labels = ["--labels", str(submission / "labels"), "--languages", "available"]
    return {
        NOTHING: [sys.executable, "-c", "pass"],
        **{name: [sys.executable, "-c", code] for name, code in LIBRARIES.items()},
        "harness --help": [HARNESS, "--help"],
        "harness tasks list": [HARNESS, "tasks", "list"],
        "harness plugins list": [HARNESS, "plugins", "list"],
        "harness score": [HARNESS, "score", str(submission / "predictions"), *labels],
        "harness report": [HARNESS, "report", run],
        "harness gate": [HARNESS, "gate", run, "--baseline", run],
    }


def _prepare(folder: Path, environment: Mapping[str, str]) -> None:
    """The run and the submission folder that commands read."""
    choice = ["--tasks", "tatoeba", "--languages", LANGUAGES, "--data", "sample"]
    run = str(folder / "run")
    for command in (
        ["eval", "--model", "sample", *choice, "--output", run],
        ["export", run, "--format", "xtreme", "--output", str(folder / "submission")],
    ):
        whole([HARNESS, *command], environment, folder)


def _large(folder: Path, environment: Mapping[str, str], options: argparse.Namespace) -> Row:
    """The report of a run of many records: seconds of the whole process."""
    # Not before the light commands ran: the peak of a process is told to be at least its parent's size at the start.
    from harness.records import read_records, write_records

    large = folder / "large"
    large.mkdir()
    (large / "run.json").write_bytes((folder / "run" / "run.json").read_bytes())
    few = read_records(folder / "run" / "records.jsonl")
    write_records(large / "records.jsonl", list(_repeated(few, options.records)))
    way = partial(whole, [HARNESS, "report", str(large)], environment, folder)
    turns = alternate({"report": way}, options.rounds)["report"]
    return Row(
        what=f"report of {options.records:,} records",
        way="harness report",
        seconds=(median_seconds(turns), 0.0),
        memory=(peak_of(turns), 0.0),
        note="the whole process",
    )


def _repeated(records: Sequence[Record], count: int) -> Iterator[Record]:
    from harness.registry import load_catalog

    languages = sorted(load_catalog().task("tatoeba").languages)
    first = [record for record in records if record.language == records[0].language]
    for number in range(count):
        record = first[number % len(first)]
        layer, language = divmod(number // len(first), len(languages))
        variant = record.variant.replace("layer", f"layer{layer}") if layer else record.variant
        yield dataclasses.replace(record, language=languages[language], variant=variant)


if __name__ == "__main__":
    main()
