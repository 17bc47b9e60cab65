"""What a model said of one unit, before it is scored: the value that both kinds of answering give to the road."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.formats.base import Predictions
from harness.plan import Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Predictions of one unit in one encoding.

    Attributes:
        space: Which vectors were read, None where a head answered.
        predictions: One value per view.
        inputs: Health of what the model read, as counts.
        weights: Digest of the model that answered.
        trained: How its head came about; empty where nothing was trained.
    """

    space: Space | None
    predictions: Sequence[Predictions]
    inputs: Mapping[str, int]
    weights: str
    trained: Mapping[str, Any] = field(default_factory=dict)
