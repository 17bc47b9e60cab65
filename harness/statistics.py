"""Scores and their standard errors from per-item parts. NumPy only; knows no task and no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.arrays import NDArray, np
from harness.errors import SpecError
from harness.formats.base import Json
from harness.metric import Metric, Parts, Score


def score(metric: Metric, gold: Sequence[Json], predictions: Sequence[Json]) -> Score:
    """Apply a metric.

    Raises:
        SpecError: Gold and predictions differ in number, or the metric's parts are not finite arrays of one length.
    """
    tally = Tally(metric)
    tally.add(gold, predictions)
    return tally.score()


class Tally:
    """Scores items that come some at a time. Of a metric that is ``itemwise`` only the parts are kept, 8 bytes each.

    The score is that of all items at once, bit for bit.
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._blocks: list[Parts] = []
        self._gold: list[Json] = []
        self._predictions: list[Json] = []

    def add(self, gold: Sequence[Json], predictions: Sequence[Json]) -> None:
        """Take the next items; raises what :func:`score` does."""
        metric = self._metric
        if len(gold) != len(predictions):
            raise SpecError(
                f"metric '{metric.name}': {len(gold)} gold answers but {len(predictions)} predictions"
            )
        if metric.itemwise:
            parts = _checked(metric, metric.parts(gold, predictions))
            if len(next(iter(parts.values()))) != len(gold):
                raise SpecError(
                    f"metric '{metric.name}' is itemwise, but gives parts that are not one for each item"
                )
            self._blocks.append(parts)
        else:
            self._gold.extend(gold)
            self._predictions.extend(predictions)

    def score(self) -> Score:
        """The score of all items; raises what :func:`score` does."""
        metric = self._metric
        if not metric.itemwise:
            self._blocks = [_checked(metric, metric.parts(self._gold, self._predictions))]
        parts = joined(self._blocks)
        n = len(next(iter(parts.values()), ()))
        if n == 0:
            raise SpecError(f"metric '{metric.name}': there is no item to score")
        value = 100.0 * metric.combine(_means(parts))
        return Score(value=value, stderr=100.0 * standard_error(metric, parts), n=n, parts=parts)


def _checked(metric: Metric, raw: Parts) -> Parts:
    parts = {name: np.asarray(part, dtype=np.float64) for name, part in raw.items()}
    lengths = {part.shape for part in parts.values()}
    good = all(part.ndim == 1 and np.isfinite(part).all() for part in parts.values())
    if len(lengths) != 1 or not good:
        raise SpecError(
            f"metric '{metric.name}': parts must be finite and of one length, got {sorted(lengths)}"
        )
    return parts


def joined(blocks: Sequence[Parts]) -> Parts:
    """Parts of several blocks of items one after the other; a part that a block does not name is 0 there.

    Where blocks name different parts these come in alphabetical order, as of the classes of all items together.

    >>> parts = joined([{"gold.b": np.ones(1)}, {"gold.a": np.ones(2)}])
    >>> {name: part.tolist() for name, part in parts.items()}
    {'gold.a': [0.0, 1.0, 1.0], 'gold.b': [1.0, 0.0, 0.0]}
    """
    if len(blocks) == 1:
        return blocks[0]
    names = list(blocks[0]) if blocks else []
    if any(list(parts) != names for parts in blocks):
        names = sorted({name for parts in blocks for name in parts})
    nothing = [np.zeros(len(next(iter(parts.values())))) for parts in blocks]
    return {
        name: np.concatenate([parts.get(name, empty) for parts, empty in zip(blocks, nothing, strict=True)])
        for name in names
    }


def _means(parts: Parts) -> dict[str, float]:
    return {name: float(np.mean(part)) for name, part in parts.items()}


def standard_error(metric: Metric, parts: Parts) -> float:
    """Standard error of ``combine(means of parts)`` over items, by the delta method.

    The gradient of ``combine`` is taken by central differences. For a mean of one part this is the usual standard
    deviation over the square root of n. A combination that is flat or undefined at the means gives 0.
    """
    names = sorted(parts)
    matrix: NDArray[np.float64] = np.stack([parts[name] for name in names])
    n = matrix.shape[1]
    if n < 2:
        return 0.0
    means = dict(zip(names, matrix.mean(axis=1).tolist(), strict=True))
    gradient = np.array([_slope(metric, means, name) for name in names])
    influence = gradient @ (matrix - matrix.mean(axis=1, keepdims=True))
    return float(np.sqrt(np.mean(influence**2) / (n - 1)))


def _slope(metric: Metric, means: Mapping[str, float], name: str) -> float:
    step = 1e-6 * max(1.0, abs(means[name]))
    above = metric.combine({**means, name: means[name] + step})
    below = metric.combine({**means, name: means[name] - step})
    return (above - below) / (2 * step)
