"""Batches on their way through a model: halved where the device has no room for them, and counted.

Knows batches and numbers of tokens; knows neither what goes into a pass nor what comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from harness.engine.batching import Batch
from harness.engine.packed import Packer
from harness.errors import ModelError

_T = TypeVar("_T")


@dataclass(slots=True, kw_only=True)
class Work:
    """What went through a model; for progress and the run's facts."""

    sentences: int = 0
    sequences: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    batches: int = 0
    halved: int = 0

    def note(self, batch: Batch, tokens: int, packer: Packer | None) -> None:
        """Count a batch of so many tokens, and apart from these what went through with padding or filling."""
        self.batches += 1
        self.sequences += len(batch.rows)
        self.tokens += tokens
        if batch.packed and packer is not None:
            self.padded_tokens += packer.size(tokens)
        else:
            self.padded_tokens += batch.length * len(batch.rows)


def launched(
    batches: Sequence[Batch],
    launch: Callable[[Batch], _T],
    lengths: NDArray[np.int64],
    *,
    packer: Packer | None,
    device: torch.device,
    work: Work,
    noun: str,
) -> Iterator[tuple[Batch, _T]]:
    """Batches, or their halves in order, with what was launched for each, which a device may still be computing.

    Args:
        batches: What is to be run.
        launch: Runs one.
        lengths: Tokens of each sequence that batches number.
        packer: Of the model, where it has one.
        device: Where the model is.
        work: Where it is counted.
        noun: What a batch is made of, for the message.

    Raises:
        ModelError: A single sequence does not fit the device's memory.
    """
    waiting = list(reversed(batches))
    while waiting:
        batch = waiting.pop()
        try:
            made = launch(batch)
        except torch.OutOfMemoryError as error:
            if len(batch.rows) == 1:
                raise ModelError(
                    f"one {noun} of {int(lengths[batch.rows[0]])} tokens does not fit the memory of {device}; use a smaller "
                    "--max-length or another device"
                ) from error
        else:
            work.note(batch, int(lengths[batch.rows].sum()), packer)
            yield batch, made
            continue
        # Not before the error is gone, which holds on to the tensors of the pass.
        torch.cuda.empty_cache()
        work.halved += 1
        waiting += reversed(batch.halves())
