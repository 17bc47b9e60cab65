"""Is a target's mean over languages another one than the baseline's? A paired test over the items both scored.

What is tested is the number of the matrix: the plain mean over languages. Seed k of a setting is held against seed k of
the baseline.

* An item's parts are averaged over seeds, so an item counts once however many seeds there are. (Pooling items × seeds as
  if they were independent would find far too much.)
* Items of the same id in several languages are translations of each other, or may be: they are drawn together. For items
  that have nothing to do with each other this changes nothing but the noise.
* One language, one metric that is right or wrong, one seed: McNemar's exact test. Otherwise the paired bootstrap, and
  above 20,000 ids, where the two agree, the normal approximation from the delta method.
* p-values are two-sided, for gains count as losses do.

This test holds for these seeds: it says nothing about others. What other seeds could change is in
:mod:`harness.report.experiment.overseeds`, which takes the standard error over items from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from harness import digests
from harness.catalog import Catalog
from harness.metric import Metric, Parts
from harness.paired import DRAWS, Comparison, combined, compare
from harness.report.experiment.board import Scored
from harness.report.experiment.difference import difference_with_error
from harness.report.experiment.items import (
    Items,
    NotComparedError,
    chosen,
    common_ids,
    metrics_of,
    one_number,
    read_items,
)

# As for the gate: below that nothing is tested. A language with fewer than the second could be missing in a draw.
MIN_ITEMS = 30
MIN_PER_LANGUAGE = 10
# Above so many ids the bootstrap takes long and the normal approximation is as good.
MANY = 20_000
_INTERVAL = NormalDist().inv_cdf(0.975)
_BY = "\t"
_SEEN = "\tseen"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What a paired test found of a difference.

    Attributes:
        test: ``mcnemar``, ``bootstrap`` or ``delta method``.
        items: Different ids that both sides scored.
        delta: Setting minus baseline over them, percent points.
        low: Lower end of the 95 % interval of delta; ``high`` the upper end.
        stderr: Standard error of delta over items, percent points.
        p: Two-sided; never 0, which no finite number of items shows.
    """

    test: str
    items: int
    delta: float
    low: float
    high: float
    stderr: float
    p: float


def paired_test(
    baseline: Sequence[Scored],
    run: Sequence[Scored],
    languages: Sequence[str],
    catalog: Catalog,
    *,
    draws: int = DRAWS,
) -> Tested:
    """Test the difference of the means over languages.

    Args:
        baseline: One target in the baseline, one entry per seed; ``run`` the same seeds of the setting, in the same order.
        languages: Which both have.
        catalog: Has the metrics.
        draws: Bootstrap samples.

    Raises:
        NotComparedError: Too few items, other gold answers, or predictions that lack parts.
        HarnessError: Predictions are missing or damaged.
    """
    metrics = metrics_of([*run, *baseline], catalog)
    sides = {}
    for language in languages:
        one_number([*baseline, *run], language)
        before, after = _items(baseline, language, metrics), _items(run, language, metrics)
        sides[language] = (before, after, _common(before, after, language))
    ids = sorted({identity for _, _, common in sides.values() for identity in common})
    if len(ids) < MIN_ITEMS:
        raise NotComparedError(f"{len(ids)} common items, {MIN_ITEMS} are needed")
    if len(languages) == len(metrics) == 1:
        ((first, second, common),) = sides.values()
        (metric,) = metrics
        pair = (chosen(first, common)[metric.name], chosen(second, common)[metric.name])
    else:
        place = {identity: row for row, identity in enumerate(ids)}
        pair = (
            _spread({code: (before, common) for code, (before, _, common) in sides.items()}, place),
            _spread({code: (after, common) for code, (_, after, common) in sides.items()}, place),
        )
        metric = _mean_over_languages(metrics, languages, {*pair[0], *pair[1]})
    seed = int(digests.of_value([run[0].records[languages[0]].task, *languages]), 16)
    return _tested(metric, *pair, items=len(ids), seed=seed, draws=draws)


def _items(scored: Sequence[Scored], language: str, metrics: Sequence[Metric]) -> Items:
    """Mean over seeds of the items that every seed has."""
    read = [read_items(one, language, metrics) for one in scored]
    ids = common_ids(read, f"{language}: the gold answers differ between seeds")
    sides = [chosen(side, ids) for side in read]
    parts = {metric.name: _averaged([side[metric.name] for side in sides]) for metric in metrics}
    gold = [read[0].gold[read[0].row[identity]] for identity in ids]
    return Items({identity: row for row, identity in enumerate(ids)}, gold, parts)


def _averaged(sides: Sequence[Parts]) -> Parts:
    """Means over seeds; a part that a seed lacks has only zeros there (a class that it never predicted)."""
    if len(sides) == 1:
        return sides[0]
    names = dict.fromkeys(name for side in sides for name in side)
    nothing = np.zeros(len(next(iter(sides[0].values()))))
    return {name: np.mean([side.get(name, nothing) for side in sides], axis=0) for name in names}


def _common(before: Items, after: Items, language: str) -> list[str]:
    common = common_ids([before, after], f"{language}: the gold answers differ from the baseline's")
    if len(common) < MIN_PER_LANGUAGE:
        raise NotComparedError(f"{language}: {len(common)} common items, {MIN_PER_LANGUAGE} are needed")
    return common


def _spread(sides: Mapping[str, tuple[Items, Sequence[str]]], place: Mapping[str, int]) -> Parts:
    """Parts of all languages over one list of ids, 0 where a language lacks an id, and which ids it has."""
    spread: dict[str, NDArray[np.float64]] = {}
    for language, (items, ids) in sides.items():
        rows = np.array([place[identity] for identity in ids], dtype=np.int64)
        columns = {
            f"{language}{_BY}{metric}{_BY}{name}": part
            for metric, parts in chosen(items, ids).items()
            for name, part in parts.items()
        }
        for name, part in {**columns, f"{language}{_SEEN}": np.ones(len(ids))}.items():
            spread[name] = np.zeros(len(place))
            spread[name][rows] = part
    return spread


def _mean_over_languages(metrics: Sequence[Metric], languages: Sequence[str], names: Iterable[str]) -> Metric:
    """The mean over languages of the mean over metrics, as one metric of :func:`_spread`'s parts."""
    groups: list[tuple[Metric, str, list[tuple[str, str]]]] = []
    for language in languages:
        for metric in metrics:
            start = f"{language}{_BY}{metric.name}{_BY}"
            own = [(name.removeprefix(start), name) for name in sorted(names) if name.startswith(start)]
            groups.append((metric, f"{language}{_SEEN}", own))

    def combine(means: Mapping[str, float]) -> float:
        total = 0.0
        for metric, seen, own in groups:
            share = means[seen] + 1e-300  # a language that a draw lacks altogether gives 0, not an error
            total = total + metric.combine({name: means[column] / share for name, column in own})
        return total / len(groups)

    return Metric(
        name="mean-over-languages",
        signature="mean-over-languages|v1",
        parts=lambda gold, predictions: {},
        combine=combine,
        doc="The plain mean over languages of the plain mean over metrics; ours.",
        higher_is_better=metrics[0].higher_is_better,
    )


def _tested(metric: Metric, baseline: Parts, run: Parts, *, items: int, seed: int, draws: int) -> Tested:
    names = {*baseline, *run}
    if items > MANY:
        return _by_delta_method(metric, baseline, run, items, draws)
    before, after = (_value(metric, side, names) for side in (baseline, run))
    sign = 1.0 if metric.higher_is_better else -1.0
    worse = sign * (after - before) < 0
    # The test is one-sided, of «no drop»; a gain of the run is a drop of the baseline against it.
    found: Comparison = (
        compare(metric, baseline, run, seed=seed, draws=draws)
        if worse
        else compare(metric, run, baseline, seed=seed, draws=draws)
    )
    toward = -sign if worse else sign
    ends = sorted((toward * found.low, toward * found.high))
    p = 1.0 if after == before else min(1.0, 2 * found.p)
    return Tested(
        test=found.test,
        items=items,
        delta=toward * found.drop,
        low=ends[0],
        high=ends[1],
        stderr=found.stderr,
        p=p,
    )


def _value(metric: Metric, side: Parts, names: Iterable[str]) -> float:
    return 100 * combined(
        metric, {name: float(np.mean(side[name])) if name in side else 0.0 for name in names}
    )


def _by_delta_method(metric: Metric, baseline: Parts, run: Parts, items: int, draws: int) -> Tested:
    """As the bootstrap of so many draws, whose smallest p is the smallest here too."""
    delta, error = difference_with_error(metric, baseline, run)
    if error == 0 and delta != 0:
        raise NotComparedError("the spread over items cannot be computed")
    p = 1.0 if delta == 0 else math.erfc(abs(delta) / error / math.sqrt(2))
    reach = _INTERVAL * error
    return Tested(
        test="delta method",
        items=items,
        delta=delta,
        low=delta - reach,
        high=delta + reach,
        stderr=error,
        p=max(p, 2 / (1 + draws)),
    )
