"""An encoder as its family's adapter runs it: which module it is, put right once, told of the languages of rows.

Knows adapters and modules; knows no family, no head and no sentence.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harness.checkpoints import Checkpoint
from harness.encoders import Languages
from harness.engine.fetching import sent

# Of the change of the token itself: what earlier tokens may change by, for products may be rounded in another way.
_STILL = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReader:
    """A model that reads each row of a batch with the part for its language, and which parts there are.

    Attributes:
        languages: The parts.
        encoder: What takes their numbers, inside the model.
    """

    languages: Languages
    encoder: nn.Module

    @contextlib.contextmanager
    def reading(self, numbers: NDArray[np.int64]) -> Iterator[None]:
        """Within, row ``i`` of whatever goes through the model is read with part ``numbers[i]``.

        Args:
            numbers: Of parts, shape ``(rows,)``.
        """
        name = self.languages.argument
        device = next(self.encoder.parameters()).device
        given = sent(numbers.astype(np.int64), device)

        def add(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            return args, {**kwargs, name: given}

        # A hook, so that any head over the encoder does without knowing of languages.
        handle = self.encoder.register_forward_pre_hook(add, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


def least_rows(device: torch.device) -> int:
    """Rows that a matrix product needs for each of them to come out the same in whatever company, on a CPU.

    Below some rows for each thread, kernels share the work in another way and round in another order; the largest count
    at which that was seen is 171 rows for 64 threads. Batches that are smaller are filled up with copies.
    """
    return max(64, 4 * torch.get_num_threads()) if device.type == "cpu" else 1


def prepare(checkpoint: Checkpoint, module: nn.Module) -> None:
    """Have the family's adapter put right what it must in a loaded module; nothing for a family without one."""
    if checkpoint.adapter is None:
        return
    parameters = next(module.parameters())

    def least() -> int:
        return least_rows(parameters.device)

    checkpoint.adapter.prepare(module, least)


def row_reader(checkpoint: Checkpoint, module: nn.Module) -> RowReader | None:
    """What tells a model of the languages of rows, None for a model without parts for languages."""
    languages = checkpoint.languages
    if languages is None:
        return None
    return RowReader(languages=languages, encoder=encoder_of(checkpoint, module))


def left_to_right(checkpoint: Checkpoint, module: Any) -> bool:
    """Whether a token of a model that no adapter knows sees nothing behind it: another last token changes none before it."""
    if checkpoint.adapter is not None:
        return False
    encoder = encoder_of(checkpoint, module)
    device, was_training = next(encoder.parameters()).device, encoder.training
    # No special token of a usual vocabulary: some families take the padding token for the end of a row.
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 9]], device=device)
    encoder.eval()
    try:
        with torch.inference_mode():
            states = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.float()
    finally:
        encoder.train(was_training)
    change = (states[0] - states[1]).abs().amax(dim=1)
    return bool(change[:3].max() <= _STILL * change[3])


def encoder_of(checkpoint: Checkpoint, module: Any) -> Any:
    """The encoder inside a module: what the family's adapter says, else that of an encoder-decoder, else the module."""
    if checkpoint.adapter is not None and checkpoint.adapter.encoder_of is not None:
        return checkpoint.adapter.encoder_of(module)
    return module.get_encoder() if getattr(module.config, "is_encoder_decoder", False) else module
