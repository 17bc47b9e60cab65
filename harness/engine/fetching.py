"""Arrays on their way to a device, and what it computes on its way back, one batch late, so that neither side waits for the
other. Knows arrays and tensors only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_T = TypeVar("_T")


def sent(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array on a device, without waiting for the copy; on a CPU the array's own memory."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


class Fetched:
    """A tensor on its way to the host: the copy is queued behind what computes it, and waited for when it is read."""

    def __init__(self, tensor: Tensor) -> None:
        self._host = tensor
        self._there: Any = None
        if tensor.device.type == "cuda":
            stream: Any = torch.cuda.current_stream(tensor.device)
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._host.copy_(tensor, non_blocking=True)
            self._there = stream.record_event()

    def array(self) -> NDArray[np.float32]:
        """The values, once they are there."""
        if self._there is not None:
            self._there.synchronize()
        values: NDArray[np.float32] = self._host.numpy()
        return values


def one_late(made: Iterable[_T]) -> Iterator[_T]:
    """The same values, each given only when the next one has been made, or there is none."""
    waiting: list[_T] = []
    for value in made:
        yield from waiting
        waiting = [value]
    yield from waiting
