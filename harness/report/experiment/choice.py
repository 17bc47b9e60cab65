"""The best intermediate training per target, chosen on English dev where there is one. Knows scores; no output.

Candidates are compared over the languages, seeds and items that all of them have, so that none wins by having the easier
ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.catalog import Catalog
from harness.errors import HarnessError
from harness.paired import SAME
from harness.report.experiment.board import Board, Scored, mean, shared_languages
from harness.report.experiment.items import apiece, common_scores, compared, unlike_items
from harness.report.experiment.layout import Experiment
from harness.report.experiment.matrix import Effect, Matrix
from harness.report.transfer import ENGLISH

ENGLISH_DEV = "English dev"
ORACLE = "oracle: the reported scores themselves"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What was chosen for a target.

    Attributes:
        chosen_on: :data:`ENGLISH_DEV` or :data:`ORACLE`; the second cannot be had in practice and is an upper bound.
        effect: Of the chosen setting.
        dev: Its score on English dev, percent, mean over the seeds of all candidates; None for an oracle.
        candidates: Names of the settings that were to choose from; the baseline is none of them.
        left_out: Settings that could not be compared, with the reason.
        ties: Other candidates whose number is the chosen one's.
        seeds: Over which candidates were compared; ``languages`` likewise, for an oracle.
        oracle: What an oracle chooses; ``oracle_score`` its score over these languages and seeds, percent, and over the items
            that all candidates scored.
        why_oracle: Why English dev did not choose; empty where it did.
        unlike: What a reader must know where candidates did not score the same items of what chose; else empty.
    """

    model: str
    target: str
    chosen_on: str
    effect: Effect
    dev: float | None
    candidates: tuple[str, ...]
    left_out: Mapping[str, str]
    ties: tuple[str, ...]
    seeds: tuple[int, ...]
    languages: tuple[str, ...]
    oracle: Effect
    oracle_score: float
    why_oracle: str = ""
    unlike: str = ""

    @property
    def is_oracle(self) -> bool:
        """Whether the reported scores chose."""
        return self.chosen_on == ORACLE


def choices(experiment: Experiment, scores: Board, found: Matrix, catalog: Catalog) -> list[Choice]:
    """One choice per model and target; the first in the recipe wins among equals.

    English dev chooses only where every candidate was scored on it in a seed of all, otherwise the choice would be among
    some of them, or of the luckier seed.
    """
    return [
        choice
        for model in experiment.models
        for target in scores.targets
        if (choice := _choice(experiment, scores, found, (model, target), catalog)) is not None
    ]


def _choice(
    experiment: Experiment, scores: Board, found: Matrix, place: tuple[str, str], catalog: Catalog
) -> Choice | None:
    model, target = place
    left_out: dict[str, str] = {}
    there: dict[str, Mapping[int, Scored]] = {}
    for setting in experiment.treated:
        by_seed = scores.at(model, setting.name, target)
        effect = found.at(model, setting.name, target)
        if effect is None or not effect.by_seed:
            left_out[setting.name] = "no score"
        else:
            there[setting.name] = by_seed
    if not there:
        return None
    seeds, languages = _common(there)
    if not seeds or not languages:
        return None
    effects = {name: effect for name in there if (effect := found.at(model, name, target)) is not None}
    sign = 1 if next(iter(effects.values())).higher_is_better else -1
    reported, unlike = _reported(there, seeds, languages, catalog)
    oracle, oracle_ties = _best(reported, sign)
    dev, why = _dev(scores, (model, target), list(there), catalog)
    best, ties = _best(dev, sign) if dev else (oracle, oracle_ties)
    return Choice(
        model=model,
        target=target,
        chosen_on=ENGLISH_DEV if dev else ORACLE,
        effect=effects[best],
        dev=dev[best] if dev else None,
        candidates=tuple(there),
        left_out=left_out,
        ties=ties,
        seeds=seeds,
        languages=languages,
        oracle=effects[oracle],
        oracle_score=reported[oracle],
        why_oracle="" if dev else why,
        unlike="; ".join(text for text in (unlike, why if dev else "") if text),
    )


def _common(there: Mapping[str, Mapping[int, Scored]]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Seeds, then languages, that all candidates have."""
    first = next(iter(there.values()))
    seeds = tuple(seed for seed in sorted(first) if all(seed in by_seed for by_seed in there.values()))
    scored = (by_seed[seed] for by_seed in there.values() for seed in seeds)
    return seeds, tuple(shared_languages(scored))


def _reported(
    there: Mapping[str, Mapping[int, Scored]],
    seeds: Sequence[int],
    languages: Sequence[str],
    catalog: Catalog,
) -> tuple[dict[str, float], str]:
    """The candidates' means over what all have, and what must be known of their items."""
    scored = [by_seed[seed] for by_seed in there.values() for seed in seeds]
    common, unlike = compared(scored, languages, catalog)
    by_candidate = apiece(there, [mean(one.values()) for one in common])
    return {name: mean(values) for name, values in by_candidate.items()}, unlike


def _dev(
    scores: Board, place: tuple[str, str], candidates: Sequence[str], catalog: Catalog
) -> tuple[dict[str, float], str]:
    """The candidates' means on English dev over the seeds and items that all have, and what must be known of the items.

    Empty with the reason where that cannot be had.
    """
    model, target = place
    if target in scores.dev_is_test:
        return {}, "its English dev set is the test set"
    by_setting = {name: scores.dev.get((model, name, target), {}) for name in candidates}
    lacking = [name for name, by_seed in by_setting.items() if not by_seed]
    if lacking:
        which = "of any candidate" if len(lacking) == len(candidates) else f"of {', '.join(lacking)}"
        return {}, f"there is no score on English dev {which}"
    seeds = set.intersection(*(set(by_seed) for by_seed in by_setting.values()))
    if not seeds:
        return {}, "no seed has English dev of all candidates"
    scored = [by_seed[seed] for by_seed in by_setting.values() for seed in sorted(seeds)]
    unlike = unlike_items(scored, [ENGLISH])
    try:
        common = common_scores(scored, [ENGLISH], catalog)
    except HarnessError as error:
        return {}, f"on English dev {unlike}, and the common ones cannot be had: {error}"
    told = f"on English dev {unlike}; compared over the common ones" if unlike else ""
    by_candidate = apiece(by_setting, [one[ENGLISH] for one in common])
    return {name: mean(values) for name, values in by_candidate.items()}, told


def _best(values: Mapping[str, float], sign: int) -> tuple[str, tuple[str, ...]]:
    """The best name, and the others that are as good."""
    best = max(values, key=lambda name: sign * values[name])
    return best, tuple(name for name in values if name != best and abs(values[name] - values[best]) <= SAME)
