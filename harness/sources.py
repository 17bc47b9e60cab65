"""From a task's sources to examples: files in their original format, the hub at a pinned revision, the sample.

Knows the layout of folders and of the hub's cache; knows no task by name. ``datasets`` and ``huggingface_hub`` are
imported only when the hub is read.
"""

from __future__ import annotations

import importlib.resources
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import digests, files, hub
from harness.errors import DataError, SpecError
from harness.formats.base import Example
from harness.spec import FilesSource, HubSource, Row, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class DataLocation:
    """Where rows come from: ``hub``, ``sample`` or a folder.

    Attributes:
        kind: Which of the three.
        folder: For ``files``, the data folder.
        offline: For the hub, whether only what is cached may be read.
    """

    kind: str
    folder: Path | None = None
    offline: bool = False

    @classmethod
    def parse(cls, text: str, *, offline: bool = False) -> DataLocation:
        """Read the value of ``--data``.

        Raises:
            DataError: The folder does not exist or is empty.
        """
        if text in ("hub", "sample"):
            return cls(kind=text, offline=offline)
        folder = Path(text)
        if not folder.is_dir():
            raise DataError(f"data folder {folder} does not exist; give a folder, 'hub' or 'sample'")
        try:
            empty = not any(folder.iterdir())
        except OSError as error:
            raise DataError(f"data folder {folder} cannot be read ({error.strerror})") from error
        if empty:
            raise DataError(f"data folder {folder} is empty")
        return cls(kind="files", folder=folder.resolve())

    def __str__(self) -> str:
        return str(self.folder) if self.folder else self.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSet:
    """The examples of one task, language and split, with where they came from.

    Attributes:
        examples: In the order of the source.
        source: Source's name, with the revision for the hub.
        fingerprint: SHA-256 of the examples' content.
        repairs: What the source mended, as texts with the number of rows that each concerns; counted before a limit.
        caveats: Why scores on these rows must not be compared with published ones.
    """

    examples: Sequence[Example]
    source: str
    fingerprint: str
    repairs: Mapping[str, int] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()


def read(
    task: TaskSpec,
    language: str,
    split: str,
    location: DataLocation,
    limit: int | None = None,
    without: frozenset[str] = frozenset(),
) -> RowSet:
    """Read the examples of one task, language and split.

    Args:
        limit: Keep only the format's subset of that many items.
        without: Ids of examples that are left out, before the limit counts.

    Raises:
        DataError: Nothing is there, or a file is malformed; the message names task, language, split and file.
    """
    try:
        rows, source = _rows(task, language, split, location)
        examples, repairs, caveats = _examples(task, rows)
    except DataError as error:
        raise DataError(f"{task.name}/{language}/{split}: {error}") from error
    if not examples:
        raise DataError(f"{task.name}/{language}/{split}: {source} holds no example")
    if without:
        examples = [example for example in examples if example.id not in without]
        if not examples:
            raise DataError(
                f"{task.name}/{language}/{split}: every example of this split was learned and none is left to score; "
                "learn a part of it only (--train-from SPLIT:RANGE), or score another split"
            )
    if limit is not None:
        examples = task.format.subset(examples, limit)
    return RowSet(
        examples=examples,
        source=source,
        fingerprint=fingerprint(examples),
        repairs=repairs,
        caveats=tuple(caveats),
    )


def _examples(task: TaskSpec, rows: Iterable[Row]) -> tuple[list[Example], dict[str, int], dict[str, int]]:
    """Examples, and how many rows carry which repair and which caveat."""
    examples: list[Example] = []
    seen: set[str] = set()
    repairs: Counter[str] = Counter()
    caveats: Counter[str] = Counter()
    for row in rows:
        try:
            example = task.example(row)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"row {len(examples) + 1} does not fit the task ({type(error).__name__}: {error})"
            ) from error
        if example.id in seen:
            raise DataError(f"example id '{example.id}' occurs twice")
        seen.add(example.id)
        examples.append(example)
        repairs.update([row["repair"]] if row.get("repair") else [])
        caveats.update([row["caveat"]] if row.get("caveat") else [])
    return examples, dict(repairs), dict(caveats)


def fingerprint(examples: Iterable[Example]) -> str:
    """SHA-256 of the examples' content and order; the same wherever and in whatever format they lie."""
    return digests.of_lines(example.canonical() for example in examples)


def available(task: TaskSpec, split: str, location: DataLocation) -> tuple[str, ...]:
    """The languages for which the data folder or the sample has this split. For the hub, all of the task."""
    if location.kind == "hub":
        return task.languages
    root = data_root(task, location)
    return tuple(code for code in task.languages if any(_present(task, code, split, root)))


def data_root(task: TaskSpec, location: DataLocation) -> Path:
    """The folder below which a task's files lie: the data folder, or that of its sample; raises DataError."""
    if location.folder is not None:
        return location.folder
    if task.sample is None:
        raise DataError(f"task '{task.name}' brings no sample")
    package, _, folder = task.sample.partition(":")
    try:
        root = importlib.resources.files(package)
    except ModuleNotFoundError as error:
        raise SpecError(f"task '{task.name}': sample package '{package}' is not installed") from error
    return Path(str(root)) / folder


def _present(
    task: TaskSpec, language: str, split: str, root: Path
) -> Iterator[tuple[FilesSource, Mapping[str, Path]]]:
    """Each file source of the task all of whose needed files exist, with their paths by role."""
    for source in task.sources:
        if isinstance(source, FilesSource):
            wanted = source.files(language, split)
            found = {role: files.find(root / path) for role, path in wanted.items()}
            paths = {role: path for role, path in found.items() if path is not None}
            if paths and set(wanted) - source.optional <= set(paths):
                yield source, paths


def _rows(task: TaskSpec, language: str, split: str, location: DataLocation) -> tuple[Iterable[Row], str]:
    if location.kind == "hub":
        return _hub_rows(task, language, split, offline=location.offline)
    root = data_root(task, location)
    for source, paths in _present(task, language, split, root):
        return source.read(paths, language), source.name
    raise DataError(_missing(task, language, split, root))


def _missing(task: TaskSpec, language: str, split: str, root: Path) -> str:
    layouts = []
    for source in task.sources:
        if isinstance(source, FilesSource):
            wanted = source.files(language, split)
            gone = [
                path
                for role, path in wanted.items()
                if role not in source.optional and not files.find(root / path)
            ]
            if wanted:
                every = f"every one of {', '.join(wanted.values())}"
                layouts.append(f"{source.name} layout lacks {', '.join(gone) or every}")
    others = [other for other in task.splits if other != split and any(_present(task, language, other, root))]
    advice = (
        f"; the folder has split {', '.join(others)}: add --split {task.name}={others[0]}" if others else ""
    )
    return f"no such data below {root} ({' | '.join(layouts) or 'no layout has this split'}){advice}"


def _hub_source(task: TaskSpec, split: str) -> HubSource:
    sources = [source for source in task.sources if isinstance(source, HubSource)]
    for source in sources:
        if source.split(split) is not None:
            return source
    known = ", ".join(source.repository for source in sources)
    raise DataError(
        f"no hub source has split '{split}' (looked at: {known or 'none'}); use --data with a folder"
    )


def has_split(task: TaskSpec, language: str, split: str, location: DataLocation) -> bool:
    """Whether a split is to be had from a location, for one language."""
    if location.kind == "hub":
        return any(
            isinstance(source, HubSource) and source.split(split) is not None for source in task.sources
        )
    return any(_present(task, language, split, data_root(task, location)))


def _hub_rows(task: TaskSpec, language: str, split: str, *, offline: bool) -> tuple[Iterable[Row], str]:
    source = _hub_source(task, split)
    folder = hub_snapshot(source, offline=offline)
    label = f"{source.repository}@{source.revision}"
    return source.read(_load(folder, source, language, split), language), label


def hub_snapshot(source: HubSource, *, offline: bool) -> Path:
    """The local folder of a data set repository at its pinned revision, fetched first where that is allowed.

    Raises:
        DataError: It is not cached and cannot be fetched.
    """
    try:
        return hub.snapshot(
            source.repository,
            kind="dataset",
            revision=source.revision,
            patterns=source.patterns,
            offline=offline,
        )
    except hub.NotToBeHadError as error:
        raise DataError(
            f"data set {source.repository} at revision {source.revision[:12]} is not cached and cannot be fetched "
            f"({error}); run 'harness data fetch' where there is a network, or use --data with a folder"
        ) from error


def _load(folder: Path, source: HubSource, language: str, split: str) -> Iterator[Row]:
    """Rows of a fetched repository. Loading by path never asks the hub."""
    import datasets

    datasets.disable_progress_bars()
    try:
        if source.data_files is not None:
            glob = str(folder / source.data_files(language, split))
            data: Any = datasets.load_dataset("parquet", data_files={"rows": glob}, split="rows")
        else:
            data = datasets.load_dataset(str(folder), source.config(language), split=source.split(split))
    # datasets has no common base class for what can be wrong with a folder.
    except Exception as error:
        told = " ".join(str(error).split())
        raise DataError(
            f"{source.repository}: cannot be read from {folder} ({type(error).__name__}: {told})"
        ) from error
    for batch in data.with_format("arrow").iter(10_000):
        yield from batch.to_pylist()
