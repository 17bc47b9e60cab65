"""Low-rank adapters while an encoder is trained, merged into its plain weights before anything is written.

Each linear layer of the encoder computes ``W x + alpha / rank · B A x``, of which only ``A`` and ``B`` are trained (Hu et
al. 2021, arXiv 2106.09685); the adapters are peft's. Knows modules; knows no head, no task and no file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from harness.errors import ModelError

# Layers over the encoder's states that transformers counts as the encoder's. A pretrained model often comes without
# their weights, so that they are new, like the head, and are trained whole.
_OF_THE_HEAD = ("pooler",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """An encoder with adapters in its linear layers.

    Attributes:
        tuner: peft's; it has put its layers in place of the encoder's own, inside the very same module.
        rank: Of the adapters; ``alpha / rank`` is the factor of what they add.
        alpha: See ``rank``.
        layers: How many linear layers have one.
        trained: Numbers that are trained, those of heads included, of ``total``.
        total: Numbers of the whole model, adapters left out.
    """

    tuner: Any
    rank: int
    alpha: float
    layers: int
    trained: int
    total: int

    def merge(self) -> None:
        """Add what the adapters learned to the weights, and put the encoder's own layers back in place."""
        self.tuner.merge_and_unload(progressbar=False)

    @property
    def facts(self) -> dict[str, Any]:
        """What ``training.json`` says of it."""
        from importlib.metadata import version

        return {
            "rank": self.rank,
            "alpha": self.alpha,
            "layers": self.layers,
            "trained": self.trained,
            "of": self.total,
            "merged": True,
            "peft": version("peft"),
        }


def adapt(encoder: Any, models: Sequence[nn.Module], *, rank: int, alpha: float | None, seed: int) -> Adapted:
    """Give each linear layer of an encoder that is trained an adapter, and train nothing else of it.

    What models have besides the encoder, their heads, is trained whole. Layers that a family's adapter leaves out of
    training (XMOD's own adapters) get none. At first the adapters add nothing, as ``B`` is 0; ``A`` follows from ``seed``.

    Args:
        encoder: Changed in place.
        models: Everything that is trained, the encoder inside.
        rank: Of the adapters.
        alpha: None for the rank itself, so that the factor is 1.
        seed: Of the first values.

    Raises:
        ModelError: The encoder has no linear layer.
    """
    from peft import LoraConfig, LoraModel

    names = [
        name
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Linear) and module.weight.requires_grad and not _of_the_head(name)
    ]
    if not names:
        raise ModelError(
            f"{type(encoder).__name__} has no linear layer that is trained, so none for --hyper lora_rank"
        )
    total = sum(value.numel() for value in _distinct(models))
    factor = float(rank if alpha is None else alpha)
    # peft says int, and takes the quotient.
    kind: Any = LoraConfig
    config = kind(r=rank, lora_alpha=factor, target_modules="|".join(map(re.escape, names)))
    whole = {name for name, value in encoder.named_parameters() if value.requires_grad and _of_the_head(name)}
    device = next(encoder.parameters()).device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        tuner: Any = LoraModel(encoder, config, "default")
    for name, value in encoder.named_parameters():
        value.requires_grad_("lora_" in name or name in whole)
    return Adapted(
        tuner=tuner,
        rank=rank,
        alpha=factor,
        layers=len(names),
        trained=sum(value.numel() for value in _distinct(models) if value.requires_grad),
        total=total,
    )


def _of_the_head(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in _OF_THE_HEAD


def _distinct(models: Sequence[nn.Module]) -> list[nn.Parameter]:
    """Every parameter once, whichever models share it."""
    return list({id(value): value for model in models for value in model.parameters()}.values())
