"""The transfer matrix: what each setting did to each target, against the baseline of the same model. No output here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.catalog import Catalog
from harness.errors import HarnessError
from harness.paired import DRAWS, holm
from harness.report.experiment.board import Board, Scored, deviation, mean, shared_languages
from harness.report.experiment.items import differences
from harness.report.experiment.layout import Experiment
from harness.report.experiment.overseeds import p_over_seeds
from harness.report.experiment.significance import Tested, paired_test

ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One cell of the matrix, or the baseline's own score (then there is no delta).

    Attributes:
        by_seed: Score by seed, percent: mean over all languages that the seed has.
        languages: In the score of every seed, ``of`` how many the suite counts.
        metrics: Whose mean a score is.
        marks: Why it must not be compared with published numbers.
        scores: By language, mean over the seeds.
        delta_by_seed: Setting minus baseline of the same seed over the languages and items that both scored, percent points.
        deltas: Likewise by language, mean over the seeds.
        untrained: Whether nothing was learned in any of its cells, so that a seed decides nothing.
        unlike: That both did not score the same items, so that a delta is not the difference of the scores; else empty.
        tested: The paired test over items, None where it could not be made; then ``reason`` says why, and why there is no
            delta where none can be had.
        adjusted_p: Its ``p`` adjusted by Holm over all tested cells of the experiment. It covers items only.
        seeds_p: Of the test over items and seeds, None with fewer than three seeds; ``adjusted_seeds_p`` by Holm over all of these.
    """

    model: str
    setting: str
    target: str
    by_seed: Mapping[int, float]
    languages: tuple[str, ...]
    of: int
    metrics: tuple[str, ...]
    marks: tuple[str, ...]
    higher_is_better: bool
    scores: Mapping[str, float]
    delta_by_seed: Mapping[int, float] = field(default_factory=dict)
    deltas: Mapping[str, float] = field(default_factory=dict)
    untrained: bool = False
    unlike: str = ""
    tested: Tested | None = None
    reason: str = ""
    adjusted_p: float | None = None
    seeds_p: float | None = None
    adjusted_seeds_p: float | None = None

    @property
    def score(self) -> float:
        """Mean over seeds, percent."""
        return mean(self.by_seed.values())

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the score over seeds, None with fewer than three."""
        return deviation(list(self.by_seed.values()))

    @property
    def delta(self) -> float | None:
        """Mean over the seeds that both have, percent points."""
        return mean(self.delta_by_seed.values()) if self.delta_by_seed else None

    @property
    def delta_deviation(self) -> float | None:
        """Standard deviation of the delta over seeds, None with fewer than three."""
        return deviation(list(self.delta_by_seed.values()))

    @property
    def gain(self) -> float | None:
        """The delta with the sign of an improvement, whichever direction the metric has."""
        return None if self.delta is None else self.delta if self.higher_is_better else -self.delta

    @property
    def steady(self) -> bool:
        """Whether the delta has the same sign in every seed."""
        signs = {math.copysign(1.0, value) if value else 0.0 for value in self.delta_by_seed.values()}
        return len(signs) == 1

    @property
    def beyond_items(self) -> bool:
        """Whether other items would hardly undo it: adjusted p over items at most 5 %, the same sign in every seed."""
        return self.adjusted_p is not None and self.adjusted_p <= ALPHA and self.steady

    @property
    def significant(self) -> bool:
        """Whether neither other items nor other seeds would: adjusted p over both at most 5 %. Never with few seeds."""
        return self.adjusted_seeds_p is not None and self.adjusted_seeds_p <= ALPHA and self.steady


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """All effects.

    Attributes:
        baseline: Name of the baseline setting, None where there is none.
        effects: ``(model, setting, target)`` to effect, the baseline's own scores among them.
        tests: How many cells were tested over items, which is what Holm adjusts for; ``seed_tests`` how many over seeds.
    """

    baseline: str | None
    effects: Mapping[tuple[str, str, str], Effect]
    tests: int
    seed_tests: int

    def at(self, model: str, setting: str, target: str) -> Effect | None:
        """One cell."""
        return self.effects.get((model, setting, target))


def matrix(experiment: Experiment, found: Board, catalog: Catalog) -> Matrix:
    """The effects of all settings, tested and adjusted.

    Holm goes over all cells of all models, separately for both tests. Where the tests over items and seeds hold their level
    (see :mod:`harness.report.experiment.overseeds`), any false ``significant`` in the whole matrix has a chance of 5 % at
    most; of ``beyond_items`` that holds for these very seeds only.
    """
    baseline = experiment.baseline
    planned = len(experiment.models) * len(experiment.treated) * len(found.targets)
    # The smallest p of a bootstrap is 2 / (draws + 1): it has to get below Holm's first step.
    draws = max(DRAWS, math.ceil(4 * planned / ALPHA))
    effects: dict[tuple[str, str, str], Effect] = {}
    for model in experiment.models:
        for target in found.targets:
            before = found.at(model, baseline.name, target) if baseline else {}
            for setting in experiment.settings:
                after = found.at(model, setting.name, target)
                if not after:
                    continue
                place = (model, setting.name, target)
                pairs = {} if setting == baseline else matched(before, after)
                effect = _with_deltas(_effect(place, after), pairs, catalog)
                effects[place] = _with_test(effect, pairs, catalog, draws)
    return Matrix(
        baseline=None if baseline is None else baseline.name,
        effects=_adjusted(effects),
        tests=sum(effect.tested is not None for effect in effects.values()),
        seed_tests=sum(effect.seeds_p is not None for effect in effects.values()),
    )


def _effect(place: tuple[str, str, str], after: Mapping[int, Scored]) -> Effect:
    model, setting, target = place
    first = next(iter(after.values()))
    shared = shared_languages(after.values())
    return Effect(
        model=model,
        setting=setting,
        target=target,
        by_seed={seed: one.over(shared) for seed, one in sorted(after.items())} if shared else {},
        languages=tuple(shared),
        of=first.of,
        metrics=first.metrics,
        marks=tuple(dict.fromkeys(mark for one in after.values() for mark in one.marks)),
        higher_is_better=first.higher_is_better,
        scores={code: mean(one.scores[code] for one in after.values()) for code in shared},
        untrained=not any(one.seeded for one in after.values()),
    )


def _with_deltas(effect: Effect, pairs: Mapping[int, tuple[Scored, Scored]], catalog: Catalog) -> Effect:
    common = [code for code in effect.languages if all(code in one.scores for one, _ in pairs.values())]
    if not pairs or not common:
        return effect
    scores, unlike = differences(list(pairs.values()), common, catalog)
    if not scores:
        return replace(effect, reason=unlike)
    return replace(
        effect,
        delta_by_seed={
            seed: mean(two.values()) - mean(one.values())
            for seed, (one, two) in zip(pairs, scores, strict=True)
        },
        deltas={code: mean(two[code] - one[code] for one, two in scores) for code in common},
        unlike=unlike,
    )


def matched(before: Mapping[int, Scored], after: Mapping[int, Scored]) -> dict[int, tuple[Scored, Scored]]:
    """Baseline and setting by seed.

    A baseline of which nothing was trained (retrieval with the bare encoder) is the same for every seed, so any of its
    cells stands for the seeds that it lacks.
    """
    untrained = next((one for one in before.values() if not one.trained), None)
    pairs = {seed: (before.get(seed, untrained), one) for seed, one in sorted(after.items())}
    return {seed: (one, two) for seed, (one, two) in pairs.items() if one is not None}


def _with_test(
    effect: Effect, pairs: Mapping[int, tuple[Scored, Scored]], catalog: Catalog, draws: int
) -> Effect:
    if not effect.deltas:
        return effect
    try:
        tested = paired_test(
            [one for one, _ in pairs.values()],
            [two for _, two in pairs.values()],
            tuple(effect.deltas),
            catalog,
            draws=draws,
        )
    except HarnessError as error:
        return replace(effect, reason=str(error))
    over_seeds = p_over_seeds(tested.delta, tested.stderr, list(effect.delta_by_seed.values()))
    return replace(effect, tested=tested, seeds_p=None if over_seeds is None else max(over_seeds, tested.p))


def _adjusted(effects: Mapping[tuple[str, str, str], Effect]) -> dict[tuple[str, str, str], Effect]:
    items = {place: effect.tested.p for place, effect in effects.items() if effect.tested is not None}
    seeds = {place: effect.seeds_p for place, effect in effects.items() if effect.seeds_p is not None}
    over_items = dict(zip(items, holm(list(items.values())), strict=True))
    over_seeds = dict(zip(seeds, holm(list(seeds.values())), strict=True))
    return {
        place: replace(effect, adjusted_p=over_items.get(place), adjusted_seeds_p=over_seeds.get(place))
        for place, effect in effects.items()
    }


def overall(found: Matrix, model: str, setting: str, targets: Sequence[str]) -> tuple[float, int] | None:
    """The plain mean of the gains over targets, percent points, and of how many; None where there is none."""
    gains = [
        effect.gain
        for target in targets
        if (effect := found.at(model, setting, target)) is not None and effect.gain is not None
    ]
    return (mean(gains), len(gains)) if gains else None
