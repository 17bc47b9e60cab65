"""How much scores depend on the company that a row is batched with: the same rows through several batch plans.

Knows a model with a head and rows; scores no task. A freshly initialised head serves where the model brings none, for only
differences are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.engine.headed import Headed
from harness.engine.predict import Asked, Predictor
from harness.formats.base import Predictions, Reader
from harness.formats.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One batch plan against rows that run alone.

    Attributes:
        batch_tokens: Tokens per batch of the plan.
        largest: Largest absolute difference of a score.
        flips: Rows (words for a token head, ends for a span head) whose highest score is another one.
        compared: Of how many.
    """

    batch_tokens: int
    largest: float
    flips: int
    compared: int


@dataclass(kw_only=True)
class _Keeper(Reader):
    """Keeps all scores; for measuring only."""

    rows: Rows
    scores: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """See :class:`harness.formats.base.Reader`."""
        lengths = self.rows.lengths
        for row, score in zip(chosen.tolist(), scores, strict=True):
            self.scores[row] = score if score.ndim == 1 else score[: int(lengths[row])]

    def predictions(self) -> list[Predictions]:
        """None; what is kept is what is wanted."""
        return []


def batch_invariance(headed: Headed, rows: Rows, budgets: Sequence[int]) -> list[Difference]:
    """Run rows one by one, then by each budget of tokens per batch, and compare."""
    alone = _scores(headed, rows, 1)
    return [_difference(budget, alone, _scores(headed, rows, budget), headed.head.kind) for budget in budgets]


def _scores(headed: Headed, rows: Rows, budget: int) -> dict[int, NDArray[np.float32]]:
    keeper = _Keeper(rows=rows)
    Predictor(headed=headed, batch_tokens=budget).run([Asked(rows=rows, reader=keeper)])
    return keeper.scores


def _difference(
    budget: int, alone: dict[int, NDArray[np.float32]], found: dict[int, NDArray[np.float32]], kind: str
) -> Difference:
    largest, flips, compared = 0.0, 0, 0
    for row, scores in alone.items():
        other = found[row]
        largest = max(largest, float(np.abs(scores - other).max()))
        # Of a span head the two columns are the starts and the ends over the row's tokens.
        axis = 0 if kind == "span" else -1
        best, another = np.argmax(scores, axis=axis), np.argmax(other, axis=axis)
        flips += int(np.count_nonzero(best != another))
        compared += int(np.size(best))
    return Difference(batch_tokens=budget, largest=largest, flips=flips, compared=compared)
