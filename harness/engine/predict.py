"""Rows to scores: batches of a whole group of row sets, each distinct row run once, scores handed on as they come.

Knows a model with a head; knows no task, language or file. Scores are never kept here.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.engine import batching
from harness.engine.fetching import Fetched, one_late, sent
from harness.engine.headed import Headed
from harness.engine.load import not_finite
from harness.engine.packed import batches_of
from harness.engine.passes import Work, launched
from harness.engine.pooling import filled
from harness.engine.ranks import ALONE, Ranks
from harness.errors import ModelError
from harness.formats.base import Reader
from harness.formats.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Rows that wait for scores, with what reads them.

    Attributes:
        rows: The rows; ``ids`` the ids of their examples, for messages.
        reader: Takes their scores.
        language: In which they are, ``""`` where it is not known.
    """

    rows: Rows
    reader: Reader
    language: str = ""
    ids: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class Predictor:
    """A model with a head at work.

    Attributes:
        headed: The model.
        batch_tokens: Tokens per batch.
        ranks: The processes among which batches are divided; the first one's readers get all scores, the others' none.
        work: Counts of what was done here.
    """

    headed: Headed
    batch_tokens: int
    ranks: Ranks = ALONE
    work: Work = field(default_factory=Work)

    def run(self, asked: Sequence[Asked], tell: Callable[[int], None] = lambda count: None) -> None:
        """Give every reader the scores of all its rows; ``tell`` hears of each batch's number of rows.

        Batches are planned over all row sets together, by length; equal rows are run once. Where the model has parts for
        languages, rows that different parts read are different, and a batch holds those of one part.

        Raises:
            ModelError: A score is NaN or infinite, or a single row does not fit the device's memory.
        """
        for told in self.answer(asked, tell).values():
            raise ModelError(told)

    def answer(
        self, asked: Sequence[Asked], tell: Callable[[int], None] = lambda count: None
    ) -> Mapping[int, str]:
        """As :meth:`run`, but row sets with scores that are NaN or infinite do not end it.

        Returns:
            What is wrong with each of these, by its number; their readers do not have all scores.
        """
        self.ranks.agree("rows to predict", [int(entry.rows.starts[-1]) for entry in asked])
        if not asked:
            return {}
        broken = self.ranks.each(lambda: self._run(asked, tell))
        return dict(self.ranks.from_first(lambda: list(broken.items())))

    def _run(self, asked: Sequence[Asked], tell: Callable[[int], None]) -> dict[int, str]:
        broken: dict[int, str] = {}
        reader = self.headed.row_reader
        parts = [reader.languages.number(entry.language) if reader is not None else 0 for entry in asked]
        flat = _Flat.of([entry.rows for entry in asked], parts)
        with contextlib.closing(self._made(list(self._batches(flat)), flat)) as done:
            for batch, scores in done:
                for places, found in self._read(batch, scores, flat):
                    good: NDArray[np.bool_] = np.logical_and.reduce(
                        np.isfinite(found).reshape(len(places), -1), axis=1
                    )
                    for number, chosen, own in flat.askers(batch.rows[places]):
                        if not good[own].all():
                            odd = int(chosen[~good[own]][0])
                            broken.setdefault(number, self._complaint(asked[number], odd))
                        elif number not in broken:
                            asked[number].reader.take(chosen, found[own])
                tell(len(batch.rows))
        return broken

    def _complaint(self, entry: Asked, row: int) -> str:
        """What to say of a row without finite scores."""
        number = int(entry.rows.owner[row])
        example = f"example {entry.ids[number]}" if entry.ids else f"row {row}"
        return f"{self.headed.name}: scores of {example} are {not_finite(self.headed.dtype)}"

    def _made(
        self, batches: Sequence[batching.Batch], flat: _Flat
    ) -> Generator[tuple[batching.Batch, NDArray[np.float32]]]:
        """Batches and their scores, each rank's share computed there; the first rank gets them all."""
        if self.ranks.size == 1:
            for batch, fetched in one_late(self._computed(batches, flat)):
                yield batch, fetched.array()
            return
        with contextlib.closing(self.ranks.in_turn(batches, lambda batch: self._whole(batch, flat))) as done:
            yield from done

    def _whole(self, batch: batching.Batch, flat: _Flat) -> NDArray[np.float32]:
        """Scores of one batch; the halves of one that did not fit are put together again."""
        parts = [fetched.array() for _, fetched in self._computed([batch], flat)]
        # Scores of packed tokens are one row of all of them.
        return np.concatenate(parts, axis=1 if batch.packed and parts[0].ndim == 3 else 0)

    def _computed(
        self, batches: Sequence[batching.Batch], flat: _Flat
    ) -> Iterator[tuple[batching.Batch, Fetched]]:
        """Batches, or their halves in order, and their scores, which a device may still be computing."""
        headed = self.headed
        return launched(
            batches,
            lambda batch: Fetched((_packed if batch.packed else _padded)(headed, batch, flat)),
            flat.lengths,
            packer=headed.packer,
            device=headed.device,
            work=self.work,
            noun="row",
        )

    def _batches(self, flat: _Flat) -> Iterator[batching.Batch]:
        for part in np.unique(flat.parts).tolist():
            mine = np.flatnonzero(flat.parts == part)
            for batch in batches_of(
                self.headed.packer, flat.lengths[mine], self.batch_tokens, self.headed.device
            ):
                yield replace(batch, rows=mine[batch.rows])

    def _read(
        self, batch: batching.Batch, scores: NDArray[np.float32], flat: _Flat
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Places in a batch with their scores: all at once, or equally long ones together where a head scores tokens."""
        places = np.arange(len(batch.rows))
        if not batch.packed or scores.ndim == 2:
            yield places, scores[: len(places)]
            return
        begin = 0
        lengths = flat.lengths[batch.rows]
        for group in np.split(places, np.flatnonzero(np.diff(lengths)) + 1):
            end = begin + int(lengths[group].sum())
            yield group, scores[0, begin:end].reshape(len(group), -1, scores.shape[-1])
            begin = end


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flat:
    """The distinct rows of several row sets, and who asks for each.

    Attributes:
        ids: int32, shape ``(tokens,)``; ``segments`` uint8 alike; ``starts`` of shape ``(distinct + 1,)``.
        owners: Number of the row set and of the row in it, int64, shape ``(rows, 2)``, ordered by distinct row.
        first: Where the askers of each distinct row begin in ``owners``, shape ``(distinct + 1,)``.
        parts: Number of the model's part that reads each distinct row, shape ``(distinct,)``; 0 for a model without parts.
    """

    ids: NDArray[np.int32]
    segments: NDArray[np.uint8]
    starts: NDArray[np.int64]
    owners: NDArray[np.int64]
    first: NDArray[np.int64]
    parts: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per distinct row."""
        return np.diff(self.starts)

    @classmethod
    def of(cls, sets: Sequence[Rows], parts: Sequence[int]) -> _Flat:
        numbers: dict[tuple[int, bytes, bytes], int] = {}
        ids: list[NDArray[np.int32]] = []
        segments: list[NDArray[np.uint8]] = []
        readers: list[int] = []
        owners: list[tuple[int, int, int]] = []
        for place, rows in enumerate(sets):
            borders = rows.starts.tolist()
            for row, (begin, end) in enumerate(itertools.pairwise(borders)):
                own, marks = rows.ids[begin:end], rows.segments[begin:end]
                number = numbers.setdefault((parts[place], own.tobytes(), marks.tobytes()), len(ids))
                if number == len(ids):
                    ids.append(own)
                    segments.append(marks)
                    readers.append(parts[place])
                owners.append((number, place, row))
        table = np.array(owners, dtype=np.int64).reshape(-1, 3)
        table = table[np.argsort(table[:, 0], kind="stable")]
        counts = np.array([len(row) for row in ids], dtype=np.int64)
        return cls(
            ids=np.concatenate(ids) if ids else np.empty(0, dtype=np.int32),
            segments=np.concatenate(segments) if segments else np.empty(0, dtype=np.uint8),
            starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            owners=table[:, 1:],
            first=np.searchsorted(table[:, 0], np.arange(len(ids) + 1)),
            parts=np.array(readers, dtype=np.int64),
        )

    def askers(self, distinct: NDArray[np.int64]) -> list[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """For each row set that asks for some of these: its number, its rows, and their places among ``distinct``."""
        counts = self.first[distinct + 1] - self.first[distinct]
        places = np.repeat(np.arange(len(distinct)), counts)
        owners = np.concatenate(
            [self.owners[self.first[row] : self.first[row + 1]] for row in distinct.tolist()]
        )
        return [
            (number, owners[owners[:, 0] == number, 1], places[owners[:, 0] == number])
            for number in np.unique(owners[:, 0]).tolist()
        ]


def _padded(headed: Headed, batch: batching.Batch, flat: _Flat) -> Tensor:
    """One pass over a batch of equal padded lengths, float32, ``(rows, size)`` or ``(rows, length, size)``."""
    rows = filled(batch, headed.device)
    inputs = gather(flat.ids, flat.segments, flat.starts, rows, batch.length, headed, masked=batch.padded)
    with torch.inference_mode(), reading(headed, flat.parts[rows]):
        scores: Tensor = headed.module(*inputs)[: len(batch.rows)]
    return scores


def _packed(headed: Headed, batch: batching.Batch, flat: _Flat) -> Tensor:
    """One pass over sequences in one row, float32, ``(at least sequences, size)`` or ``(1, at least tokens, size)``."""
    assert headed.packer is not None
    segments = flat.segments if headed.tokenizer.template.segments else None
    row = headed.packer.row(flat.ids, flat.starts, batch.rows, headed.device, segments)
    with torch.inference_mode(), reading(headed, flat.parts[batch.rows[:1]]), headed.packer.running(row):
        scores: Tensor = headed.module(row.ids, None, row.segments)
    return scores


def reading(headed: Headed, parts: NDArray[np.int64] | None) -> contextlib.AbstractContextManager[None]:
    """Within, a model with parts for languages reads row ``i`` with part ``parts[i]``, None: all with the default one.

    Any other model goes on as it is.
    """
    reader = headed.row_reader
    return contextlib.nullcontext() if reader is None or parts is None else reader.reading(parts)


def gather(
    ids: NDArray[np.int32],
    segments: NDArray[np.uint8],
    starts: NDArray[np.int64],
    rows: NDArray[np.int64],
    length: int,
    headed: Headed,
    *,
    masked: bool,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Some rows of a flat array as padded ids, attention mask and segments on the model's device.

    Returns:
        Three tensors of shape ``(rows, length)``; the mask is None unless ``masked``, the segments are None for a model
        without them.
    """
    places = starts[rows][:, None] + np.arange(length)
    inside = places < starts[rows + 1][:, None]
    places = np.minimum(places, len(ids) - 1)
    padding = headed.tokenizer.padding
    device = headed.device
    filled = sent(np.where(inside, ids[places], padding).astype(np.int64), device)
    mask = sent(inside.astype(np.int64), device) if masked else None
    kinds = None
    if headed.tokenizer.template.segments:
        kinds = sent(np.where(inside, segments[places], 0).astype(np.int64), device)
    return filled, mask, kinds
