"""What a model said of one unit, before it is scored, or why it said nothing: what both kinds of answering give to the road."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import HarnessError
from harness.formats.base import Predictions
from harness.plan import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Predictions of some items of a unit.

    Attributes:
        predictions: One value per view.
        inputs: Health of what the model read, as counts that add up over blocks.
    """

    predictions: Sequence[Predictions]
    inputs: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Predictions of one unit in one encoding.

    Attributes:
        space: Which vectors were read, None where a head answered.
        blocks: The unit's items in order, some at a time; may be gone through once, and compute while one does.
        inputs: Facts and counts of the unit as a whole, beside those of its blocks.
        weights: Digest of the model that answered.
        trained: How its head came about; empty where nothing was trained.
    """

    space: Space | None
    blocks: Iterable[Block]
    inputs: Mapping[str, int]
    weights: str
    trained: Mapping[str, Any] = field(default_factory=dict)

    def close(self) -> None:
        """Compute no more blocks."""
        if isinstance(self.blocks, Generator):
            self.blocks.close()


def model_error(error: Exception, when: str) -> str:
    """One line on an error that came while a model ``ran``, ``was opened`` or ``was made``, for each unit that it costs."""
    kind = "" if isinstance(error, HarnessError) else f"{type(error).__name__} while the model {when}: "
    return f"{kind}{' '.join(str(error).split())}"
