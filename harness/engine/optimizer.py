"""AdamW, and its learning rate over the steps of a training. Knows a schedule; knows no lesson and no head."""

from __future__ import annotations

import math

from torch import nn, optim

from harness.spec import Schedule


def rate_factor(step: int, steps: int, schedule: Schedule) -> float:
    """Share of the peak learning rate at a step counted from 0: a linear rise, then a linear fall to 0.

    The same numbers as transformers' ``get_linear_schedule_with_warmup``, so the first step of a warm-up has rate 0.
    """
    rise = schedule.warmup if schedule.warmup >= 1 else math.ceil(schedule.warmup * steps)
    if step < rise:
        return step / rise
    return max(0.0, (steps - step) / max(1.0, steps - rise))


def adamw(module: nn.Module, schedule: Schedule) -> optim.Optimizer:
    """AdamW without weight decay on biases and LayerNorms."""
    norms = {
        f"{name}.{part}" if name else part
        for name, child in module.named_modules()
        if "norm" in type(child).__name__.lower()
        for part, _ in child.named_parameters(recurse=False)
    }
    named = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    plain = [value for name, value in named if name in norms or name.endswith("bias")]
    decayed = [value for name, value in named if name not in norms and not name.endswith("bias")]
    return optim.AdamW(
        [
            {"params": decayed, "weight_decay": schedule.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ],
        lr=schedule.learning_rate,
        betas=schedule.adam_betas,
        eps=schedule.adam_epsilon,
        fused=True,
    )
