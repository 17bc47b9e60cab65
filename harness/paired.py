"""Paired tests of one metric on two runs over the same items. NumPy only; knows no file, no task and no verdict.

Values and drops are in percent points. A drop is what got worse: it is positive where the baseline is better, whichever
direction the metric has. All tests are one-sided, of the hypothesis «drop ≤ 0».
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, TypeAlias

from harness.arrays import NDArray, np
from harness.errors import PluginError
from harness.metric import Metric, Parts

Floats: TypeAlias = "NDArray[np.float64]"
DRAWS = 10_000
POWER = 0.8
_INTERVAL = 0.95
SAME = 1e-9  # percent points; below that two drops differ by rounding only
_CHUNK = 1 << 20  # weights held at a time
_BINOMIAL_COST = 15  # a binomial number of multinomial() takes as long as counting this many drawn items


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How one metric differs between two runs.

    Attributes:
        test: Exact McNemar test, or paired bootstrap.
        n: Items that both runs scored.
        baseline: Value of the baseline on them, percent; ``value`` that of the run.
        drop: By how many percent points the run is worse.
        low: Lower end of the 95 % interval of the drop; ``high`` the upper end.
        stderr: Standard error of the drop, percent points.
        p: One-sided, of «drop ≤ 0».
    """

    test: Literal["mcnemar", "bootstrap"]
    n: int
    baseline: float
    value: float
    drop: float
    low: float
    high: float
    stderr: float
    p: float


def compare(metric: Metric, baseline: Parts, run: Parts, *, seed: int, draws: int = DRAWS) -> Comparison:
    """The exact McNemar test for a share of right (or wrong) items, else the paired bootstrap.

    Args:
        metric: Its ``combine`` turns means of parts into the value, its direction says what is worse.
        baseline: Parts of the baseline by name, each of shape ``(n,)``; ``run`` those of the run, item by item.
        seed: Of the bootstrap's resampling.
        draws: Number of bootstrap samples.

    Raises:
        PluginError: The metric's ``combine`` fails on such means.
    """
    if _is_share(metric, baseline, run):
        (name,) = baseline
        return mcnemar(baseline[name], run[name], higher_is_better=metric.higher_is_better)
    return bootstrap(metric, baseline, run, seed=seed, draws=draws)


def _is_share(metric: Metric, *sides: Parts) -> bool:
    """Whether the value is the mean of one part that is 0 or 1 in every item."""
    names = list(sides[0])
    if len(names) != 1:
        return False
    (name,) = names
    if any(not np.isin(side[name], (0.0, 1.0)).all() for side in sides):
        return False
    return all(math.isclose(combined(metric, {name: mean}), mean) for mean in (0.1, 0.35, 0.5, 0.8, 1.0))


def mcnemar(baseline: Floats, run: Floats, *, higher_is_better: bool = True) -> Comparison:
    """McNemar's test, exact: among the items on which the runs differ, each was as likely to get worse as better.

    The interval is that of Bonett & Price (2012, J. Educ. Behav. Stat. 37), the Wald interval with one item added to each
    kind of change; it keeps its coverage for small samples and is never empty, not even for equal runs.

    Args:
        baseline: 0 or 1 per item, shape ``(n,)``; ``run`` likewise.
        higher_is_better: Whether 1 is right; 0 is otherwise.

    Source: McNemar 1947 (Psychometrika 12); Dror et al. 2018 (ACL, "The Hitchhiker's Guide to Testing Statistical
    Significance in NLP") on its use.
    """
    sign = 1 if higher_is_better else -1
    change = sign * (baseline - run)
    n, worse, better = len(change), int(np.sum(change > 0)), int(np.sum(change < 0))
    up, down = (worse + 1) / (n + 2), (better + 1) / (n + 2)
    stderr = 100 * math.sqrt((up + down - (up - down) ** 2) / (n + 2))
    reach = NormalDist().inv_cdf((1 + _INTERVAL) / 2) * stderr
    middle = 100 * (up - down)
    return Comparison(
        test="mcnemar",
        n=n,
        baseline=100 * float(baseline.mean()),
        value=100 * float(run.mean()),
        drop=100 * (worse - better) / n,
        low=max(-100.0, middle - reach),
        high=min(100.0, middle + reach),
        stderr=stderr,
        p=binomial_tail(worse, worse + better),
    )


def binomial_tail(successes: int, trials: int) -> float:
    """The probability of at least so many successes in so many throws of a fair coin.

    >>> round(1024 * binomial_tail(8, 10), 9)  # 45 + 10 + 1 of 1024
    56.0
    """
    if successes <= 0:
        return 1.0
    if 2 * successes <= trials:
        return 1.0 - binomial_tail(trials - successes + 1, trials)
    log_first = (
        math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    ) - trials * math.log(2)
    counts = np.arange(successes, trials, dtype=np.float64)
    ratios = (trials - counts) / (counts + 1)  # of each probability to the one before it
    return min(1.0, math.exp(log_first) * (1.0 + float(np.cumprod(ratios).sum())))


def bootstrap(metric: Metric, baseline: Parts, run: Parts, *, seed: int, draws: int = DRAWS) -> Comparison:
    """The paired bootstrap: items are drawn with replacement, both runs are scored on the same draw.

    ``p`` is the share of draws whose drop lies as far above the observed drop as that lies above 0, so the drops are
    centred on the hypothesis. (The share of draws with a drop ≤ 0, which is also met with, rejects far too often where
    few items changed.) The interval is the one that belongs to it, the basic bootstrap interval.

    Source: Efron & Tibshirani 1993, chapters 13 and 16; Berg-Kirkpatrick et al. 2012 (EMNLP, D12-1091).
    """
    # Metrics over classes name parts after the classes that were seen; one that was not has only zeros.
    names = sorted({*baseline, *run})
    nothing = np.zeros(len(next(iter(baseline.values()))))
    sides = [side.get(name, nothing) for side in (baseline, run) for name in names]
    # Equal items are drawn together: tag counts and right answers repeat a lot. Sorted, so order does not matter.
    rows, counts = np.unique(np.stack(sides, axis=1), axis=0, return_counts=True)
    n, sign = int(counts.sum()), 1.0 if metric.higher_is_better else -1.0
    weights = _resampled(np.random.default_rng(seed), counts, draws)
    means = np.concatenate([chunk @ rows / n for chunk in weights])
    drawn = sign * (
        _values(metric, names, means[:, : len(names)]) - _values(metric, names, means[:, len(names) :])
    )
    observed = (counts @ rows / n).tolist()
    before = _value(metric, names, observed[: len(names)])
    after = _value(metric, names, observed[len(names) :])
    drop = sign * (before - after)
    lower, upper = np.quantile(drawn, [(1 - _INTERVAL) / 2, (1 + _INTERVAL) / 2]).tolist()
    extreme = int(np.sum(drawn - drop >= drop - SAME))
    return Comparison(
        test="bootstrap",
        n=n,
        baseline=before,
        value=after,
        drop=drop,
        low=min(drop, max(-100.0, 2 * drop - upper)),
        high=max(drop, min(100.0, 2 * drop - lower)),
        stderr=float(np.std(drawn, ddof=1)),
        p=(1 + extreme) / (1 + draws),
    )


def _resampled(generator: np.random.Generator, counts: NDArray[np.int64], draws: int) -> Iterator[Floats]:
    """How often each distinct item is in each of the draws, a chunk of draws at a time, shape ``(chunk, distinct)``."""
    n, distinct = int(counts.sum()), len(counts)
    owner = np.repeat(np.arange(distinct), counts)
    size = max(1, _CHUNK // distinct)
    for start in range(0, draws, size):
        chunk = min(size, draws - start)
        if distinct * _BINOMIAL_COST < n:
            yield generator.multinomial(n, counts / n, size=chunk).astype(np.float64)
        else:
            weights = np.empty((chunk, distinct))
            for row in weights:
                row[:] = np.bincount(owner[generator.integers(0, n, n)], minlength=distinct)
            yield weights


def _values(metric: Metric, names: Sequence[str], means: Floats) -> Floats:
    """The metric's value on each draw, percent, from means of shape ``(draws, parts)``."""
    found = _at_once(metric, names, means)
    if found is not None:
        return found
    return np.array([_value(metric, names, row) for row in means.tolist()], dtype=np.float64)


def _at_once(metric: Metric, names: Sequence[str], means: Floats) -> Floats | None:
    """All values by one call with arrays for numbers, or None where ``combine`` does not take them rightly.

    ``combine`` is only promised numbers. What it gives for arrays counts if it is finite, nothing was divided by zero on
    the way, and a few draws, the extreme ones among them, agree with those computed one by one.
    """
    columns: dict[str, Any] = {name: means[:, index] for index, name in enumerate(names)}
    try:
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            found = 100 * np.asarray(metric.combine(columns), dtype=np.float64)
    except Exception:  # noqa: BLE001 - foreign code on arguments it was not promised; one by one is the way then
        return None
    if found.shape != (len(means),) or not np.isfinite(found).all():
        return None
    probes = {
        *np.linspace(0, len(means) - 1, 8, dtype=np.int64).tolist(),
        *_extremes(found),
        *_extremes(means),
    }
    one_by_one = np.array([_value(metric, names, means[probe].tolist()) for probe in sorted(probes)])
    return found if np.allclose(found[sorted(probes)], one_by_one, rtol=0, atol=SAME) else None


def _extremes(values: Floats) -> set[int]:
    """Rows of the smallest and the largest number of each column."""
    ends = (np.argmin(values, axis=0), np.argmax(values, axis=0))
    return {int(end) for ends_of in ends for end in np.atleast_1d(ends_of)}


def _value(metric: Metric, names: Sequence[str], means: Sequence[float]) -> float:
    return 100 * combined(metric, dict(zip(names, means, strict=True)))


def combined(metric: Metric, means: Mapping[str, float]) -> float:
    """The metric's value as a fraction; an error of its ``combine`` becomes a PluginError that names it."""
    try:
        return float(metric.combine(means))
    except Exception as error:
        told = ", ".join(f"{name} {mean:.6g}" for name, mean in means.items())
        raise PluginError(
            f"metric '{metric.name}': combine fails on the means {told} ({type(error).__name__}: {error})"
        ) from error


def smallest_drop(found: Comparison, alpha: float, power: float = POWER) -> float | None:
    """The true drop, in percent points, that such a test at level ``alpha`` finds with this power.

    By the normal approximation from the paired standard error, for McNemar's test with the continuity correction of one
    item. None where the runs answered alike, so that nothing is known about the spread.
    """
    if found.stderr <= 0:
        return None
    normal = NormalDist()
    step = 100 / found.n if found.test == "mcnemar" else 0.0
    return (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) * found.stderr + step


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted for their number by Holm's step-down rule (1979, Scand. J. Statist. 6), in the given order.

    Rejecting where the adjusted value is at most alpha makes any false rejection at all happen with probability alpha at
    most, however the tests depend on each other.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p)), key=lambda index: p[index])
    adjusted = [0.0] * len(p)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = highest
    return adjusted
