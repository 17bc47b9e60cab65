"""The transfer matrix as a section. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from harness.report.experiment.board import ENOUGH_SEEDS, SEEDS_NOT_ESTIMATED
from harness.report.experiment.document import Grid, Section, Text, number, signed
from harness.report.experiment.findings import Findings
from harness.report.experiment.matrix import ALPHA, Effect, Matrix, overall

_METHOD = (
    "Paired test of the mean over languages on the items that both scored: exact McNemar test for one language, seed and "
    "share of right answers, paired bootstrap otherwise (by the delta method above 20,000 items). Parts of an item are "
    "averaged over seeds, items of the same id in several languages are drawn together, p is two-sided. "
)
_SEEDS_METHOD = (
    "Seeds: the squared standard error over items and the variance of the differences between seeds divided by their "
    "number, added, against Student's t with one degree of freedom less than seeds; p is never below that over items. It errs "
    "on the safe side: a few seeds show only very large differences so, the more cells are tested the larger."
)


def matrix_section(found: Findings) -> Section:
    """One heat map per model."""
    baseline = found.matrix.baseline
    warnings = []
    if baseline is None:
        warnings.append(
            "The experiment has no setting without intermediate training, so there are no differences."
        )
    if 0 < found.seeds < ENOUGH_SEEDS:
        warnings.append(f"{found.seeds} seed{'s' if found.seeds > 1 else ''}: {SEEDS_NOT_ESTIMATED}.")
    few = not found.matrix.seed_tests
    sentences: tuple[str, ...] = (
        (
            f"Percent points against «{baseline}», mean over seeds; below it the score in percent and its range over seeds "
            "(sd: standard deviation of the difference over seeds). Blue with + is better, orange with − is worse."
        ),
        (
            f"°: beyond item noise, that is p ≤ {ALPHA:g} over items after Holm's adjustment for all {found.matrix.tests} tested "
            "cells, and the same sign in every seed. It says that other items would hardly undo the difference of these very "
            f"trainings, and nothing of other seeds{f': with fewer than {ENOUGH_SEEDS}, nothing here does' if few else ''}. "
            f"(n): could not be tested, see below. {_METHOD}"
        ),
    )
    if found.matrix.seed_tests:
        sentences += (
            (
                f"*: beyond items and seeds, that is p ≤ {ALPHA:g} over both after Holm's adjustment for all "
                f"{found.matrix.seed_tests} cells with {ENOUGH_SEEDS} seeds or more, and the same sign in every seed. {_SEEDS_METHOD}"
            ),
        )
    return Section(
        title="Transfer matrix",
        anchor="matrix",
        warnings=warnings,
        sentences=sentences if baseline else (),
        grids=[grid for model in found.experiment.models for grid in _matrices(found, model)],
    )


def _matrices(found: Findings, model: str) -> Iterable[Grid]:
    treated = [setting.name for setting in found.experiment.treated]
    targets = [
        target
        for target in found.board.targets
        if any((model, setting.name, target) in found.matrix.effects for setting in found.experiment.settings)
    ]
    if not targets:
        return
    effects = found.matrix
    highest = max(
        (
            abs(effect.delta)
            for place, effect in effects.effects.items()
            if place[0] == model and effect.delta
        ),
        default=0.0,
    )
    rows = []
    for target in targets:
        before = effects.at(model, effects.baseline, target) if effects.baseline else None
        cells = [effects.at(model, setting, target) for setting in treated]
        first = before or next(cell for cell in cells if cell is not None)
        rows.append(
            [
                Text(text=target, small=" and ".join(first.metrics)),
                Text(text=number(before.score), small=_range(before)) if before else Text(text="–"),
                *[_field(cell, highest) for cell in cells],
            ]
        )
    if len(targets) > 1:
        rows.append(_means(effects, model, treated, targets))
    yield Grid(
        title=model,
        columns=["target", effects.baseline or "baseline", *treated],
        rows=rows,
        notes=list(_notes(found, model, targets)),
    )


def _field(effect: Effect | None, highest: float) -> Text:
    if effect is None or not effect.by_seed:
        return Text(text="–")
    if effect.delta is None:
        return Text(text="– (n)" if effect.reason else "–", small=f"{number(effect.score)}{_spread(effect)}")
    mark = "*" if effect.significant else "°" if effect.beyond_items else "" if effect.tested else " (n)"
    shade = (effect.gain or 0.0) / highest if highest else 0.0
    sd = "" if effect.delta_deviation is None else f", sd {effect.delta_deviation:.2f}"
    return Text(
        text=f"{signed(effect.delta)}{mark}",
        small=f"{number(effect.score)}{_spread(effect)}{sd}",
        shade=shade,
        strong=effect.significant,
    )


def _range(effect: Effect) -> str:
    if effect.untrained:
        return "no seed"
    values = effect.by_seed.values()
    sd = "" if effect.deviation is None else f", sd {effect.deviation:.2f}"
    return f"{min(values):.2f}–{max(values):.2f}{sd}" if len(values) > 1 else ""


def _spread(effect: Effect) -> str:
    values = effect.by_seed.values()
    return f" ({min(values):.2f}–{max(values):.2f})" if len(values) > 1 else ""


def _means(effects: Matrix, model: str, treated: list[str], targets: list[str]) -> list[Text]:
    row = [Text(text="mean of gains", small="over targets, not tested", strong=True), Text(text="")]
    for setting in treated:
        mean = overall(effects, model, setting, targets)
        row.append(
            Text(text="–")
            if mean is None
            else Text(text=signed(mean[0]), small=f"{mean[1]} of {len(targets)} targets", strong=True)
        )
    return row


def _notes(found: Findings, model: str, targets: list[str]) -> Iterable[str]:
    """What a reader of one model's matrix must know: metrics whose fall is good, gaps, marks, tests not made."""
    marks: dict[str, list[str]] = {}
    for target in targets:
        effects = [
            effect
            for setting in found.experiment.settings
            if (effect := found.matrix.at(model, setting.name, target)) is not None
        ]
        if not effects[0].higher_is_better:
            yield f"{target}: lower is better; a negative difference is a gain"
        for effect in effects:
            if len(effect.languages) < effect.of:
                marks.setdefault(f"{len(effect.languages)} of {effect.of} languages", []).append(target)
            for mark in effect.marks:
                marks.setdefault(f"not comparable with published scores: {mark}", []).append(target)
            if effect.reason:
                yield f"(n) {target}, {effect.setting}: {effect.reason}"
            if effect.unlike:
                yield f"{target}, {effect.setting}: {effect.unlike}"
            if effect.reason and effect.delta is None:
                continue
            seeds = [seed for seed in effect.by_seed if seed not in effect.delta_by_seed]
            if seeds and effect.setting != found.matrix.baseline and found.matrix.baseline:
                yield (
                    f"{target}, {effect.setting}: no baseline for seed {', '.join(map(str, seeds))}, "
                    "left out of the difference"
                )
    for mark, names in marks.items():
        yield f"{mark} ({', '.join(dict.fromkeys(names))})"
