"""Score against the size of the intermediate training set: curves and their fits. Knows scores; draws nothing.

Sizes and the baseline are compared over the languages, seeds and items that all of them have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.catalog import Catalog
from harness.report.experiment.board import Board, Scored, mean, shared_languages
from harness.report.experiment.items import compared
from harness.report.experiment.kinds import LOW_RESOURCE, low_resource
from harness.report.experiment.layout import Experiment, Setting
from harness.report.experiment.matrix import matched
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
        notes: Which seeds were left out, and whether not the same items were scored. Where the sizes have no seed and
            language in common this is all there is, and no point.
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
    notes: tuple[str, ...] = ()

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


def size_curves(experiment: Experiment, scores: Board, catalog: Catalog) -> list[Curve]:
    """All curves: per model, group of settings that differ in size only, and target, first means and then languages."""
    groups: dict[str, list[Setting]] = {}
    for setting in experiment.settings:
        if AXIS in setting.axes and not setting.baseline:
            groups.setdefault(_rest(setting), []).append(setting)
    return [
        curve
        for model in experiment.models
        for name, settings in groups.items()
        for target in scores.targets
        if (points := _points(experiment, scores, model, settings, target)) is not None
        for curve in _curves(points, (model, name, target), catalog)
    ]


def _rest(setting: Setting) -> str:
    """What the setting is besides its size."""
    others = [text for name, text in sorted(setting.axes.items()) if name != AXIS]
    return ", ".join(others)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Points:
    """The sizes of one curve in order.

    Attributes:
        labels: As the recipe has them; ``sizes`` as numbers in ``unit``; ``scored`` by seed.
        before: The baseline by seed, as it stands for the seeds of the first size.
        left_out: Seeds of the baseline beside these.
    """

    unit: str
    labels: tuple[str, ...]
    sizes: tuple[float, ...]
    scored: Sequence[Mapping[int, Scored]]
    before: Mapping[int, Scored]
    left_out: frozenset[int]

    def seeds(self) -> tuple[list[int], list[int]]:
        """Which all sizes have, and of them those that the baseline has."""
        shared = [seed for seed in sorted(self.scored[0]) if all(seed in one for one in self.scored)]
        return shared, [seed for seed in shared if seed in self.before]


def _points(
    experiment: Experiment, scores: Board, model: str, settings: Sequence[Setting], target: str
) -> _Points | None:
    there = {
        setting.name: by_seed for setting in settings if (by_seed := scores.at(model, setting.name, target))
    }
    labels = {setting.name: setting.axes[AXIS] for setting in settings if setting.name in there}
    examples = {setting: _examples(experiment, model, setting) for setting in there}
    known = all(examples.values())
    numbers = {setting: examples[setting] if known else as_number(labels[setting]) for setting in there}
    sizes = {setting: size for setting, size in numbers.items() if size}
    order = sorted(sizes, key=lambda setting: sizes[setting])
    if not order:
        return None
    before = scores.at(model, experiment.baseline.name, target) if experiment.baseline else {}
    pairs = matched(before, there[order[0]])
    trained = {seed for seed, one in before.items() if one.trained}
    return _Points(
        unit="examples" if known else "size as written",
        labels=tuple(labels[setting] for setting in order),
        sizes=tuple(sizes[setting] for setting in order),
        scored=[there[setting] for setting in order],
        before={seed: one for seed, (one, _) in pairs.items()},
        left_out=frozenset(trained - set(pairs)),
    )


def _curves(points: _Points, place: tuple[str, str, str], catalog: Catalog) -> Iterable[Curve]:
    shared, held = points.seeds()
    seeds = held or shared
    scored = [one[seed] for one in points.scored for seed in seeds]
    codes = shared_languages(scored)
    nothing = _no_curve(points, place)
    if not codes:
        yield nothing
        return
    common, unlike = compared([*scored, *(points.before[seed] for seed in held)], codes, catalog)
    starts = range(0, len(scored), len(seeds))
    sizes = [_over_seeds(common[start : start + len(seeds)]) for start in starts]
    before = _over_seeds(common[len(scored) :])
    notes = tuple(text for text in (_seeds_note(points, seeds), unlike) if text)
    for of, members in _lines(codes):
        scores = tuple(mean(one[code] for code in members) for one in sizes)
        comparable = all(code in before for code in members)
        yield replace(
            nothing,
            of=of,
            labels=points.labels,
            sizes=points.sizes,
            scores=scores,
            baseline=mean(before[code] for code in members) if comparable else None,
            fit=fit_of(points.sizes, scores),
            notes=notes,
        )


def _no_curve(points: _Points, place: tuple[str, str, str]) -> Curve:
    model, name, target = place
    return Curve(
        model=model,
        name=name,
        target=target,
        of=ALL,
        unit=points.unit,
        labels=(),
        sizes=(),
        scores=(),
        baseline=None,
        fit=None,
        notes=("no curve: the sizes have no seed and language in common",),
    )


def _over_seeds(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over seeds of each language that all have."""
    first = scores[0] if scores else {}
    return {code: mean(one[code] for one in scores) for code in first if all(code in one for one in scores)}


def _seeds_note(points: _Points, seeds: Sequence[int]) -> str:
    """Which seeds are meant, where others were scored too; else empty."""
    _, held = points.seeds()
    every = {seed for one in points.scored for seed in one} | points.left_out
    others = sorted(every - set(seeds))
    if not others:
        return ""
    baseline = bool(points.before) or bool(points.left_out)
    who = "all sizes and the baseline have" if held else "all sizes have"
    lacking = "; the baseline has none of them" if baseline and not held else ""
    return f"over {_told(seeds)}, which {who}{lacking}; left out: {_told(others)}"


def _told(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _lines(shared: Sequence[str]) -> Iterable[tuple[str, Sequence[str]]]:
    """Names and languages of the means, then of each language."""
    others = [code for code in shared if code != ENGLISH]
    means: Mapping[str, Sequence[str]] = {
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
