"""What lies on disk of a run: records (one scored number each) and predictions. Knows no model and no task.

Schema version 1. ``records.jsonl`` is tidy: one Record a line, every value under its own name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any, Self, TypeAlias

from harness import files
from harness.arrays import NDArray, np
from harness.digests import canonical_json
from harness.errors import OutputError
from harness.formats.base import Json, Predictions
from harness.metric import Parts

# Task and split, of which one number is the main one; variant and metric, which say what number it is.
Place: TypeAlias = tuple[str, str]
Number: TypeAlias = tuple[str, str]
SCHEMA_VERSION = 1
_TRAINING = ("parent", "task", "split", "data")
_TEXTS = ("id", "gold", "prediction")
# The mark at both ends, and the footer's length.
_LEAST_PARQUET = 12


def split_caveat(split: str, own: str) -> str:
    """What a record of another split than the task's own says of it."""
    return f"split {split}, the task's own is {own}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One scored number with all that is needed to trust it.

    Attributes:
        run: Identity of the run: model, data source and settings, not the selection of tasks.
        task: Task's name; ``task_version`` its version.
        variant: Protocol, encoding and view, e.g. ``xtreme.layer8.mean.en-xx``, or ``xtreme.head`` where a head answers.
        view: The view alone, ``""`` where the task has only one; the last part of the variant where it is not empty.
        language: In the harness's spelling.
        split: Of the data.
        metric: Metric's name; ``signature`` says exactly which number it is.
        value: Percent, 0-100; ``stderr`` in percent points.
        n: Items scored.
        higher_is_better: Direction of the metric.
        main: Whether it is what counts of its task and split: the main number in the main encoding (the protocol's, or the
            last of those asked for) of the last command that asked for them.
        limited: Number of items asked for by ``--limit``, or None.
        items: Digest of the ids of the scored items, equal in languages that have the same ones.
        caveats: Why it must not be averaged or compared with published numbers.
        facts: What was decided on the way, e.g. a threshold.
        inputs: Health of what the model read, as counts: ``max_length``, ``texts``, ``distinct``, ``empty``,
            ``truncated``; with a head also those of :class:`harness.formats.rows.Rows`.
        model: As the user named it; ``revision`` its commit on the hub; ``weights`` digest; ``dtype`` it ran in.
        recipe: Hash of everything that decides the number besides model and data.
        seed: Of the fine-tuning, None where nothing is trained.
        trained: How the head came about: ``checkpoint``, ``parent``, ``task``, ``split``, ``language``, ``examples``,
            ``data``, ``steps``; empty where nothing was trained in this run.
        source: Where the rows came from; ``data`` their fingerprint.
        plugin: Who brought the task, with ``distribution`` and its ``version``.
    """

    run: str
    task: str
    task_version: int
    variant: str
    view: str
    language: str
    split: str
    metric: str
    signature: str
    value: float
    stderr: float
    n: int
    higher_is_better: bool
    main: bool
    limited: int | None
    items: str
    caveats: tuple[str, ...]
    facts: Mapping[str, Json]
    inputs: Mapping[str, int]
    trained: Mapping[str, Json]
    model: str
    revision: str | None
    weights: str
    dtype: str
    recipe: str
    seed: int | None
    source: str
    data: str
    plugin: str
    distribution: str
    version: str
    schema: int = field(default=SCHEMA_VERSION)

    @property
    def unit(self) -> tuple[str, str, int | None]:
        """Task, language and seed: what is computed and written together."""
        return self.task, self.language, self.seed

    @property
    def place(self) -> Place:
        """Task and split: one number of them counts."""
        return self.task, self.split

    @property
    def number(self) -> Number:
        """Variant and metric: which number of the task it is."""
        return self.variant, self.metric

    @property
    def of_own_split(self) -> bool:
        """Whether it was scored on the split whose score counts for the task."""
        return not any(caveat.startswith(split_caveat(self.split, "")) for caveat in self.caveats)

    @property
    def training(self) -> tuple[str, ...]:
        """What seeds of one training have in common: what was trained, and on what; empty where nothing was trained."""
        return tuple(str(self.trained[name]) for name in _TRAINING if name in self.trained)

    @property
    def encoding(self) -> str:
        """The variant without its view."""
        return self.variant.removesuffix(f".{self.view}") if self.view else self.variant

    @property
    def comparable(self) -> bool:
        """Whether the number may be compared with published ones."""
        return not self.caveats and self.limited is None


_FIELDS = tuple(item.name for item in dataclasses.fields(Record))


def to_line(record: Record) -> str:
    """One line of ``records.jsonl``."""
    return canonical_json({name: getattr(record, name) for name in _FIELDS})


def from_line(line: str, where: str) -> Record:
    """The record that a line holds.

    Raises:
        OutputError: The line is not a record of this schema.
    """
    try:
        value: Any = json.loads(line)
        if not isinstance(value, dict):
            raise TypeError("not an object")
        if value.get("schema") != SCHEMA_VERSION:
            raise ValueError(f"schema version {value.get('schema')}, this harness writes {SCHEMA_VERSION}")
        return Record(**{**value, "caveats": tuple(value["caveats"])})
    except (ValueError, TypeError, KeyError) as error:
        raise OutputError(f"{where}: not a record ({error}); evaluate again into another folder") from error


def read_records(path: Path) -> list[Record]:
    """All records of a file; empty where there is none."""
    if not path.exists():
        return []
    return [
        from_line(line, f"{path}, line {number}")
        for number, line in enumerate(files.read_lines(path), start=1)
    ]


def write_records(path: Path, records: Sequence[Record]) -> None:
    """Write all records, in order of task, language, variant, metric and seed, so that the file appears whole."""
    ordered = sorted(
        records,
        key=lambda record: (
            record.task,
            record.language,
            record.variant,
            record.metric,
            -1 if record.seed is None else record.seed,
        ),
    )
    files.write_text(path, "".join(to_line(record) + "\n" for record in ordered))


def predictions_path(folder: Path, task: str, variant: str, seed: int | None, language: str) -> Path:
    """Where the predictions of one unit and variant lie; ``seed-none`` where nothing was trained."""
    seeded = f"seed-{'none' if seed is None else seed}"
    return folder / "predictions" / task / variant / seeded / f"{language}.parquet"


def write_predictions(path: Path, predictions: Predictions, parts: Mapping[str, Parts]) -> None:
    """Write one prediction set: id, gold, prediction (JSON texts) and the parts of each metric as ``metric.part``."""
    with PredictionsWriter(path) as writer:
        writer.add(predictions)
        writer.finish(parts)


# Not pa.array: that imports pandas, which takes half a second, to ask whether it was given something of pandas.


def _arrow_texts(texts: Iterable[str]) -> Any:
    import pyarrow as pa

    spelled = [text.encode("utf-8") for text in texts]
    # Raises OverflowError above 2 GiB, which Arrow's texts cannot have.
    borders = np.fromiter(accumulate(map(len, spelled), initial=0), np.int32, len(spelled) + 1)
    buffers = [None, pa.py_buffer(borders), pa.py_buffer(b"".join(spelled))]
    return pa.Array.from_buffers(pa.string(), len(spelled), buffers)


def _arrow_numbers(numbers: NDArray[np.float64]) -> Any:
    import pyarrow as pa

    buffers = [None, pa.py_buffer(np.ascontiguousarray(numbers, dtype=np.float64))]
    return pa.Array.from_buffers(pa.float64(), len(numbers), buffers)


class PredictionsWriter:
    """Writes one prediction set whose items come some at a time. The file appears whole or not at all.

    In memory is the latest block only. Those before it lie in a temporary file beside ``path``, because columns depend on
    parts that are known in the end; each block becomes a row group.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._items = 0
        self._latest: Any = None
        self._spool: Path | None = None
        self._stream: Any = None

    def add(self, predictions: Predictions) -> None:
        """Take the next items; raises OutputError where the folder cannot be written or the disk is full."""
        import pyarrow as pa

        if self._latest is not None:
            self._put_by(self._latest)
        told = (map(canonical_json, values) for values in (predictions.gold, predictions.values))
        columns = [_arrow_texts(column) for column in (predictions.ids, *told)]
        self._latest = pa.record_batch(columns, names=list(_TEXTS))
        self._items += len(self._latest)

    def _put_by(self, block: Any) -> None:
        import pyarrow as pa

        try:
            if self._spool is None:
                options = pa.ipc.IpcWriteOptions(compression="zstd")
                self._spool = files.temporary_beside(self._path)
                self._stream = pa.ipc.new_stream(str(self._spool), block.schema, options=options)
            self._stream.write_batch(block)
        except OSError as error:
            raise files.output_error(self._path, error) from error

    def finish(self, parts: Mapping[str, Parts]) -> None:
        """Write all with the parts of each metric, where there is one for each item; raises as :meth:`add` does."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = {
            f"{metric}.{name}": array
            for metric, arrays in parts.items()
            for name, array in arrays.items()
            if len(array) == self._items
        }
        schema = pa.schema(
            [*((name, pa.string()) for name in _TEXTS), *((name, pa.float64()) for name in columns)]
        )
        begin = 0
        with (
            files.atomic(self._path) as temporary,
            pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ):
            for block in self._blocks():
                end = begin + len(block)
                mine = [_arrow_numbers(array[begin:end]) for array in columns.values()]
                writer.write_table(pa.table([*block.columns, *mine], schema=schema))
                begin = end

    def _blocks(self) -> Iterator[Any]:
        import pyarrow as pa

        if self._spool is not None:
            self._stream.close()
            with self._spool.open("rb") as file, pa.ipc.open_stream(file) as stream:
                yield from stream
        yield self._latest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
        if self._spool is not None:
            self._spool.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPredictions:
    """One prediction set as it lies on disk.

    Attributes:
        ids: Of the items, no two alike.
        gold: The gold answers as canonical JSON texts; ``values`` the predicted ones.
        parts: Metric's name to its per-item parts, each of shape ``(items,)``.
    """

    ids: Sequence[str]
    gold: Sequence[str]
    values: Sequence[str]
    parts: Mapping[str, Parts]


def holds_predictions(path: Path) -> bool:
    """Whether a prediction file is there and not cut short: Parquet ends with the length of its footer and a mark."""
    if not path.is_file() or path.stat().st_size < _LEAST_PARQUET:
        return False
    with path.open("rb") as stream:
        stream.seek(-8, os.SEEK_END)
        length = int.from_bytes(stream.read(4), "little")
        return stream.read(4) == b"PAR1" and length + _LEAST_PARQUET <= path.stat().st_size


def read_predictions(path: Path) -> StoredPredictions:
    """What :func:`write_predictions` wrote.

    Raises:
        OutputError: The file is missing or damaged, an id occurs twice, or a part is not a finite number.
    """
    import pyarrow.parquet as pq

    if not path.is_file():
        raise OutputError(f"{path}: no such predictions")
    try:
        # Neither pq.read_table nor to_numpy: they import pandas, which takes a quarter of a second.
        with pq.ParquetFile(path) as file:
            table = file.read()
        ids, gold, values = (table[name].to_pylist() for name in _TEXTS)
        parts: dict[str, dict[str, Any]] = {}
        for column in table.column_names[3:]:
            metric, _, name = column.partition(".")
            parts.setdefault(metric, {})[name] = np.array(table[column].to_pylist(), dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(
            f"{path}: not readable as predictions ({error}); remove it and evaluate again"
        ) from error
    if len(set(ids)) < len(ids):
        twice = next(identity for identity, count in Counter(ids).items() if count > 1)
        raise OutputError(f"{path}: damaged, the id {twice!r} occurs more than once")
    for metric, arrays in parts.items():
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise OutputError(f"{path}: damaged, a part of the metric '{metric}' is not a finite number")
    return StoredPredictions(ids=ids, gold=gold, values=values, parts=parts)
