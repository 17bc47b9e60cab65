"""Findings as tidy tables: one row per number with all that says which number it is. For CSV files and for JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from harness import languages, typology, typology_facts
from harness.report.experiment.findings import Findings
from harness.report.experiment.matrix import Effect

Value: TypeAlias = str | float | int | bool | None
Row: TypeAlias = Mapping[str, Value]


def tidy(found: Findings) -> dict[str, list[Row]]:
    """Name of the table (``matrix``, ``languages``, ``forgetting``, ``sizes``, ``orders``, ``best``, ``metrics``) to its
    rows.

    Scores are percent, differences percent points; every table has the same columns whatever there is.
    """
    return {
        "matrix": [_matrix(found, effect) for effect in found.matrix.effects.values()],
        "languages": list(_languages(found)),
        "forgetting": list(_forgetting(found)),
        "sizes": list(_sizes(found)),
        "orders": list(_orders(found)),
        "best": list(_best(found)),
        "metrics": list(_metrics(found)),
    }


COLUMNS: Mapping[str, Sequence[str]] = {
    "matrix": (
        "model target metrics setting baseline score seeds seed_sd seed_min seed_max languages of delta delta_sd "
        "delta_min delta_max higher_is_better test items p p_holm low high beyond_items p_seeds p_seeds_holm significant "
        "note marks"
    ).split(),
    "languages": (
        "model target setting language name family genus script resources word_order distance_from_english score "
        "delta gain seeds"
    ).split(),
    "forgetting": "model setting task metric higher_is_better held_out phase learned value forgotten seeds".split(),
    "sizes": "model curve target of unit label size score baseline fit_a fit_b fit_r_squared fit_sizes".split(),
    "orders": (
        "model tasks target order seed score mean best worst variance_orders variance_seeds variance_beyond_seeds"
    ).split(),
    "best": (
        "model target setting chosen_on why_oracle dev score delta candidates left_out ties oracle oracle_score oracle_delta"
    ).split(),
    "metrics": "model family target metric setting baseline score delta seeds languages".split(),
}


def as_csv(name: str, rows: Iterable[Row]) -> str:
    """One table as CSV with a header, lines ending in a line feed; None is an empty field."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS[name], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _written(value) for key, value in row.items()} for row in rows)
    return out.getvalue()


def _written(value: Value) -> Value:
    """Six digits after the point are more than any score has."""
    return f"{value:.6f}" if isinstance(value, float) else value


def _matrix(found: Findings, effect: Effect) -> Row:
    scores, deltas = list(effect.by_seed.values()), list(effect.delta_by_seed.values())
    tested = effect.tested
    return {
        "model": effect.model,
        "target": effect.target,
        "metrics": " and ".join(effect.metrics),
        "setting": effect.setting,
        "baseline": effect.setting == found.matrix.baseline,
        "score": effect.score if scores else None,
        "seeds": len(scores),
        "seed_sd": effect.deviation,
        "seed_min": min(scores, default=None),
        "seed_max": max(scores, default=None),
        "languages": len(effect.languages),
        "of": effect.of,
        "delta": effect.delta,
        "delta_sd": effect.delta_deviation,
        "delta_min": min(deltas, default=None),
        "delta_max": max(deltas, default=None),
        "higher_is_better": effect.higher_is_better,
        "test": tested.test if tested else None,
        "items": tested.items if tested else None,
        "p": tested.p if tested else None,
        "p_holm": effect.adjusted_p,
        "low": tested.low if tested else None,
        "high": tested.high if tested else None,
        "beyond_items": effect.beyond_items if tested else None,
        "p_seeds": effect.seeds_p,
        "p_seeds_holm": effect.adjusted_seeds_p,
        "significant": effect.significant if effect.seeds_p is not None else None,
        "note": "; ".join(text for text in (effect.reason, effect.unlike) if text),
        "marks": "; ".join(effect.marks),
    }


def _languages(found: Findings) -> Iterable[Row]:
    for effect in found.matrix.effects.values():
        for code, score in effect.scores.items():
            entry, delta = typology.find(code), effect.deltas.get(code)
            yield {
                "model": effect.model,
                "target": effect.target,
                "setting": effect.setting,
                "language": code,
                "name": languages.name(code),
                "family": entry.family if entry else None,
                "genus": entry.genus if entry else None,
                "script": entry.script_name if entry else None,
                "resources": entry.resources if entry else None,
                "word_order": typology_facts.word_order(code),
                "distance_from_english": typology_facts.distance_from_english(code),
                "score": score,
                "delta": delta,
                "gain": None if delta is None else delta if effect.higher_is_better else -delta,
                "seeds": len(effect.by_seed),
            }


def _forgetting(found: Findings) -> Iterable[Row]:
    for entry in found.forgotten:
        for place, (phase, value) in enumerate(zip(entry.phases, entry.values, strict=True), start=1):
            yield {
                "model": entry.model,
                "setting": entry.setting,
                "task": entry.task,
                "metric": entry.metric,
                "higher_is_better": entry.higher_is_better,
                "held_out": entry.held_out,
                "phase": place,
                "learned": phase,
                "value": value,
                "forgotten": entry.drop if place == len(entry.phases) else None,
                "seeds": len(entry.seeds),
            }


def _sizes(found: Findings) -> Iterable[Row]:
    for curve in found.curves:
        for label, size, score in zip(curve.labels, curve.sizes, curve.scores, strict=True):
            yield {
                "model": curve.model,
                "curve": curve.name,
                "target": curve.target,
                "of": curve.of,
                "unit": curve.unit,
                "label": label,
                "size": size,
                "score": score,
                "baseline": curve.baseline,
                "fit_a": curve.fit.a if curve.fit else None,
                "fit_b": curve.fit.b if curve.fit else None,
                "fit_r_squared": curve.fit.r_squared if curve.fit else None,
                "fit_sizes": curve.fit.sizes if curve.fit else None,
            }


def _orders(found: Findings) -> Iterable[Row]:
    for effect in found.orders:
        for order, scores in effect.by_order.items():
            for seed, score in scores.items():
                yield {
                    "model": effect.model,
                    "tasks": effect.group,
                    "target": effect.target,
                    "order": order,
                    "seed": seed,
                    "score": score,
                    "mean": effect.means[order],
                    "best": order == effect.best,
                    "worst": order == effect.worst,
                    "variance_orders": effect.over_orders,
                    "variance_seeds": effect.over_seeds,
                    "variance_beyond_seeds": effect.beyond_seeds,
                }


def _best(found: Findings) -> Iterable[Row]:
    for choice in found.choices:
        yield {
            "model": choice.model,
            "target": choice.target,
            "setting": choice.effect.setting,
            "chosen_on": choice.chosen_on,
            "why_oracle": choice.why_oracle,
            "dev": choice.dev,
            "score": choice.effect.score,
            "delta": choice.effect.delta,
            "candidates": len(choice.candidates),
            "left_out": "; ".join(f"{name}: {reason}" for name, reason in choice.left_out.items()),
            "ties": "; ".join(choice.ties),
            "oracle": choice.oracle.setting,
            "oracle_score": choice.oracle_score,
            "oracle_delta": choice.oracle.delta,
        }


def _metrics(found: Findings) -> Iterable[Row]:
    for one in found.metrics:
        yield {
            "model": one.model,
            "family": found.experiment.families.get(one.model, ""),
            "target": one.target,
            "metric": one.metric,
            "setting": one.setting,
            "baseline": one.setting == found.matrix.baseline,
            "score": one.score,
            "delta": one.delta,
            "seeds": len(one.by_seed),
            "languages": len(one.languages),
        }
