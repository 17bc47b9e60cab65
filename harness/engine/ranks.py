"""Processes that carry out one command together: what each does, what they tell each other, and how they end.

All of them go the same road. Where something is computed that may fail, an error of one is an error of all, so that they
stay in step; where something is decided or written, the first one does it and the others are told. What is computed where
follows from numbers of items, never from time. Knows tensors and errors; knows no task, no model and no file.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import struct
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from harness import digests, errors
from harness.errors import HarnessError, ModelError, UsageError
from harness.place import LostRank, Place, place

T = TypeVar("T")
Scores = NDArray[np.float32]

# How long a process waits for another that is alive; one that died is noticed at once. The first one searches and scores
# meanwhile, which may take an hour.
_WAIT_SECONDS: Final = 4 * 3600
# Keeps dropout of several processes apart from every other use of the seed.
_DROPOUT_STREAM: Final = 0xD20
# Arrays that may wait to be taken by the first process.
_AHEAD: Final = 4
# Gradients with fewer elements are sent together.
_SMALL: Final = 1 << 16
_MOST_DIMENSIONS: Final = 6
_LEAVING_SECONDS: Final = 5.0


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
        with _talking():
            dist.all_gather(every, mine, group=self.group)
        return every

    def each(self, compute: Callable[[], T]) -> T:
        """Compute in every process; an error in one is raised in all, the first one's where there are several."""
        if self.size == 1:
            return compute()
        value, failure = _tried(compute)
        told = self.exchange("each", _told(failure))
        failed = [rank for rank, entry in enumerate(told) if entry]
        if not failed:
            return value  # type: ignore[return-value]  # there is a value where nothing failed
        stopped = [rank for rank in failed if json.loads(told[rank])["kind"] == "KeyboardInterrupt"]
        rank = (stopped or failed)[0]
        if rank == self.rank and failure is not None:
            raise failure
        raise _again(json.loads(told[rank]), rank)

    def from_first(self, compute: Callable[[], T]) -> T:
        """Compute in the first process only; its value, a JSON value, or its error comes to all."""
        if self.size == 1:
            return compute()
        value, failure = _tried(compute) if self.first else (None, None)
        mine = (_told(failure) or json.dumps({"value": value}).encode()) if self.first else b""
        told = json.loads(self.exchange("first", mine)[0])
        if failure is not None:
            raise failure
        if "kind" in told:
            raise _again(told, 0)
        return value if self.first else told["value"]  # type: ignore[no-any-return,return-value]

    def agree(self, what: str, value: object) -> None:
        """Make sure that all processes have the same JSON value; raises UsageError in all where they do not."""
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
        with _talking():
            dist.recv(head, owner, group=self.group)
            if head[0] < 0:
                return None
            array = torch.empty(head[1 : 1 + int(head[0])].tolist(), dtype=torch.float32)
            dist.recv(array, owner, group=self.group)
        return array.numpy()

    def _given(self, items: Sequence[T], compute: Callable[[T], Scores]) -> None:
        waiting: deque[list[tuple[Any, Tensor]]] = deque()
        failure: BaseException | None = None
        for item in items:
            array = None
            if failure is None:
                array, failure = _tried(functools.partial(compute, item))
            waiting.append(self._sent(array))
            if len(waiting) > _AHEAD:
                _wait_for(waiting.popleft())
        for sent in waiting:
            _wait_for(sent)
        if failure is not None:
            raise failure

    def _sent(self, array: Scores | None) -> list[tuple[Any, Tensor]]:
        head = torch.full((_MOST_DIMENSIONS + 1,), -1, dtype=torch.int64)
        parts = [head]
        if array is not None:
            head[: array.ndim + 1] = torch.tensor([array.ndim, *array.shape])
            parts.append(torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)))
        with _talking():
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

    def sum_gradients(self, parameters: Iterable[Tensor], value: float) -> float:
        """Put the sum of all processes' gradients into each of them; the sum of the values, in float64.

        A parameter that has a gradient nowhere stays without one, as in one process. All processes get the same bits, and
        the same ones each time, for the order in which they are added follows from the number of processes alone.
        """
        if self.size == 1:
            return value
        parameters = list(parameters)
        mine = np.packbits([parameter.grad is not None for parameter in parameters]).tobytes()
        told = self.exchange("gradients", struct.pack("<d", value) + mine)
        masks = [np.frombuffer(entry[8:], dtype=np.uint8) for entry in told]
        used = np.unpackbits(np.bitwise_or.reduce(masks), count=len(parameters)).tolist()
        grads = [_gradient(parameter) for parameter, there in zip(parameters, used, strict=True) if there]
        for grad in grads:
            if grad.numel() >= _SMALL:
                self._add_up(grad)
        small = [grad for grad in grads if grad.numel() < _SMALL]
        if small:
            together = torch.cat([grad.flatten() for grad in small])
            self._add_up(together)
            parts = together.split([grad.numel() for grad in small])
            for grad, part in zip(small, parts, strict=True):
                grad.copy_(part.view_as(grad))
        return sum(struct.unpack("<d", entry[:8])[0] for entry in told)

    def _add_up(self, tensor: Tensor) -> None:
        with _talking():
            dist.all_reduce(tensor, group=self.group if tensor.device.type == "cpu" else None)

    def dropout_seed(self, seed: int, step: int) -> int:
        """Where torch's generator starts in this process at one optimizer step of a training with a seed."""
        entropy = [seed, step, self.rank, _DROPOUT_STREAM]
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))

    def end(self) -> None:
        """Part from the others, all having done their work."""
        if self.store is not None:
            self.exchange("end", b"")
            dist.destroy_process_group()

    def leave(self, code: int) -> bool:
        """Go before the others do, and leave word with which exit code; whether this process is to tell why.

        Where all have the same error the first one tells it; where one has it, that one.
        """
        if self.store is None:
            return True
        if not self.first:
            self.ended(wait=1.0)
        tells = self._ask(lambda: self.store.add("told", 1) == 1, otherwise=True)
        if tells:
            self._ask(lambda: self.store.set("ended", str(code)), otherwise=None)
        self._part()
        return tells

    def ended(self, wait: float = 2.0) -> int | None:
        """The exit code that the process which left first left word of; None where it was killed."""
        if self.store is None:
            return None
        until = time.monotonic() + wait
        while not self._ask(lambda: self.store.check(["ended"]), otherwise=True):
            if time.monotonic() > until:
                return None
            time.sleep(0.05)
        return self._ask(lambda: int(self.store.get("ended")), otherwise=None)

    def follow(self) -> None:
        """Go after another one left."""
        if self.store is not None:
            self._part()

    def _part(self) -> None:
        """Break off; the first process, which may be the one that keeps the word of all, goes last if that is soon."""
        self._ask(lambda: self.store.add("gone", 1), otherwise=0)
        with contextlib.suppress(RuntimeError, ValueError):
            dist.destroy_process_group()
        until = time.monotonic() + _LEAVING_SECONDS
        while self.first and time.monotonic() < until:
            if self._ask(lambda: self.store.add("gone", 0), otherwise=self.size) >= self.size:
                return
            time.sleep(0.05)

    @staticmethod
    def _ask(question: Callable[[], T], *, otherwise: T) -> T:
        """Ask the store; it may be gone with the process that kept it."""
        try:
            return question()
        except RuntimeError:
            return otherwise


ALONE: Final = Ranks()


@functools.cache
def join(where: Place) -> Ranks:
    """Meet the other processes of a command.

    Raises:
        UsageError: They cannot be reached, or this one has no device of its own.
    """
    if where.size == 1:
        return ALONE
    cuda = torch.cuda.is_available()
    if cuda and where.local < torch.cuda.device_count():
        torch.cuda.set_device(where.local)
    wait, store = timedelta(seconds=_wait_seconds()), None
    try:
        if not dist.is_initialized():
            store, _, _ = next(iter(rendezvous("env://", timeout=wait)))
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if cuda else "gloo",
                store=store,
                rank=where.rank,
                world_size=where.size,
                timeout=wait,
            )
            store = PrefixStore("harness", store)
        group = dist.new_group(backend="gloo", timeout=wait)
    except (RuntimeError, ValueError, OSError) as error:
        told = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise UsageError(
            f"process {where.rank} of {where.size} does not reach the others at {told}: {error}"
        ) from error
    return Ranks(place=where, group=group, store=store)


def own_device(device: str, where: Place) -> str:
    """The device of one of several processes: the CPU, or the CUDA device of its number on its machine.

    Raises:
        UsageError: All of them would take the same device, or there is none for this one.
    """
    if where.size == 1 or device == "cpu":
        return device
    if ":" in device:
        raise UsageError(
            f"--device {device}: each of the {where.size} processes takes a device of its own; give cuda, and choose devices "
            "with CUDA_VISIBLE_DEVICES"
        )
    if where.local >= torch.cuda.device_count():
        raise UsageError(
            f"process {where.local} of this machine has no CUDA device, for torch sees {torch.cuda.device_count()}; start "
            "fewer processes, or give --device cpu"
        )
    return device


def here() -> Ranks:
    """This process among those that its launcher started; raises UsageError."""
    return join(place())


def _wait_seconds() -> float:
    text = os.environ.get("HARNESS_RANKS_SECONDS", str(_WAIT_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise UsageError(f"environment variable HARNESS_RANKS_SECONDS={text}: give a number of seconds")
    return seconds


@contextlib.contextmanager
def _talking() -> Iterator[None]:
    """Turns torch.distributed's errors into the one that says that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise LostRank(
            "another process of this run is gone or does not answer; what is written is kept, and the same command goes on "
            f"from there ({' '.join(str(error).split())[:200]})"
        ) from error


def _wait_for(sent: list[tuple[Any, Tensor]]) -> None:
    with _talking():
        for work, _ in sent:
            work.wait()


def _gradient(parameter: Tensor) -> Tensor:
    """The gradient of a parameter as it can be sent; zeros where only other processes have one."""
    grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    parameter.grad = grad.contiguous()
    return parameter.grad


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
