"""Scores over the items that all sides scored. Knows records, predictions and metrics; tests nothing.

What was learned is not scored, so two settings may have scored a target on different items; their recorded scores then
differ by the items too. The paired test takes its items from here, so what is shown and what is tested are one difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.catalog import Catalog
from harness.errors import HarnessError
from harness.metric import Metric, Parts
from harness.paired import combined
from harness.records import Record, predictions_path, read_predictions
from harness.report.experiment.board import Scored, mean

_TOLD = 3  # languages named in a note


class NotComparedError(HarnessError):
    """Why scores cannot be held against each other item by item."""


@dataclass(frozen=True, slots=True)
class Items:
    """One language of one side: row of each id, its gold answer, and parts by metric."""

    row: Mapping[str, int]
    gold: Sequence[str]
    parts: Mapping[str, Parts]


def unlike_items(scored: Sequence[Scored], languages: Iterable[str]) -> str:
    """In which of these languages not the same items were scored, as a clause; empty where they were in all."""
    told = []
    for language in languages:
        records = [one.records[language] for one in scored if language in one.scores]
        if _unlike(records):
            least, most = min(record.n for record in records), max(record.n for record in records)
            told.append(f"{language}: {least}–{most} items" if least < most else f"{language}: {most} each")
    more = [f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else []
    return f"not the same items were scored ({', '.join([*told[:_TOLD], *more])})" if told else ""


def common_scores(
    scored: Sequence[Scored], languages: Sequence[str], catalog: Catalog
) -> list[dict[str, float]]:
    """The scores by language of each, percent, over the items that all of them scored.

    Args:
        scored: One target, any settings and seeds.
        languages: A side that lacks one does not narrow its items.
        catalog: Has the metrics; they are needed only where the items differ, elsewhere recorded scores are taken.

    Raises:
        NotComparedError: Items differ, and no item is common, the gold answers differ, or predictions lack parts.
        HarnessError: Items differ, and predictions are missing or damaged.
    """
    found: list[dict[str, float]] = [{} for _ in scored]
    for language in languages:
        places = [place for place, one in enumerate(scored) if language in one.scores]
        values = _common([scored[place] for place in places], language, catalog)
        for place, value in zip(places, values, strict=True):
            found[place][language] = value
    return found


def differences(
    pairs: Sequence[tuple[Scored, Scored]], languages: Sequence[str], catalog: Catalog
) -> tuple[list[tuple[dict[str, float], dict[str, float]]], str]:
    """Baseline and setting by language, percent, over the items that both scored, to be subtracted.

    Args:
        pairs: One target, a pair per seed; the items are those of all seeds, as the paired test takes them.
        languages: Which all have.
        catalog: Has the metrics.

    Returns:
        Scores for each pair, none where they cannot be had; and what a reader must know, empty where items are the same.
    """
    scored = [one for pair in pairs for one in pair]
    unlike = unlike_items(scored, languages)
    try:
        found = common_scores(scored, languages, catalog)
    except HarnessError as error:
        return [], f"{unlike}, and over those that both scored no difference can be had: {error}"
    told = f"{unlike}; the difference is over those that both scored" if unlike else ""
    return list(zip(found[::2], found[1::2], strict=True)), told


def compared(
    scored: Sequence[Scored], languages: Sequence[str], catalog: Catalog
) -> tuple[list[dict[str, float]], str]:
    """As :func:`common_scores`, with a note where items differ; the recorded scores where common ones cannot be had."""
    unlike = unlike_items(scored, languages)
    try:
        found = common_scores(scored, languages, catalog)
    except HarnessError as error:
        recorded = [{code: one.scores[code] for code in languages if code in one.scores} for one in scored]
        told = f"{unlike}, so scores may differ by their items alone; over the common ones they cannot be had"
        return recorded, f"{told}: {error}"
    return found, f"{unlike}; compared over the common ones" if unlike else ""


def apiece(names: Iterable[str], values: Sequence[float]) -> dict[str, Sequence[float]]:
    """Values that stand name by name, as many for each.

    >>> apiece("ab", [1.0, 2.0, 3.0, 4.0])
    {'a': [1.0, 2.0], 'b': [3.0, 4.0]}
    """
    listed = list(names)
    each = len(values) // len(listed)
    return {name: values[each * place : each * (place + 1)] for place, name in enumerate(listed)}


def _common(scored: Sequence[Scored], language: str, catalog: Catalog) -> list[float]:
    if not _unlike([one.records[language] for one in scored]):
        return [one.scores[language] for one in scored]
    metrics = metrics_of(scored, catalog)
    one_number(scored, language)
    sides = [read_items(one, language, metrics) for one in scored]
    ids = common_ids(sides, f"{language}: the gold answers differ")
    if not ids:
        raise NotComparedError(f"{language}: no item is common")
    return [_score(chosen(side, ids), metrics) for side in sides]


def _unlike(records: Sequence[Record]) -> bool:
    return len({(record.items, record.n) for record in records}) > 1


def _score(parts: Mapping[str, Parts], metrics: Sequence[Metric]) -> float:
    """The mean over metrics, percent."""
    return mean(
        100 * combined(metric, {name: float(np.mean(part)) for name, part in parts[metric.name].items()})
        for metric in metrics
    )


def metrics_of(scored: Sequence[Scored], catalog: Catalog) -> list[Metric]:
    """The metrics whose mean the scores are; raises NotComparedError where another version was recorded."""
    return [_metric(name, scored, catalog) for name in scored[0].metrics]


def _metric(name: str, scored: Sequence[Scored], catalog: Catalog) -> Metric:
    metric = catalog.metric(name)
    recorded = {
        record.signature
        for one in scored
        for record in one.records.values()
        if record.metric == name and record.signature != metric.signature
    }
    if recorded:
        told = ", ".join(sorted(recorded))
        raise NotComparedError(f"recorded is {told}, the installed {name} is {metric.signature}")
    return metric


def one_number(scored: Sequence[Scored], language: str) -> None:
    """Raises NotComparedError where not all scores of a language are the same number of the same split."""
    records = [one.records[language] for one in scored]
    found = {(record.variant, record.signature, record.split, record.task_version) for record in records}
    if len(found) > 1:
        told = " and ".join(" ".join(map(str, number)) for number in sorted(found))
        raise NotComparedError(f"{language}: not the same number was measured ({told})")


def read_items(scored: Scored, language: str, metrics: Sequence[Metric]) -> Items:
    """What one cell predicted in a language; raises HarnessError where it is not there or lacks parts of a metric."""
    record = scored.records[language]
    path = predictions_path(scored.cell.folder, record.task, record.variant, record.seed, language)
    stored = read_predictions(path)
    missing = [metric.name for metric in metrics if not stored.parts.get(metric.name)]
    if missing or not stored.ids:
        raise NotComparedError(f"{language}: no per-item parts of {', '.join(missing) or 'any item'}")
    rows = {identity: row for row, identity in enumerate(stored.ids)}
    return Items(rows, stored.gold, {metric.name: stored.parts[metric.name] for metric in metrics})


def common_ids(sides: Sequence[Items], otherwise: str) -> list[str]:
    """The ids that all sides have, in the order of the first; raises NotComparedError where their gold answers differ.

    Args:
        sides: At least one.
        otherwise: What the error says.
    """
    first = sides[0]
    ids = [identity for identity in first.row if all(identity in other.row for other in sides[1:])]
    for other in sides[1:]:
        if any(first.gold[first.row[identity]] != other.gold[other.row[identity]] for identity in ids):
            raise NotComparedError(otherwise)
    return ids


def chosen(items: Items, ids: Sequence[str]) -> dict[str, Parts]:
    """The parts of some items by metric, in their order."""
    rows: NDArray[np.int64] = np.array([items.row[identity] for identity in ids], dtype=np.int64)
    return {
        metric: {name: part[rows] for name, part in parts.items()} for metric, parts in items.parts.items()
    }
