"""Every metric of every target, the secondary ones too: means over languages and seeds. Tests nothing; no output.

The matrix has the suite's score alone, which is one metric or the mean of two. Here each stands for itself, in the main
view and over the languages that the matrix counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.catalog import Catalog
from harness.report.experiment.board import Board, Scored, main_records, mean, shared_languages
from harness.report.experiment.items import differences
from harness.report.experiment.layout import Experiment
from harness.report.experiment.matrix import Matrix
from harness.report.summary import task_tables
from harness.suite import Suite


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricMean:
    """One metric of one target in one setting.

    Attributes:
        score: Mean over languages and seeds, percent.
        by_seed: Seed to the mean over languages.
        languages: Over which, those that every seed has.
        delta: Minus the baseline's over the languages, items and seeds of both, percent points; None where there is none.
        unlike: What a reader must know where both did not score the same items; else empty.
    """

    model: str
    setting: str
    target: str
    metric: str
    by_seed: Mapping[int, float]
    languages: tuple[str, ...]
    delta: float | None
    unlike: str = ""

    @property
    def score(self) -> float:
        """The plain mean over seeds."""
        return mean(self.by_seed.values())


ByMetric = Mapping[str, Scored]


def metric_means(experiment: Experiment, scores: Board, found: Matrix, catalog: Catalog) -> list[MetricMean]:
    """In order of model, target, metric and setting."""
    listed = []
    for model in experiment.models:
        for target in scores.targets:
            tables = {
                setting.name: {
                    seed: _by_metric(one, catalog.suites)
                    for seed, one in sorted(scores.at(model, setting.name, target).items())
                }
                for setting in experiment.settings
            }
            metrics = dict.fromkeys(
                metric for by_seed in tables.values() for table in by_seed.values() for metric in table
            )
            before = tables.get(found.baseline or "", {})
            untrained = found.baseline is not None and _untrained(found, model, target)
            listed += [
                one
                for metric in metrics
                for setting, by_seed in tables.items()
                if (
                    one := _mean(
                        (model, setting, target, metric),
                        by_seed,
                        {} if setting == found.baseline else before,
                        untrained,
                        catalog,
                    )
                )
                is not None
            ]
    return listed


def _untrained(found: Matrix, model: str, target: str) -> bool:
    effect = found.at(model, found.baseline or "", target)
    return effect is not None and effect.untrained


def _by_metric(scored: Scored, suites: Mapping[str, Suite]) -> ByMetric:
    """Metric of the main view to the target as scored by it alone."""
    records = main_records(scored.cell, next(iter(scored.records.values())).task)
    table = next(table for table in task_tables(records, suites) if table.main)
    view = table.first[0]
    found = {}
    for name in (metric for of_view, metric in table.columns if of_view == view):
        cells = table.scores(scored.scores, [name])
        place = (table.encoding, view, name)
        own = {
            record.language: record
            for record in records
            if (record.encoding, record.view, record.metric) == place
        }
        values = {code: cell.value for code, cell in cells.items()}
        if values:
            found[name] = replace(scored, scores=values, metrics=(name,), records=own)
    return found


def _mean(
    place: tuple[str, str, str, str],
    after: Mapping[int, ByMetric],
    before: Mapping[int, ByMetric],
    untrained: bool,
    catalog: Catalog,
) -> MetricMean | None:
    model, setting, target, metric = place
    own = {seed: table[metric] for seed, table in after.items() if metric in table}
    languages = shared_languages(own.values())
    if not languages:
        return None
    any_seed = next(iter(before.values()), {}) if untrained else {}
    pairs = [
        (held[metric], one) for seed, one in own.items() if metric in (held := before.get(seed, any_seed))
    ]
    delta, unlike = _delta(pairs, catalog)
    return MetricMean(
        model=model,
        setting=setting,
        target=target,
        metric=metric,
        by_seed={seed: one.over(languages) for seed, one in own.items()},
        languages=tuple(languages),
        delta=delta,
        unlike=unlike,
    )


def _delta(pairs: Sequence[tuple[Scored, Scored]], catalog: Catalog) -> tuple[float | None, str]:
    common = shared_languages([one for pair in pairs for one in pair])
    if not common:
        return None, ""
    scores, unlike = differences(pairs, common, catalog)
    if not scores:
        return None, unlike
    return mean(mean(two[code] - one[code] for code in common) for one, two in scores), unlike
