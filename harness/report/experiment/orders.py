"""Does the order of intermediate tasks matter? Permutations of one set of tasks held against each other. No output.

With k seeds per order, the variance of the order means holds a k-th of the variance over seeds. What is left of it after
that is taken off is the variance of the orders themselves (one-way random-effects analysis of variance).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.catalog import Catalog
from harness.paired import SAME
from harness.report.experiment.board import Board, mean, shared_languages
from harness.report.experiment.items import apiece, compared
from harness.report.experiment.layout import Experiment, Setting

AXIS = "order"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderEffect:
    """One target under all orders of one set of tasks.

    Attributes:
        group: The tasks, and what else the settings have in common.
        by_order: Order to score by seed, percent, in order of the recipe; all orders over the same languages, seeds and items.
        languages: Which all orders have; ``left_out`` settings of the group without any score.
        baseline: Score without intermediate training over these languages and items, percent; None where there is none.
        unlike: What a reader must know where not the same items were scored; else empty.
    """

    model: str
    group: str
    target: str
    higher_is_better: bool
    by_order: Mapping[str, Mapping[int, float]]
    languages: tuple[str, ...]
    left_out: tuple[str, ...]
    baseline: float | None
    unlike: str = ""

    @property
    def means(self) -> dict[str, float]:
        """Mean over seeds by order, percent."""
        return {order: mean(scores.values()) for order, scores in self.by_order.items()}

    @property
    def best(self) -> str:
        """The order with the best mean, the first of equal ones; :attr:`worst` likewise."""
        sign = 1 if self.higher_is_better else -1
        return max(self.means, key=lambda order: sign * self.means[order])

    @property
    def worst(self) -> str:
        """The order with the worst mean."""
        sign = 1 if self.higher_is_better else -1
        return min(self.means, key=lambda order: sign * self.means[order])

    @property
    def span(self) -> float:
        """Best minus worst mean, percent points."""
        return abs(self.means[self.best] - self.means[self.worst])

    @property
    def tied(self) -> bool:
        """Whether no order has a better mean than another, up to rounding."""
        return self.span <= SAME

    @property
    def over_orders(self) -> float | None:
        """Variance of the order means, None with one order."""
        return _variance(list(self.means.values()))

    @property
    def over_seeds(self) -> float | None:
        """Variance over seeds within an order, pooled; None where no order has two seeds."""
        squares, freedom = 0.0, 0
        for scores in self.by_order.values():
            middle = mean(scores.values())
            squares += math.fsum((value - middle) ** 2 for value in scores.values())
            freedom += len(scores) - 1
        return squares / freedom if freedom else None

    @property
    def beyond_seeds(self) -> float | None:
        """The variance of orders after the seeds' share is taken off, at least 0; None where one is not known."""
        if self.over_orders is None or self.over_seeds is None:
            return None
        share = mean(1 / len(scores) for scores in self.by_order.values())
        return max(0.0, self.over_orders - self.over_seeds * share)

    @property
    def seeds(self) -> int:
        """The number of seeds that all orders have."""
        return min(len(scores) for scores in self.by_order.values())


def order_effects(experiment: Experiment, scores: Board, catalog: Catalog) -> list[OrderEffect]:
    """One entry per model, set of tasks with two orders or more, and target.

    Orders are compared over the languages, seeds and items that all of them have, the items also of the baseline.
    """
    groups: dict[str, list[Setting]] = {}
    for setting in experiment.settings:
        if AXIS in setting.axes and not setting.baseline:
            groups.setdefault(_group(setting), []).append(setting)
    return [
        effect
        for model in experiment.models
        for group, settings in groups.items()
        for target in scores.targets
        if (effect := _effect(experiment, scores, (model, group, target), settings, catalog)) is not None
    ]


def _effect(
    experiment: Experiment,
    scores: Board,
    place: tuple[str, str, str],
    settings: Sequence[Setting],
    catalog: Catalog,
) -> OrderEffect | None:
    model, group, target = place
    all_orders = {setting.axes[AXIS]: scores.at(model, setting.name, target) for setting in settings}
    there = {order: by_seed for order, by_seed in all_orders.items() if by_seed}
    if len(there) < 2:
        return None
    first = next(iter(there.values()))
    seeds = [seed for seed in sorted(first) if all(seed in by_seed for by_seed in there.values())]
    scored = [by_seed[seed] for by_seed in there.values() for seed in seeds]
    languages = shared_languages(scored)
    if not languages:
        return None
    before = scores.at(model, experiment.baseline.name, target) if experiment.baseline else {}
    comparable = [one for one in before.values() if set(languages) <= set(one.scores)]
    common, unlike = compared([*scored, *comparable], languages, catalog)
    means = [mean(one.values()) for one in common]
    by_order = apiece(there, means[: len(scored)])
    return OrderEffect(
        model=model,
        group=group,
        target=target,
        higher_is_better=scored[0].higher_is_better,
        by_order={order: dict(zip(seeds, values, strict=True)) for order, values in by_order.items()},
        languages=tuple(languages),
        left_out=tuple(order for order in all_orders if order not in there),
        baseline=mean(means[len(scored) :]) if comparable else None,
        unlike=unlike,
    )


def _group(setting: Setting) -> str:
    """The tasks in any order, and what else the setting has; its axis ``tasks`` says the tasks over again."""
    tasks = sorted(task.strip() for task in setting.axes[AXIS].replace(",", ">").split(">"))
    others = [text for name, text in sorted(setting.axes.items()) if name not in (AXIS, "tasks")]
    return ", ".join([" + ".join(tasks), *others])


def _variance(values: Sequence[float]) -> float | None:
    if len(values) < 2:
        return None
    middle = mean(values)
    return math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1)
