"""Run by tests/test_ranks.py in several processes: everything that processes tell each other, one after the other."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from harness.engine.gradients import dropout_seed, sum_gradients
from harness.engine.meeting import end, here
from harness.engine.ranks import Ranks
from harness.errors import DataError, UnknownNameError, UsageError
from harness.place import LostRank


def raised(compute: Callable[[], object]) -> list[str]:
    """Kind and text of what something raises."""
    try:
        compute()
    except (Exception, KeyboardInterrupt, LostRank) as error:  # noqa: BLE001 - every kind is told
        return [type(error).__name__, str(error)]
    return []


def failing(ranks: Ranks, rank: int, error: BaseException) -> Callable[[], int]:
    """Raises in one process."""

    def compute() -> int:
        if ranks.rank == rank:
            raise error
        return 7

    return compute


def taken(ranks: Ranks, count: int, *, fails: int | None = None, stops: int | None = None) -> Any:
    """Items with the sums of their arrays, where each array's size follows from the item."""
    found: list[tuple[int, float]] = []

    def compute(item: int) -> np.ndarray[Any, Any]:
        if item == fails:
            raise DataError(f"item {item}")
        return np.full((item, 2), item + 0.5, dtype=np.float32)

    def run() -> None:
        with contextlib.closing(ranks.in_turn(range(count), compute)) as done:
            for item, array in done:
                if item == stops:
                    raise DataError(f"reader {item}")
                found.append((item, float(array.sum())))

    return [found, raised(lambda: ranks.each(run))]


def steps(ranks: Ranks, *, stops: int | None = None, stopping: int = 0) -> Any:
    """Items that are gone through in step; one process may stop early."""
    found = []
    with contextlib.suppress(DataError), contextlib.closing(ranks.in_step(range(4))) as items:
        for item in items:
            found.append(item)
            if item == stops and ranks.rank == stopping:
                raise DataError("stopped")
    return found


def gradients(ranks: Ranks) -> Any:
    """One large, several small, one that only process 1 has, one that nobody has."""
    generator = torch.Generator().manual_seed(ranks.rank)
    sizes = [(300, 300), (3,), (2, 5), (4,), (6,)]
    parameters = [torch.nn.Parameter(torch.zeros(size)) for size in sizes]
    for number, parameter in enumerate(parameters):
        if number < 3 or (number == 3 and ranks.rank == 1):
            parameter.grad = torch.randn(parameter.shape, generator=generator)
    value = sum_gradients(ranks, parameters, 0.1 * (ranks.rank + 1))
    sums = [None if p.grad is None else p.grad.double().sum().item() for p in parameters]
    bits = [None if p.grad is None else p.grad.numpy().tobytes().hex()[:4000] for p in parameters]
    return [value, sums, bits]


def main() -> None:
    ranks = here()
    unknown = UnknownNameError("task", "a", ["b"])
    found = {
        "rank": ranks.rank,
        "exchange": [part.decode() for part in ranks.exchange("x", b"-" * ranks.rank)],
        "each": ranks.each(lambda: ranks.rank),
        "first": ranks.from_first(lambda: [ranks.rank, 0.1 + 0.2]),
        "known": raised(lambda: ranks.each(failing(ranks, 1, unknown))),
        "strange": raised(lambda: ranks.each(failing(ranks, 2, RuntimeError("odd")))),
        "memory": raised(lambda: ranks.each(failing(ranks, 1, torch.OutOfMemoryError("full")))),
        "interrupt": raised(lambda: ranks.each(failing(ranks, 2, KeyboardInterrupt()))),
        "first fails": raised(lambda: ranks.from_first(failing(ranks, 0, DataError("gone")))),
        "agree": raised(lambda: ranks.agree("plan", ["same"])),
        "disagree": raised(lambda: ranks.agree("plan", [ranks.rank])),
        "summed": ranks.summed({"a": ranks.rank, "b": 1}),
        "all": taken(ranks, 11),
        "few": taken(ranks, 2),
        "none": taken(ranks, 0),
        "elsewhere": taken(ranks, 20, fails=4),
        "here": taken(ranks, 20, fails=6),
        "reader": taken(ranks, 20, stops=4),
        "steps": steps(ranks),
        "stopped": steps(ranks, stops=1),
        "gradients": gradients(ranks),
        "gradients again": gradients(ranks),
        "seeds": [dropout_seed(ranks, 5, step) for step in range(3)],
        "usage": UsageError.exit_code,
    }
    if "skew" in sys.argv:
        label = "one" if ranks.rank else "another"
        found["skew"] = raised(lambda: ranks.exchange(label, b"x"))
    print(json.dumps(found))
    end(ranks)


if __name__ == "__main__":
    main()
