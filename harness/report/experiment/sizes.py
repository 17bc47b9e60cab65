"""Score against the size of the intermediate training set: curves and their fits. Knows effects; draws nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.report.experiment.board import mean
from harness.report.experiment.kinds import LOW_RESOURCE, low_resource
from harness.report.experiment.layout import Experiment, Setting
from harness.report.experiment.matrix import Effect, Matrix
from harness.report.transfer import ENGLISH

AXIS = "size"
ALL = "all languages"
LOW = f"low-resource (classes 0–{LOW_RESOURCE})"
HIGH = f"high-resource (classes {LOW_RESOURCE + 1}–5)"
MEANS = (ALL, HIGH, LOW)
# Heads of what is learned beside the tasks, and of old whose lineage does not tell heads, their tasks.
_BESIDE, _MASKED = ("vocabulary", "vector"), ("mlm", "tlm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Least squares of ``score = a + b · ln(size)``.

    Attributes:
        a: Percent at size 1; ``b`` percent points per unit of ln(size), so ``b · ln 10`` per tenfold size.
        r_squared: Share of the variance that the line explains; None with two sizes, or where all scores are equal.
        sizes: Number of different sizes.
    """

    a: float
    b: float
    r_squared: float | None
    sizes: int

    @property
    def per_tenfold(self) -> float:
        """Percent points gained by ten times the size."""
        return self.b * math.log(10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One line: a language, or a mean over languages, of one target.

    Attributes:
        name: What the settings have in common, e.g. ``mnli``; empty where the size is all that differs.
        of: Language code, or one of :data:`MEANS`.
        unit: ``examples``, or ``share`` where the number of examples is not known of every point.
        labels: The sizes as the recipe has them, in order; ``sizes`` as numbers, ``scores`` means over seeds, percent.
        baseline: Score without intermediate training, percent; None where there is none.
        fit: None with fewer than two sizes.
    """

    model: str
    name: str
    target: str
    of: str
    unit: str
    labels: tuple[str, ...]
    sizes: tuple[float, ...]
    scores: tuple[float, ...]
    baseline: float | None
    fit: Fit | None

    @property
    def is_mean(self) -> bool:
        """Whether it is a mean over languages."""
        return self.of in MEANS


def fit_of(sizes: Sequence[float], scores: Sequence[float]) -> Fit | None:
    """The least-squares line of scores against the logarithm of sizes above 0.

    >>> line = fit_of([1, 10, 100], [50.0, 60.0, 70.0])
    >>> line and (round(line.a, 6), round(line.per_tenfold, 6), line.r_squared and round(line.r_squared, 6))
    (50.0, 10.0, 1.0)
    """
    logs = [math.log(size) for size in sizes]
    if len(set(logs)) < 2:
        return None
    x, y = mean(logs), mean(scores)
    spread = math.fsum((value - x) ** 2 for value in logs)
    b = math.fsum((one - x) * (two - y) for one, two in zip(logs, scores, strict=True)) / spread
    a = y - b * x
    total = math.fsum((score - y) ** 2 for score in scores)
    left = math.fsum((score - a - b * log) ** 2 for log, score in zip(logs, scores, strict=True))
    informative = len(set(logs)) > 2 and total > 1e-12
    return Fit(a=a, b=b, r_squared=1 - left / total if informative else None, sizes=len(set(logs)))


def size_curves(experiment: Experiment, found: Matrix, targets: Sequence[str]) -> list[Curve]:
    """All curves: per model, group of settings that differ in size only, and target, first means and then languages."""
    groups: dict[str, list[Setting]] = {}
    for setting in experiment.settings:
        if AXIS in setting.axes and not setting.baseline:
            groups.setdefault(_rest(setting), []).append(setting)
    return [
        curve
        for model in experiment.models
        for name, settings in groups.items()
        for target in targets
        for curve in _curves(experiment, found, model, name, settings, target)
    ]


def _rest(setting: Setting) -> str:
    """What the setting is besides its size."""
    others = [text for name, text in sorted(setting.axes.items()) if name != AXIS]
    return ", ".join(others)


def _curves(
    experiment: Experiment, found: Matrix, model: str, name: str, settings: Sequence[Setting], target: str
) -> Iterable[Curve]:
    effects = {
        setting.name: effect
        for setting in settings
        if (effect := found.at(model, setting.name, target)) is not None
    }
    points = {setting.name: setting.axes[AXIS] for setting in settings if setting.name in effects}
    examples = {setting: _examples(experiment, model, setting) for setting in points}
    known = all(examples.values())
    sizes = {setting: examples[setting] if known else as_number(points[setting]) for setting in points}
    order = sorted((setting for setting in points if sizes[setting]), key=lambda setting: sizes[setting] or 0)
    if not order:
        return
    before = found.at(model, found.baseline, target) if found.baseline else None
    for of, codes in _lines([effects[setting] for setting in order]):
        scores = [mean(effects[setting].scores[code] for code in codes) for setting in order]
        numbers = [float(sizes[setting] or 0) for setting in order]
        comparable = before is not None and all(code in before.scores for code in codes)
        yield Curve(
            model=model,
            name=name,
            target=target,
            of=of,
            unit="examples" if known else "size as written",
            labels=tuple(points[setting] for setting in order),
            sizes=tuple(numbers),
            scores=tuple(scores),
            baseline=mean(before.scores[code] for code in codes) if before and comparable else None,
            fit=fit_of(numbers, scores),
        )


def _lines(effects: Sequence[Effect]) -> Iterable[tuple[str, list[str]]]:
    """Names and languages of the means, then of each language, over the languages that every size has."""
    shared = [code for code in effects[0].scores if all(code in effect.scores for effect in effects)]
    others = [code for code in shared if code != ENGLISH]
    means: Mapping[str, list[str]] = {
        ALL: shared,
        HIGH: [code for code in others if low_resource(code) is False],
        LOW: [code for code in others if low_resource(code)],
    }
    yield from ((name, codes) for name, codes in means.items() if codes)
    yield from ((code, [code]) for code in shared)


def _examples(experiment: Experiment, model: str, setting: str) -> float | None:
    """Training examples over all phases, texts and pairs in many languages left out; None where a lineage does not tell."""
    for cell in experiment.of(model, setting):
        courses = [course for phase in cell.lineage for course in phase.get("courses") or ()]
        counts = [course.get("examples") for course in courses if not _beside(course)]
        if counts and all(isinstance(count, int) for count in counts):
            return float(sum(counts)) or None
    return None


def _beside(course: Mapping[str, Any]) -> bool:
    kind = (course.get("head") or {}).get("kind")
    return kind in _BESIDE or str(course.get("task", "")).startswith(_MASKED)


def as_number(size: str) -> float | None:
    """A size as written: ``0.1`` and ``10%`` are shares, ``500`` a number; None where it is none of them.

    >>> [as_number(size) for size in ("0.1", "10%", "500", "all")]
    [0.1, 0.1, 500.0, None]
    """
    found = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", size)
    if found is None or float(found[1]) <= 0:
        return None
    return float(found[1]) / (100 if found[2] else 1)
