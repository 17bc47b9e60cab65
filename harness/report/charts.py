"""Numbers to horizontal bars, in pixels. Knows numbers and their names; knows no task and no HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness.report.cells import Cell

BAR_HEIGHT = 16
_BAR_GAP = 4
_AXIS_HEIGHT = 24
_VALUE_WIDTH = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar with its whisker of one standard error, in pixels from the chart's left and top edge."""

    label: str
    y: int
    x: float
    width: float
    low: float
    high: float
    text: str
    strong: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A line of the axis."""

    x: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Horizontal bars on one axis.

    Attributes:
        title: What is shown, for readers who do not see it too.
        bars: From top to bottom.
        ticks: Of the axis.
        left: Width of the labels.
        width: Of all; ``height`` of all.
    """

    title: str
    bars: Sequence[Bar]
    ticks: Sequence[Tick]
    left: int
    width: int
    height: int
    bar_height: int = BAR_HEIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """What one bar shows; ``strong`` bars are the ones that count."""

    label: str
    score: Cell
    strong: bool = True


def chart(
    title: str, items: Sequence[Item], *, percent: bool = True, left: int = 150, scale: int = 620
) -> Chart:
    """A chart of some numbers, in the order given.

    Args:
        title: What is shown.
        items: Its bars.
        percent: Whether the axis runs from 0 to 100; otherwise over the numbers and 0.
        left: Width of the labels in pixels, ``scale`` that of the axis.
    """
    low, high, step = (0.0, 100.0, 25.0) if percent else _span([item.score for item in items])

    def place(value: float) -> float:
        return left + scale * (min(max(value, low), high) - low) / (high - low)

    def bar(row: int, item: Item) -> Bar:
        start, end = sorted((place(0.0), place(item.score.value)))
        return Bar(
            label=item.label,
            y=row * (BAR_HEIGHT + _BAR_GAP),
            x=start,
            width=end - start,
            low=place(item.score.value - item.score.stderr),
            high=place(item.score.value + item.score.stderr),
            text=f"{item.score.value:.1f}",
            strong=item.strong,
        )

    count = round((high - low) / step)
    return Chart(
        title=title,
        bars=[bar(row, item) for row, item in enumerate(items)],
        ticks=[Tick(x=place(low + n * step), text=f"{low + n * step:g}") for n in range(count + 1)],
        left=left,
        width=left + scale + _VALUE_WIDTH,
        height=len(items) * (BAR_HEIGHT + _BAR_GAP) + _AXIS_HEIGHT,
    )


def _span(scores: Sequence[Cell]) -> tuple[float, float, float]:
    """Ends and step of an axis that holds all numbers with their errors, and 0."""
    lowest = min([0.0, *(score.value - score.stderr for score in scores)])
    highest = max([0.0, *(score.value + score.stderr for score in scores)])
    step = next((size for size in (1.0, 2.0, 5.0, 10.0, 20.0) if highest - lowest <= 6 * size), 50.0)
    low, high = math.floor(lowest / step) * step, math.ceil(highest / step) * step
    return (low, high, step) if high > low else (0.0, step, step)
