"""Ratios of counted things: what precision, recall and F1 are made of. Knows sums and means only."""

from __future__ import annotations

from collections.abc import Mapping


def ratio(above: float, below: float) -> float:
    """``above / below``; 0 where there is nothing to divide by."""
    return above / below if below > 0 else 0.0


def f1(means: Mapping[str, float]) -> float:
    """2 · hits / (predicted + gold); 0 where nothing was found."""
    return ratio(2 * means["hits"], means["predicted"] + means["gold"])


def precision(means: Mapping[str, float]) -> float:
    """Share of what was predicted that is right."""
    return ratio(means["hits"], means["predicted"])


def recall(means: Mapping[str, float]) -> float:
    """Share of the gold that was found."""
    return ratio(means["hits"], means["gold"])


def macro_f1(means: Mapping[str, float]) -> float:
    """The plain mean of the classes' F1, from parts named ``hits.CLASS``, ``predicted.CLASS`` and ``gold.CLASS``.

    A class that is in the parts but in no item has F1 0, as with scikit-learn's ``zero_division=0``.

    >>> macro_f1({"hits.a": 1, "predicted.a": 2, "gold.a": 1, "hits.b": 0, "predicted.b": 0, "gold.b": 1})
    0.3333333333333333
    """
    classes = [name.removeprefix("gold.") for name in means if name.startswith("gold.")]
    values = [
        ratio(2 * means[f"hits.{name}"], means[f"predicted.{name}"] + means[f"gold.{name}"])
        for name in classes
    ]
    return ratio(sum(values), len(values))
