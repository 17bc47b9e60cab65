"""Numbers to lines and dots, in pixels. Knows numbers and their names; knows no task and no HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Style: TypeAlias = Literal["strong", "light", "low", "dashed", "fit"]
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 30, 8, 34


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Some points under one name.

    Attributes:
        points: ``(x, y)`` in the units of the axes.
        style: How the line looks; ``dots`` draws points, ``line`` joins them.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: Style = "strong"
    dots: bool = True
    line: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A drawn series: ``path`` as SVG's ``points``, dots in pixels."""

    name: str
    style: Style
    path: str
    dots: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark of an axis, in pixels from the left or the top."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lines on two axes.

    Attributes:
        title: What is shown, for readers who do not see it too.
        x, y: Titles of the axes.
        legend: Names of the series that are told apart, with their styles.
    """

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    legend: Sequence[tuple[str, Style]]
    width: int
    height: int
    left: int = _LEFT
    right: int = 0
    bottom: int = 0


def plot(
    title: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    log: bool = False,
    names: Sequence[str] = (),
    legend: bool = True,
    width: int = 360,
    height: int = 220,
) -> Plot:
    """A plot of some series.

    Args:
        title: What is shown.
        series: Points that are not finite, or not above 0 on a logarithmic axis, are left out.
        x: Title of the horizontal axis, ``y`` of the vertical one.
        log: Whether the horizontal axis is logarithmic; its ticks are then the points' own.
        names: Of whole numbers 0, 1, … on the horizontal axis; the numbers themselves where there are none.
        legend: Whether the names of the series are told, those of fits left out.
        width: In pixels, likewise ``height``.
    """
    clean = [(one, [point for point in one.points if _drawable(point, log)]) for one in series]
    points = [point for _, of in clean for point in of]
    numbers = [math.log(value) if log else value for value, _ in points] or [0.0]
    low, high = _padded(min(numbers), max(numbers), 0.5 if names else 0.0)
    across = _Axis(low=low, high=high, start=_LEFT, end=width - _RIGHT, log=log)
    low, high, step = _round_span([value for _, value in points] or [0.0])
    up = _Axis(low=low, high=high, start=height - _BOTTOM, end=_TOP)
    heights = [low + number * step for number in range(round((high - low) / step) + 1)]
    return Plot(
        title=title,
        x=x,
        y=y,
        lines=[_line(one, [(across.at(a), up.at(b)) for a, b in of]) for one, of in clean],
        x_ticks=[Tick(at=across.at(at), text=text) for at, text in _places(across, points, names=names)],
        y_ticks=[Tick(at=up.at(at), text=f"{at:g}") for at in heights],
        legend=[(one.name, one.style) for one, of in clean if of and one.style != "fit"] if legend else (),
        width=width,
        height=height,
        right=across.end,
        bottom=up.start,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """Numbers from ``low`` to ``high``, or their logarithms, as pixels from ``start`` to ``end``."""

    low: float
    high: float
    start: int
    end: int
    log: bool = False

    def at(self, value: float) -> float:
        number = math.log(value) if self.log else value
        return round(self.start + (self.end - self.start) * (number - self.low) / (self.high - self.low), 1)


def _line(series: Series, placed: Sequence[tuple[float, float]]) -> Line:
    return Line(
        name=series.name,
        style=series.style,
        path=" ".join(f"{a:g},{b:g}" for a, b in placed) if series.line else "",
        dots=placed if series.dots else (),
    )


def _places(
    axis: _Axis, points: Sequence[tuple[float, float]], *, names: Sequence[str]
) -> list[tuple[float, str]]:
    """Where the horizontal axis has ticks, and what stands there."""
    if names:
        return [(float(place), name) for place, name in enumerate(names)]
    if axis.log:
        return [(value, _short(value)) for value in sorted({across for across, _ in points})]
    first, last, apart = _round_span([axis.low, axis.high])
    ends = [first + number * apart for number in range(round((last - first) / apart) + 1)]
    return [(at, f"{at:g}") for at in ends if axis.low <= at <= axis.high]


def _short(value: float) -> str:
    """A size as a tick: 0.1, 500, 39.9k, 1.1M.

    >>> [_short(value) for value in (0.1, 500.0, 39_905.0, 392_702.0, 1_104_934.0)]
    ['0.1', '500', '39.9k', '393k', '1.1M']
    """
    for unit, name in ((1e6, "M"), (1e4, "k")):
        if value >= unit:
            return f"{value / (1e6 if name == 'M' else 1e3):.3g}{name}"
    return f"{value:g}"


def _drawable(point: tuple[float, float], log: bool) -> bool:
    return all(map(math.isfinite, point)) and (point[0] > 0 or not log)


def _padded(low: float, high: float, pad: float) -> tuple[float, float]:
    if high - low + 2 * pad < 1e-12:
        return low - 0.5, high + 0.5
    return low - pad, high + pad


def _round_span(values: Sequence[float]) -> tuple[float, float, float]:
    """Ends and step of an axis that holds all numbers, with four to eight steps of 1, 2 or 5 times a power of ten."""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough * (1 - 1e-9))
    return math.floor(low / step) * step, math.ceil(high / step) * step, step
