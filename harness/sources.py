"""From a task's sources to examples: files in their original format, the hub at a pinned revision, the sample.

Knows how rows are read and become examples; knows no layout and no task by name. ``datasets`` and ``huggingface_hub`` are
imported only when the hub is read.
"""

from __future__ import annotations

import importlib.resources
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness import digests, hub, layouts
from harness.errors import DataError, SpecError
from harness.formats.base import Example
from harness.spec import HubSource, Row, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class DataLocation:
    """Where rows come from: ``hub``, ``sample``, a folder, or a folder and, for what it has not, the hub.

    Attributes:
        kind: ``hub``, ``sample``, ``files`` or ``files+hub``.
        folder: For ``files`` and ``files+hub``, the data folder.
        offline: For the hub, whether only what is cached may be read.
    """

    kind: str
    folder: Path | None = None
    offline: bool = False

    @classmethod
    def parse(cls, text: str, *, offline: bool = False) -> DataLocation:
        """Read the value of ``--data``: ``hub``, ``sample``, ``DIR`` or ``DIR+hub``.

        Raises:
            DataError: The folder does not exist, is a file, or is empty.
        """
        if text in ("hub", "sample"):
            return cls(kind=text, offline=offline)
        folder, both = Path(text), False
        if text.endswith(_AND_HUB) and not folder.is_dir():
            folder, both = Path(text.removesuffix(_AND_HUB)), True
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise DataError(
                f"data folder {folder} {what}; give a folder, 'hub', 'sample', or a folder and what it has not "
                f"from the hub: DIR{_AND_HUB}"
            )
        try:
            empty = not any(folder.iterdir())
        except OSError as error:
            raise DataError(f"data folder {folder} cannot be read ({error.strerror})") from error
        if empty:
            raise DataError(f"data folder {folder} is empty")
        kind = f"files{_AND_HUB}" if both else "files"
        return cls(kind=kind, folder=folder.resolve(), offline=offline and both)

    def __str__(self) -> str:
        return f"{self.folder}{_AND_HUB * self.hub}" if self.folder else self.kind

    @property
    def hub(self) -> bool:
        """Whether rows may come from the hub."""
        return self.kind.endswith("hub")

    @property
    def local(self) -> bool:
        """Whether rows may come from files: of a folder or of the sample."""
        return self.kind != "hub"


_AND_HUB = "+hub"


@dataclass(frozen=True, kw_only=True)
class RowSet:
    """The examples of one task, language and split, with where they came from.

    Attributes:
        examples: In the order of the source.
        source: Source's name, with the revision for the hub; of joined data one per part, behind the part's name.
        repairs: What the source mended, as texts with the number of rows that each concerns; counted before a limit.
        caveats: Why scores on these rows must not be compared with published ones.
    """

    examples: Sequence[Example]
    source: str
    repairs: Mapping[str, int] = field(default_factory=dict)
    caveats: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the examples' content, for which all of them are read once more."""
        return fingerprint(self.examples)


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
        raise error.within(f"{task.name}/{language}/{split}") from error
    if not examples:
        raise DataError(f"{task.name}/{language}/{split}: {source} holds no example")
    cut = _cut(task, language, split, examples) if location.kind != "sample" else ()
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
        repairs=repairs,
        caveats=(*cut, *caveats),
    )


def _cut(task: TaskSpec, language: str, split: str, examples: Sequence[Example]) -> tuple[str, ...]:
    """What is to be said of less than the whole set; one text for all languages, so that tables say it once."""
    short = task.format.items(examples) < task.sizes.get(split, {}).get(language, 0)
    return (f"only a part of {task.name}/{split} is there",) if short else ()


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
    """The languages for which a split is to be had. For the hub alone, all of the task."""
    if not location.local:
        return task.languages
    return tuple(code for code in task.languages if has_split(task, code, split, location))


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


def _rows(task: TaskSpec, language: str, split: str, location: DataLocation) -> tuple[Iterable[Row], str]:
    """Rows of all parts, one part after the other, and where they come from."""
    root = data_root(task, location) if location.local else None
    if root is not None and not has_split(task, language, split, location):
        missing = layouts.missing(task, language, split, root)
        if not location.hub:
            raise missing
        raise DataError(f"{missing.told}; nor has the hub the split in '{language}'", advice=missing.advice)
    rows: list[Iterable[Row]] = []
    labels: list[str] = []
    for part, given in layouts.parts(task).items():
        here = next(layouts.present(given, language, split, root), None) if root is not None else None
        if here is not None:
            source, paths = here
            found, label = source.read(paths, language), source.name
        else:
            there = layouts.hub_source(given, part, language, split)
            found, label = _hub_rows(there, language, split, location)
        rows.append(_named(part, found))
        labels.append(f"{part} {label}".lstrip())
    return itertools.chain.from_iterable(rows), ", ".join(labels)


def passages(task: TaskSpec, language: str, split: str, location: DataLocation) -> list[str]:
    """The texts of a split as running text, those of files whose answers were taken out too.

    Raises:
        DataError: Nothing is there, or not even the texts can be read.
    """
    try:
        examples = read(task, language, split, location).examples
    except DataError:
        bare = _bare(task, language, split, location)
        if bare is None:
            raise
        return bare
    return [text for example in examples for text in task.format.passages(example)]


def _bare(task: TaskSpec, language: str, split: str, location: DataLocation) -> list[str] | None:
    """The texts alone of a split's files, None where a part of them has no reader for that."""
    if not location.local or not has_split(task, language, split, location):
        return None
    root = data_root(task, location)
    found: list[str] = []
    for given in layouts.parts(task).values():
        source, paths = next(layouts.present(given, language, split, root), (None, {}))
        if source is None or source.passages is None:
            return None
        found += source.passages(paths, language)
    return found


def _named(part: str, rows: Iterable[Row]) -> Iterable[Row]:
    """Rows whose ids begin with the part's name, where it has one."""
    return ({**row, "id": f"{part}/{row['id']}"} for row in rows) if part else rows


def has_split(task: TaskSpec, language: str, split: str, location: DataLocation) -> bool:
    """Whether a split is to be had from a location, for one language."""
    root = data_root(task, location) if location.local else None
    return all(
        (root is not None and any(layouts.present(given, language, split, root)))
        or (location.hub and any(layouts.on_hub(given, language, split)))
        for given in layouts.parts(task).values()
    )


def _hub_rows(
    source: HubSource, language: str, split: str, location: DataLocation
) -> tuple[Iterable[Row], str]:
    folder = hub_snapshot(source, offline=location.offline, language=language, split=split)
    label = f"{source.repository}@{source.revision}"
    return source.read(_load(folder, source, language, split), language), label


def hub_snapshot(source: HubSource, *, offline: bool, language: str = "", split: str = "") -> Path:
    """The local folder of a data set repository at its pinned revision, fetched first where that is allowed.

    Of a repository whose files are chosen by language only those of ``language`` and ``split`` are fetched; without a
    language none is, so the folder has what was read before.

    Raises:
        DataError: It is not cached and cannot be fetched.
    """
    patterns = (
        (_ABOUT, *layouts.needed(source, language, split)) if callable(source.patterns) else source.patterns
    )
    try:
        return hub.snapshot(
            source.repository,
            kind="dataset",
            revision=source.revision,
            patterns=patterns,
            offline=offline,
        )
    except hub.NotToBeHadError as error:
        raise _not_cached(source, str(error), language) from error


_ABOUT = "README.md"


def _not_cached(source: HubSource, told: str, language: str) -> DataError:
    # What is chosen by language 'data fetch' leaves aside.
    chosen = callable(source.patterns) and language
    whose = f" for '{language}'" if chosen else ""
    todo = "run the same once" if chosen else "run 'harness data fetch'"
    return DataError(
        f"data set {source.repository} at revision {source.revision[:12]} is not cached{whose} and cannot be fetched "
        f"({told}); {todo} where there is a network, or use --data with a folder"
    )


def _load(folder: Path, source: HubSource, language: str, split: str) -> Iterator[Row]:
    """Rows of a fetched repository. Loading by path never asks the hub."""
    import datasets

    datasets.disable_progress_bars()
    try:
        if source.data_files is not None:
            files = source.data_files(language, split)
            if not any(folder.glob(files)):
                # The client gives the folder of another language's files where it may not ask the network.
                raise _not_cached(source, f"no {files}", language)
            glob = str(folder / files)
            data: Any = datasets.load_dataset("parquet", data_files={"rows": glob}, split="rows")
        else:
            data = datasets.load_dataset(str(folder), source.config(language), split=source.split(split))
    except DataError:
        raise
    # datasets has no common base class for what can be wrong with a folder.
    except Exception as error:
        told = " ".join(str(error).split())
        raise DataError(
            f"{source.repository}: cannot be read from {folder} ({type(error).__name__}: {told})"
        ) from error
    for batch in data.with_format("arrow").iter(10_000):
        yield from batch.to_pylist()
