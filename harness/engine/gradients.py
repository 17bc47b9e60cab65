"""Training in several processes: their gradients added up, their dropout kept apart. Knows tensors; knows no batch."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from harness.engine.ranks import Ranks, talking

# Gradients with fewer elements are sent together.
_SMALL: Final = 1 << 16
# Keeps dropout of several processes apart from every other use of the seed.
_DROPOUT_STREAM: Final = 0xD20


def sum_gradients(ranks: Ranks, parameters: Iterable[Tensor], value: float) -> float:
    """Put the sum of all processes' gradients into each of them; the sum of the values, in float64.

    A parameter that has a gradient nowhere stays without one, as in one process. All processes get the same bits. On CPUs
    they are the same each time, for the order in which they are added follows from the number of processes alone; NCCL
    chooses its order by size and topology.
    """
    if ranks.size == 1:
        return value
    parameters = list(parameters)
    mine = np.packbits([parameter.grad is not None for parameter in parameters]).tobytes()
    told = ranks.exchange("gradients", struct.pack("<d", value) + mine)
    masks = [np.frombuffer(entry[8:], dtype=np.uint8) for entry in told]
    used = np.unpackbits(np.bitwise_or.reduce(masks), count=len(parameters)).tolist()
    grads = [_gradient(parameter) for parameter, there in zip(parameters, used, strict=True) if there]
    for grad in grads:
        if grad.numel() >= _SMALL:
            _add_up(ranks, grad)
    small = [grad for grad in grads if grad.numel() < _SMALL]
    if small:
        together = torch.cat([grad.flatten() for grad in small])
        _add_up(ranks, together)
        parts = torch.split(together, [grad.numel() for grad in small])
        for grad, part in zip(small, parts, strict=True):
            grad.copy_(part.view_as(grad))
    return float(sum(struct.unpack("<d", entry[:8])[0] for entry in told))


def _add_up(ranks: Ranks, tensor: Tensor) -> None:
    with talking():
        dist.all_reduce(tensor, group=ranks.group if tensor.device.type == "cpu" else None)


def _gradient(parameter: Tensor) -> Tensor:
    """The gradient of a parameter as it can be sent; zeros where only other processes have one."""
    grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    parameter.grad = grad.contiguous()
    return parameter.grad


def dropout_seed(ranks: Ranks, seed: int, step: int) -> int:
    """Where torch's generator starts in this process at one optimizer step of a training with a seed."""
    entropy = [seed, step, ranks.rank, _DROPOUT_STREAM]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))
