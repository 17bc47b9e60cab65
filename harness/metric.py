"""A metric and the score it gives. Values only; knows no task and no format."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from harness.arrays import NDArray, np
from harness.errors import SpecError
from harness.formats.base import Json
from harness.names import NAME

Parts: TypeAlias = "Mapping[str, NDArray[np.float64]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number with what is needed to trust it.

    Attributes:
        value: Percent, 0-100.
        stderr: Standard error in percent points.
        n: Number of items.
        parts: Per-item parts, each of shape ``(n,)``.
    """

    value: float
    stderr: float
    n: int
    parts: Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A named pure function of gold answers and predictions.

    The value is a function of the means of per-item parts: ``combine({name: mean})``. From the parts come the standard
    error and, later, paired tests.

    Attributes:
        name: Lower-case letters, digits, ``-`` and ``_``.
        signature: ``name|variant|version``; changes whenever the number could.
        parts: ``(gold, predictions)`` to per-item arrays of one length.
        combine: Means of the parts to a fraction 0-1.
        doc: What it measures, with paper and official scorer.
        higher_is_better: Direction.
        chance: Value in percent that guessing gives, where that is a constant.
        itemwise: Whether an item's parts depend on that item alone, so that they may be computed some items at a time.
            Parts whose names come from the items are then 0 for an item whose block does not name them. A metric that
            must see all items at once (a threshold is chosen on them, a rank taken) leaves it False, and is given them.
    """

    name: str
    signature: str
    parts: Callable[[Sequence[Json], Sequence[Json]], Parts]
    combine: Callable[[Mapping[str, float]], float]
    doc: str
    higher_is_better: bool = True
    chance: float | None = None
    itemwise: bool = False

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SpecError(
                f"metric '{self.name}': a name has lower-case letters and digits, joined by - or _"
            )
        if not re.fullmatch(r"[^|\s]+(\|[^|\s]+)*\|v\d+", self.signature):
            raise SpecError(
                f"metric '{self.name}': signature '{self.signature}' does not end in |v and a number"
            )
        if not self.doc.strip():
            raise SpecError(f"metric '{self.name}': doc is empty; name the paper and the official scorer")
