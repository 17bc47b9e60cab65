"""How the processes of a command meet and part, so that all of them end alike. Knows the launcher's environment."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from harness.engine.ranks import ALONE, Ranks
from harness.errors import UsageError
from harness.place import Place, place

T = TypeVar("T")

# How long a process waits for another that is alive; one that died is noticed at once, but for sums of gradients between GPUs,
# which NCCL's watchdog ends. The first one searches and scores meanwhile, which may take an hour.
_WAIT_SECONDS: Final = 4 * 3600
_MEETING_SECONDS: Final = 600.0
_LEAVING_SECONDS: Final = 5.0


def here() -> Ranks:
    """This process among those that its launcher started; raises UsageError."""
    return join(place())


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
    wait, meeting, store = timedelta(seconds=_wait_seconds()), timedelta(seconds=_MEETING_SECONDS), None
    try:
        if not dist.is_initialized():
            store, _, _ = next(iter(rendezvous("env://", timeout=meeting)))
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if cuda else "gloo",
                store=store,
                rank=where.rank,
                world_size=where.size,
                timeout=meeting,
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


def _wait_seconds() -> float:
    text = os.environ.get("HARNESS_RANKS_SECONDS", str(_WAIT_SECONDS))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise UsageError(f"environment variable HARNESS_RANKS_SECONDS={text}: give a number of seconds")
    return seconds


def end(ranks: Ranks) -> None:
    """Part from the others, all having done their work."""
    if ranks.store is not None:
        ranks.exchange("end", b"")
        dist.destroy_process_group()


def leave(ranks: Ranks, code: int, *, wait: float) -> int | None:
    """Go, whoever else is still there, and leave word with which exit code.

    Args:
        ranks: The processes.
        code: With which this one would end.
        wait: Seconds to wait for the word of another, which then counts: all end alike, and one tells why.

    Returns:
        None where this process is to tell why, else the exit code of the one that does.
    """
    if ranks.store is None:
        return None
    word = _word(ranks, wait)
    tells = word is None and _ask(lambda: ranks.store.add("told", 1) == 1, otherwise=True)
    if tells:
        _ask(lambda: ranks.store.set("ended", str(code)), otherwise=None)
    else:
        word = word or _word(ranks, 1.0) or code
    _part(ranks)
    return word


def _word(ranks: Ranks, wait: float) -> int | None:
    """The exit code that another process left word of; None where there is none."""
    until = time.monotonic() + wait
    while not _ask(lambda: ranks.store.check(["ended"]), otherwise=True):
        if time.monotonic() >= until:
            return None
        time.sleep(0.05)
    return _ask(lambda: int(ranks.store.get("ended")), otherwise=None)


def _part(ranks: Ranks) -> None:
    """Break off; the first process, which may be the one that keeps the word of all, goes last if that is soon."""
    _ask(lambda: ranks.store.add("gone", 1), otherwise=0)
    with contextlib.suppress(RuntimeError, ValueError):
        dist.destroy_process_group()
    until = time.monotonic() + _LEAVING_SECONDS
    while ranks.first and time.monotonic() < until:
        if _ask(lambda: ranks.store.add("gone", 0), otherwise=ranks.size) >= ranks.size:
            return
        time.sleep(0.05)


def _ask(question: Callable[[], T], *, otherwise: T) -> T:
    """Ask the store; it may be gone with the process that kept it."""
    try:
        return question()
    except RuntimeError:
        return otherwise
