"""Processes that carry out one command together: what each does, and what they tell each other.

All of them go the same road. Where something is computed that may fail, an error of one is an error of all, so that they
stay in step; where something is decided or written, the first one does it and the others are told. What is computed where
follows from numbers of items, never from time. Knows tensors and errors; knows no task, no model and no file.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from harness import digests, errors
from harness.errors import HarnessError, ModelError, UsageError
from harness.place import Interrupted, LostRank, Place

T = TypeVar("T")
Scores = NDArray[np.float32]

# Arrays that may wait to be taken by the first process.
_AHEAD: Final = 4
_MOST_DIMENSIONS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """This process among the others; alone, every method does its work here and now.

    Attributes:
        place: Which one it is.
        group: Of torch.distributed, for what lies on the CPU.
        store: By which the processes tell how they ended; None where they were brought together by somebody else.
    """

    place: Place = field(default_factory=Place)
    group: Any = None
    store: Any = None

    @property
    def rank(self) -> int:
        """Number of this process."""
        return self.place.rank

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.place.size

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.place.rank == 0

    def exchange(self, label: str, told: bytes) -> list[bytes]:
        """What every process tells, by rank.

        Raises:
            LostRank: Another process is gone, or tells something with another label.
        """
        if self.size == 1:
            return [told]
        head = torch.tensor([_number(label), len(told)], dtype=torch.int64)
        heads = self._gathered(head)
        if any(int(other[0]) != int(head[0]) for other in heads):
            raise LostRank(
                f"the processes of this run are not at the same step (one of them is at '{label}')"
            )
        lengths = [int(other[1]) for other in heads]
        if not max(lengths):
            return [b""] * self.size
        bodies = self._gathered(torch.from_numpy(np.frombuffer(told.ljust(max(lengths)), np.uint8).copy()))
        return [other[:length].numpy().tobytes() for other, length in zip(bodies, lengths, strict=True)]

    def _gathered(self, mine: Tensor) -> list[Tensor]:
        every = [torch.empty_like(mine) for _ in range(self.size)]
        with talking():
            dist.all_gather(every, mine, group=self.group)
        return every

    def each(self, compute: Callable[[], T]) -> T:
        """Compute in every process; an error in one is raised in all, the first one's where there are several."""
        if self.size == 1:
            return compute()
        value, failure = _tried(compute)
        try:
            told = self.exchange("each", _told(failure))
            failed = [rank for rank, entry in enumerate(told) if entry]
            if not failed:
                return value  # type: ignore[return-value]  # there is a value where nothing failed
            stopped = [rank for rank in failed if json.loads(told[rank])["kind"] == "KeyboardInterrupt"]
            rank = (stopped or failed)[0]
            if rank == self.rank and failure is not None:
                raise failure
            raise _again(json.loads(told[rank]), rank)
        finally:
            # Else this frame, the error and its traceback hold on to one another, and to the tensors of what failed.
            del failure

    def from_first(self, compute: Callable[[], T]) -> T:
        """Compute in the first process only; its value, a JSON value, or its error comes to all."""
        if self.size == 1:
            return compute()
        value, failure = _tried(compute) if self.first else (None, None)
        try:
            mine = (_told(failure) or json.dumps({"value": value}).encode()) if self.first else b""
            told = json.loads(self.exchange("first", mine)[0])
            if failure is not None:
                raise failure
            if "kind" in told:
                raise _again(told, 0)
            return value if self.first else told["value"]  # type: ignore[return-value]
        finally:
            del failure  # as above

    def agree(self, what: str, value: object) -> None:
        """Make sure that all processes have the same JSON value; raises UsageError in all where they do not."""
        if self.size == 1:
            return
        told = self.exchange("agree", digests.of_value(value).encode())
        if len(set(told)) > 1:
            raise UsageError(
                f"the {self.size} processes of this run do not have the same {what}; give all of them the same command, "
                "data, plugins and versions"
            )

    def summed(self, counts: dict[str, int]) -> dict[str, int]:
        """Counts with the same names, added up over all processes."""
        told = [json.loads(entry) for entry in self.exchange("counts", json.dumps(counts).encode())]
        return {name: sum(entry.get(name, 0) for entry in told) for name in counts}

    def in_turn(self, items: Sequence[T], compute: Callable[[T], Scores]) -> Generator[tuple[T, Scores]]:
        """Compute an array for each item, item ``i`` in process ``i % size``; the first one gets all of them in order.

        The others compute and get nothing. To be gone through within :meth:`each`, which raises what failed elsewhere,
        for after an error of any process no item is given any more; and to be closed, which frees the others.
        """
        if self.size == 1:
            for item in items:
                yield item, compute(item)
        elif self.first:
            yield from self._taken(items, compute)
        else:
            self._given(items[self.rank :: self.size], compute)

    def _taken(self, items: Sequence[T], compute: Callable[[T], Scores]) -> Iterator[tuple[T, Scores]]:
        owners = deque(number % self.size for number in range(len(items)))
        try:
            for item in items:
                owner = owners.popleft()
                array = self._received(owner) if owner else compute(item)
                if array is None:
                    return
                yield item, array
        except LostRank:
            owners.clear()
            raise
        finally:
            # What the others have sent already is taken and thrown away, so that they are not stuck.
            for owner in owners:
                if owner:
                    self._received(owner)

    def _received(self, owner: int) -> Scores | None:
        head = torch.empty(_MOST_DIMENSIONS + 1, dtype=torch.int64)
        with talking():
            dist.recv(head, owner, group=self.group)
            if head[0] < 0:
                return None
            array = torch.empty(head[1 : 1 + int(head[0])].tolist(), dtype=torch.float32)
            dist.recv(array, owner, group=self.group)
        return array.numpy()

    def _given(self, items: Sequence[T], compute: Callable[[T], Scores]) -> None:
        waiting: deque[list[tuple[Any, Tensor]]] = deque()
        failure: BaseException | None = None
        try:
            with talking():
                for item in items:
                    array = None
                    if failure is None:
                        array, failure = _tried(partial(compute, item))
                    waiting.append(self._sent(array))
                    if len(waiting) > _AHEAD:
                        _wait_for(waiting.popleft())
                for sent in waiting:
                    _wait_for(sent)
            if failure is not None:
                raise failure
        finally:
            del failure  # as above

    def _sent(self, array: Scores | None) -> list[tuple[Any, Tensor]]:
        head = torch.full((_MOST_DIMENSIONS + 1,), -1, dtype=torch.int64)
        parts = [head]
        if array is not None:
            head[: array.ndim + 1] = torch.tensor([array.ndim, *array.shape])
            parts.append(torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)))
        return [(dist.isend(part, 0, group=self.group), part) for part in parts]

    def in_step(self, items: Sequence[T]) -> Generator[T]:
        """Go through items together, for as long as the first process does; it may stop early by closing."""
        if self.size == 1:
            yield from items
            return
        goes_on = True
        try:
            for item in items:
                goes_on = self.from_first(lambda: True)
                if not goes_on:
                    return
                yield item
        finally:
            # An error that is the first one's alone does not leave the others waiting for more.
            while goes_on:
                goes_on = self.from_first(lambda: False)


ALONE: Final = Ranks()


@contextlib.contextmanager
def talking() -> Iterator[None]:
    """Turns torch.distributed's errors into the one that says that another process is gone.

    An interrupt in the middle of talking cannot be told to the others in step: this process leaves.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted from error
    except RuntimeError as error:
        raise LostRank(
            "another process of this run is gone or does not answer; what is written is kept, and the same command goes on "
            f"from there ({' '.join(str(error).split())[:200]})"
        ) from error


def _wait_for(sent: list[tuple[Any, Tensor]]) -> None:
    for work, _ in sent:
        work.wait()


def _number(label: str) -> int:
    return int(digests.of_value(label, 12), 16)


def _tried(compute: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return compute(), None
    # Whatever a model or a plugin raises; the other processes have to be told before it is passed on.
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001
        return None, error


def _told(failure: BaseException | None) -> bytes:
    if failure is None:
        return b""
    return json.dumps({"kind": type(failure).__name__, "text": str(failure)}).encode()


def _again(told: dict[str, str], rank: int) -> BaseException:
    """An error of another process, of the same kind where it is one of the harness's."""
    if told["kind"] == "KeyboardInterrupt":
        return KeyboardInterrupt()
    if told["kind"] == "OutOfMemoryError":
        return torch.OutOfMemoryError(told["text"])
    kind = getattr(errors, told["kind"], None)
    if isinstance(kind, type) and issubclass(kind, HarnessError):
        return kind.__new__(kind, told["text"])
    return ModelError(f"{told['kind']} in process {rank}: {told['text']}")
