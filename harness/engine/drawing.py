"""Lessons of texts in many languages: the languages and items of each step. Knows rows and shares; knows no loss."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from harness.engine.headed import Headed
from harness.engine.lessons import Step
from harness.formats.drawn import DrawnRows
from harness.formats.rows import Ints
from harness.formats.sampling import RowSampler, language_weights


@dataclass(frozen=True, kw_only=True)
class Drawn(ABC):
    """A lesson whose items are drawn by language (see :class:`harness.engine.lessons.Lesson`).

    Attributes:
        headed: Model and head.
        batch_size: Items per optimizer step; ``epochs`` passes over the items.
        alpha: Exponent of language sampling.
        name: For the loss curve.
        weight: Probability of being drawn; ``paced`` whether its steps say how long the training is.
    """

    headed: Headed
    batch_size: int
    epochs: float
    alpha: float
    name: str = ""
    weight: float = 1.0
    paced: bool = True

    @property
    @abstractmethod
    def by_language(self) -> tuple[tuple[str, ...], Ints]:
        """The languages, and the number of each item's language among them, shape ``(items,)``."""

    @property
    @abstractmethod
    def item(self) -> tuple[str, str]:
        """What one item is, and what makes it smaller."""

    @abstractmethod
    def draw(self, number: int, seed: int) -> Step:
        """Languages and items of a step follow from seed and number alone."""

    @abstractmethod
    def loss(self, step: Step, places: Ints) -> Tensor:
        """Summed loss of some items of a step."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps that see as many items as there are."""
        return -(-len(self.by_language[1]) // self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of all epochs."""
        return math.ceil(self.epochs * self.steps_per_epoch)

    def chosen(self, number: int, seed: int) -> Ints:
        """Numbers of the items of a step, shape ``(batch_size,)``."""
        if seed not in self._samplers:
            languages, language = self.by_language
            counts = np.bincount(language, minlength=len(languages)).tolist()
            shares = language_weights(dict(zip(languages, counts, strict=True)), self.alpha)
            self._samplers[seed] = RowSampler(language, [shares[code] for code in languages], seed)
        return self._samplers[seed].rows(number, self.batch_size)

    @cached_property
    def _samplers(self) -> dict[int, RowSampler]:
        return {}


def parts_of(headed: Headed, rows: DrawnRows, chosen: Ints) -> Ints | None:
    """The part that reads each chosen row, shape ``(chosen,)``, for a model with parts for languages; None for any other."""
    reader = headed.row_reader
    if reader is None:
        return None
    numbers = [reader.languages.number(language) for language in rows.languages]
    return np.array(numbers, dtype=np.int64)[rows.language[chosen]]
