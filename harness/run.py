"""A run folder: opening one, adding finished units to it, reading one. Knows the layout on disk and no model.

``run.json`` says what is being run, ``records.jsonl`` what has been scored, ``predictions/`` what was predicted. A unit
(task × language) is done when its records are in ``records.jsonl``; predictions are written before.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from harness import files
from harness.errors import OutputError
from harness.records import (
    SCHEMA_VERSION,
    Number,
    Place,
    Record,
    holds_predictions,
    predictions_path,
    read_records,
    write_records,
)
from harness.wording import counted

if TYPE_CHECKING:
    from filelock import BaseFileLock

# Unit, variant and metric.
RecordKey: TypeAlias = tuple[str, str, int | None, str, str]
LOCK = ".lock"
_NEEDED = ("run", "status", "identity", "units", "model", "versions", "hardware", "data", "started")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it lies on disk.

    Attributes:
        folder: The run folder.
        manifest: Content of ``run.json``.
        records: All scored numbers.
        failures: Unit to what went wrong with it.
    """

    folder: Path
    # They would fill a notebook's screen.
    manifest: Mapping[str, Any] = field(repr=False)
    records: Sequence[Record] = field(repr=False)
    failures: Mapping[tuple[str, str, int | None], str] = field(default_factory=dict)

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    def table(self) -> list[dict[str, Any]]:
        """Records as plain dictionaries; ``pandas.DataFrame(run.table())`` and ``DataFrame(run.records)`` both work."""
        return [dataclasses.asdict(record) for record in self.records]


def open_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        OutputError: It is not one, or was written by another schema.
    """
    path = folder / "run.json"
    if not path.is_file():
        told = "no run.json; not a run folder" if folder.is_dir() else "no such folder"
        raise OutputError(f"{folder}: {told}")
    manifest = _manifest(path)
    failures = {
        (unit["task"], unit["language"], unit["seed"]): unit["error"]
        for unit in manifest["units"]
        if unit["status"] == "failed"
    }
    return Run(
        folder=folder, manifest=manifest, records=read_records(folder / "records.jsonl"), failures=failures
    )


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: not readable ({error}); evaluate again into another folder") from error
    if not isinstance(manifest, dict):
        raise OutputError(f"{path}: not the manifest of a run; give another folder")
    if manifest.get("schema") != SCHEMA_VERSION:
        raise OutputError(
            f"{path}: schema version {manifest.get('schema')}, this harness writes {SCHEMA_VERSION}; "
            "evaluate again into another folder"
        )
    gone = [key for key in _NEEDED if key not in manifest]
    if gone:
        raise OutputError(f"{path}: damaged, it lacks {', '.join(gone)}; evaluate again into another folder")
    return manifest


class RunWriter:
    """Adds finished units to a run folder, one process at a time.

    Args:
        folder: Created if missing.
        identity: What makes two runs the same experiment; a folder of another one is refused.
        overwrite: ``missing`` keeps what is done, ``always`` computes everything selected again, ``never`` refuses a
            folder that holds records.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], run: str, overwrite: str) -> None:
        self.folder = folder
        self.run = run
        self._before: dict[str, Any] = {}
        self._prepare()
        self._lock = self._locked()
        try:
            self._check_identity(identity)
            for left in self.folder.rglob(".*.tmp"):  # of killed processes: the lock is ours
                left.unlink(missing_ok=True)
            self._records: dict[RecordKey, Record] = {
                (*record.unit, record.variant, record.metric): record for record in read_records(self._path)
            }
            if overwrite == "never" and self._records:
                raise OutputError(f"{folder} holds results already and --overwrite never was given")
        except BaseException:
            self._lock.release()
            raise

    @property
    def _path(self) -> Path:
        return self.folder / "records.jsonl"

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe = self.folder / f".writable-{os.getpid()}.tmp"
            probe.write_text("", encoding="utf-8")
            probe.unlink()
        except OSError as error:
            raise files.output_error(self.folder, error) from error

    def _locked(self) -> BaseFileLock:
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise OutputError(
                f"{self.folder} is in use by another harness process; wait for it or choose another"
            ) from error
        return lock

    def _check_identity(self, identity: Mapping[str, Any]) -> None:
        if not (self.folder / "run.json").exists():
            strangers = [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]
            if strangers:
                raise OutputError(
                    f"{self.folder} is not a run folder and not empty (it holds {strangers[0]}); choose another"
                )
            return
        before = self._before = _manifest(self.folder / "run.json")
        if before["run"] != self.run:
            was = before["identity"]
            changed = [key for key in {**was, **identity} if was.get(key) != identity.get(key)]
            told = "; ".join(f"{key} was {was.get(key)!r}, is {identity.get(key)!r}" for key in changed)
            raise OutputError(
                f"{self.folder} belongs to another experiment ({told}); choose another --output"
            )

    def done(self, unit: tuple[str, str, int | None], recipe: str, data: str, expected: int) -> list[Record]:
        """The records of a unit if it is done by this recipe on this data and its predictions are there and whole, else none."""
        records = [
            record
            for record in self._records.values()
            if record.unit == unit and record.recipe == recipe and record.data == data
        ]
        paths = {
            predictions_path(self.folder, record.task, record.variant, record.seed, record.language)
            for record in records
        }
        return records if len(records) == expected and all(map(holds_predictions, paths)) else []

    def make_way(self, unit: tuple[str, str, int | None], variant: str, recipe: str, data: str) -> None:
        """Withdraw records that another recipe or other data gave, before their predictions are replaced.

        So no record ever stands beside predictions that it was not computed from, wherever the run is stopped.
        """
        kept = {
            key: record
            for key, record in self._records.items()
            if (record.unit, record.variant) != (unit, variant)
            or (record.recipe, record.data) == (recipe, data)
        }
        if len(kept) < len(self._records):
            self._records = kept
            write_records(self._path, list(kept.values()))

    def add(self, records: Sequence[Record]) -> None:
        """Put records in place of those of the same unit and variant, let them count, and write the file."""
        new = {(record.unit, record.variant) for record in records}
        self._records = {
            key: record for key, record in self._records.items() if (record.unit, record.variant) not in new
        }
        self._records.update({(*record.unit, record.variant, record.metric): record for record in records})
        self._records = self._counted(_main_numbers(records))
        write_records(self._path, list(self._records.values()))

    def count(self, asked: Mapping[Place, Number]) -> None:
        """Let other numbers of tasks and splits be the main ones, where they were scored; the file is written if that changes it."""
        counted = self._counted(asked)
        if counted != self._records:
            self._records = counted
            write_records(self._path, list(counted.values()))

    def _counted(self, asked: Mapping[Place, Number]) -> dict[RecordKey, Record]:
        """The records, of which those of a main number are main and others of its task and split are not."""
        scored = {(record.place, record.number) for record in self._records.values()}
        there = {place: number for place, number in asked.items() if (place, number) in scored}
        return {
            key: replace(record, main=record.number == there[record.place])
            if record.place in there
            else record
            for key, record in self._records.items()
        }

    def earlier_units(self, scored: set[tuple[str, str, int | None]]) -> Iterator[Mapping[str, Any]]:
        """The units that the folder's manifest listed when it was opened and that have records."""
        for unit in self._before.get("units", ()):
            if (unit["task"], unit["language"], unit["seed"]) in scored:
                yield {**unit, "status": "done", "error": ""}

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Write ``run.json``."""
        files.write_text(self.folder / "run.json", json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")

    @property
    def records(self) -> list[Record]:
        """All records so far, in the order of the file."""
        return read_records(self._path)

    def close(self) -> None:
        """Give the folder free for other processes."""
        self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _main_numbers(records: Sequence[Record]) -> dict[Place, Number]:
    return {record.place: record.number for record in records if record.main}


def verdict(run: Run) -> tuple[int, str]:
    """The exit code of a run and the sentence that is printed with it."""
    done = sum(unit["status"] == "done" for unit in run.manifest["units"])
    if run.failures:
        names = ", ".join(f"{task}/{language}" for task, language, _ in run.failures)
        return (
            3,
            f"{len(run.failures)} of {counted(len(run.manifest['units']), 'unit')} failed ({names}); {done} done and written",
        )
    return 0, f"{counted(done, 'unit')} done"
