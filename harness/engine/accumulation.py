"""The gradients of one optimizer step, from micro-batches that are halved until they fit the device's memory.

Knows a lesson's step and the processes that share it; knows no schedule and no optimizer's rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness.engine import trainstate
from harness.engine.gradients import sum_gradients
from harness.engine.lessons import Lesson, Step
from harness.engine.load import DTYPES
from harness.engine.ranks import Ranks
from harness.engine.trainstate import Progress
from harness.errors import ModelError


@dataclass(frozen=True, slots=True, kw_only=True)
class Accumulation:
    """Where gradients are added up.

    Attributes:
        module: What is trained.
        device: Where it is.
        dtype: ``float32``, or ``bfloat16``/``float16`` for mixed precision.
        ranks: The processes that train together.
        progress: Says how many tokens a micro-batch has, and is told of smaller ones and of the tokens that were read.
    """

    module: nn.Module
    device: torch.device
    dtype: str
    ranks: Ranks
    progress: Progress

    def gradient(self, lesson: Lesson, drawn: Step, scaler: torch.amp.GradScaler) -> float:
        """Put the gradients of one batch, of all processes, into the parameters; the mean loss.

        Micro-batches are halved in all processes until they fit.

        Raises:
            ModelError: A single item does not fit the device's memory, or the sum of all processes' gradients does not.
        """
        before, tokens = trainstate.random_snapshot(self.device), self.progress.tokens
        while True:
            self.module.zero_grad(set_to_none=True)
            try:
                mine = self.ranks.each(lambda: self._accumulate(lesson, drawn, scaler))
            except torch.OutOfMemoryError as error:
                longest = int((drawn.longest * drawn.sizes).max())
                if self.progress.micro_tokens <= longest:
                    item, smaller = lesson.item
                    raise ModelError(
                        f"{item} of {longest} tokens does not fit the memory of {self.device} while training; "
                        f"use --gradient-checkpointing, {smaller} or another device"
                    ) from error
            else:
                return self._summed(mine)
            self.progress.micro_tokens //= 2
            torch.cuda.empty_cache()
            trainstate.random_restore(before, self.device)
            self.progress.tokens = tokens

    def _summed(self, mine: float) -> float:
        """The loss of all processes, whose gradients are added up.

        Nothing is halved here where memory runs out: a process to which that happens alone would leave the others waiting.
        """
        try:
            return sum_gradients(self.ranks, self.module.parameters(), mine)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"the gradients of all processes do not fit the memory of {self.device} while they are added up; use "
                "another device, a smaller model or --hyper lora_rank=8; the last saved state is kept"
            ) from error

    def _accumulate(self, lesson: Lesson, drawn: Step, scaler: torch.amp.GradScaler) -> float:
        """This process's part of the gradients and of the loss; both are sums over items, divided by the whole batch's count."""
        total = torch.zeros((), device=self.device)
        # A process without items of this step must know the scale too.
        scaler.scale(total)
        for places in drawn.micro(self.progress.micro_tokens, self.ranks.rank, self.ranks.size):
            with self.precision():
                part = lesson.loss(drawn, places) / drawn.scored
            scaled: Any = scaler.scale(part)
            scaled.backward()
            total += part.detach()
        self.progress.tokens += int(drawn.lengths.sum())
        return float(total)

    def precision(self) -> torch.autocast:
        """Mixed precision, or nothing in float32."""
        mixed = self.dtype != "float32"
        return torch.autocast(
            self.device.type, dtype=DTYPES[self.dtype] if mixed else torch.bfloat16, enabled=mixed
        )
