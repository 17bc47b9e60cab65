"""Every metric of every target as a section. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from harness.report.experiment.document import Grid, Section, Text, joined, number, signed
from harness.report.experiment.findings import Findings
from harness.report.experiment.metricmeans import MetricMean


def metric_section(found: Findings) -> Section:
    """Models × settings, for each metric of each target."""
    grids = list(_grids(found))
    return Section(
        title="Every metric",
        anchor="metrics",
        sentences=(
            (
                "Percent, mean over languages and seeds, each metric for itself; below it the difference from the baseline in "
                "percent points, not tested. The matrix tests the suite's score, which is one of them or the mean of two."
            ),
        )
        if grids
        else (),
        grids=grids,
    )


def _grids(found: Findings) -> Iterable[Grid]:
    settings = [setting.name for setting in found.experiment.settings]
    there = {(one.target, one.metric, one.model, one.setting): one for one in found.metrics}
    places = dict.fromkeys((one.target, one.metric, one.model) for one in found.metrics)
    metrics = list(dict.fromkeys((one.target, one.metric) for one in found.metrics))
    order = {target: place for place, target in enumerate(found.board.targets)}
    rows = []
    for target, metric, model in sorted(
        places, key=lambda place: (order[place[0]], metrics.index(place[:2]))
    ):
        family = found.experiment.families.get(model, "")
        words = [Text(text=text) for text in (target, metric, model, family)]
        rows.append([*words, *[_field(there.get((target, metric, model, name))) for name in settings]])
    if rows:
        yield Grid(
            columns=["target", "metric", "model", "family", *settings],
            rows=rows,
            words=4,
            notes=[*_gaps(found.metrics), *_unlike(found.metrics)],
        )


def _field(one: MetricMean | None) -> Text:
    if one is None:
        return Text(text="–")
    return Text(text=number(one.score), small="" if one.delta is None else signed(one.delta))


def _gaps(metrics: Iterable[MetricMean]) -> Iterable[str]:
    """Where a target's settings were scored in different numbers of languages or seeds."""
    sizes: dict[tuple[str, str], dict[tuple[int, int], list[str]]] = {}
    for one in metrics:
        size = (len(one.languages), len(one.by_seed))
        sizes.setdefault((one.target, one.model), {}).setdefault(size, []).append(one.setting)
    for (target, model), found in sizes.items():
        if len(found) > 1:
            told = joined(
                f"{joined(dict.fromkeys(names))}: {languages} languages, {seeds} seeds"
                for (languages, seeds), names in found.items()
            )
            yield f"{target}, {model}: not the same languages or seeds everywhere ({told})"


def _unlike(metrics: Iterable[MetricMean]) -> Iterable[str]:
    """Where a difference is not that of the scores, once for all metrics of a target."""
    return dict.fromkeys(
        f"{one.target}, {one.model}, {one.setting}: {one.unlike}" for one in metrics if one.unlike
    )
