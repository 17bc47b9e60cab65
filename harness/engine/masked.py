"""Masked language modelling as a lesson: tokens are hidden anew for each step.

Knows rows of texts and a head over the vocabulary; knows no file and no task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from harness.engine.drawing import Drawn, parts_of
from harness.engine.headed import Headed
from harness.engine.lessons import Step, mean_loss, micro_loss
from harness.errors import ModelError
from harness.formats.masking import masked
from harness.formats.rows import Ints, ranges
from harness.formats.texts import TextRows

# Keeps the choice of hidden tokens apart from that of rows.
_MASK_STREAM, _HELD_STREAM = 0x4A5C, 0x4E1D


@dataclass(frozen=True, kw_only=True)
class MaskedTexts(Drawn):
    """Texts of which tokens are to be guessed; an item is a row.

    Attributes:
        headed: Model and head; its tokenizer has a mask token.
        rows: All texts.
        share: Of the tokens that are to be guessed.
    """

    rows: TextRows
    share: float

    def __post_init__(self) -> None:
        _mask_of(self.headed)

    @property
    def by_language(self) -> tuple[tuple[str, ...], Ints]:
        """The languages, and the number of each row's."""
        return self.rows.languages, self.rows.language

    @property
    def item(self) -> tuple[str, str]:
        """A row."""
        return "one row", f"a smaller --hyper {self.name}.max_length=…"

    def draw(self, number: int, seed: int) -> Step:
        """Languages, rows and hidden tokens of a step follow from seed and number alone."""
        generator = np.random.default_rng([seed, number, _MASK_STREAM])
        return _hidden(self.headed, self.rows, self.chosen(number, seed), generator, self.share)

    def loss(self, step: Step, places: Ints) -> Tensor:
        """Cross entropy of hidden tokens, summed."""
        return micro_loss(self.headed, step, places)


def _mask_of(headed: Headed) -> int:
    mask = headed.tokenizer.mask
    if mask is None:
        raise ModelError(
            f"the tokenizer of {headed.name} has no mask token, so it cannot be trained by masked LM; leave it out"
        )
    return mask


def _hidden(
    headed: Headed, rows: TextRows, chosen: Ints, generator: np.random.Generator, share: float
) -> Step:
    lengths = rows.lengths[chosen]
    places = ranges(rows.starts[chosen], lengths)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    ids, targets = masked(
        rows.ids[places],
        rows.maskable[places],
        starts,
        mask_id=_mask_of(headed),
        vocabulary_size=headed.tokenizer.size,
        generator=generator,
        share=share,
    )
    return Step(
        ids=ids,
        segments=rows.segments[places],
        starts=starts,
        rows=np.arange(len(chosen)),
        sizes=np.ones(len(chosen), dtype=np.int64),
        targets=targets,
        items=np.arange(len(chosen)),
        scored=max(1, int(np.count_nonzero(targets >= 0))),
        parts=parts_of(headed, rows, chosen),
    )


def held_out_loss(headed: Headed, rows: TextRows, budget: int, share: float) -> float:
    """Mean cross entropy of hidden tokens in nats, with the same tokens hidden each time it is asked for.

    Args:
        headed: Model and head.
        rows: All of them are read.
        budget: Tokens per batch.
        share: Of the tokens that are hidden.
    """
    generator = np.random.default_rng([_HELD_STREAM])
    everything: NDArray[np.int64] = np.arange(len(rows.lengths))
    step = _hidden(headed, rows, everything, generator, share)
    return mean_loss(headed, step, lambda places: micro_loss(headed, step, places), budget)
