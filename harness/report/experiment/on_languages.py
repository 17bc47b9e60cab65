"""Findings about languages and about forgetting as sections. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from harness import languages
from harness.report.experiment.document import Grid, Section, Text, number, signed
from harness.report.experiment.findings import Findings
from harness.report.experiment.forgetting import Forgotten
from harness.report.experiment.kinds import DIMENSIONS, SOURCES, KindGain, gains_by_language


def language_section(found: Findings) -> Section:
    """Per target and language the gain of each setting."""
    grids = [
        grid
        for model in found.experiment.models
        for target in found.board.targets
        for grid in _languages(found, model, target)
    ]
    return Section(
        title="By language",
        anchor="languages",
        sentences=(
            "Gains in percent points (a fall where lower is better), mean over seeds; not tested one by one.",
        )
        if grids
        else (),
        grids=grids,
    )


def _languages(found: Findings, model: str, target: str) -> Iterable[Grid]:
    treated = [setting.name for setting in found.experiment.treated]
    effects = {setting: found.matrix.at(model, setting, target) for setting in treated}
    gains = {setting: gains_by_language(effect) for setting, effect in effects.items()}
    codes = sorted(set().union(*gains.values()))
    if not codes:
        return
    before = found.matrix.at(model, found.matrix.baseline, target) if found.matrix.baseline else None
    highest = max((abs(gain) for by_code in gains.values() for gain in by_code.values()), default=0.0)
    rows = [
        [
            Text(text=f"{code} {languages.name(code)}"),
            Text(text=number(before.scores.get(code) if before else None)),
            *[_shaded(gains[setting].get(code), highest) for setting in treated],
        ]
        for code in codes
    ]
    yield Grid(
        title=f"{model}: {target}",
        columns=["language", found.matrix.baseline or "baseline", *treated],
        rows=rows,
        folded=True,
        notes=[
            f"{target}, {setting}: {effect.unlike}"
            for setting, effect in effects.items()
            if effect and effect.unlike
        ],
    )


def _shaded(gain: float | None, highest: float) -> Text:
    return Text(text=signed(gain), shade=gain / highest if gain is not None and highest else 0.0)


def kind_section(found: Findings) -> Section:
    """Gains by family, script, resources, word order and distance from English."""
    grids = []
    for model in found.experiment.models:
        own = [gain for gain in found.kinds if gain.model == model]
        grids += [
            _kinds(found, model, own, dimension)
            for dimension in DIMENSIONS
            if any(g.dimension == dimension for g in own)
        ]
        grids += _kinds_by_target(found, model, own)
    told = "; ".join(f"{name}: {source}" for name, source in SOURCES.items())
    return Section(
        title="By kind of language",
        anchor="kinds",
        sentences=(
            (
                "Gains in percent points: mean over the languages of a kind, English left out, then over targets. Kinds differ "
                "in their languages and in the targets that have them, and few languages make a kind; nothing here is tested."
            ),
            f"Sources: {told}.",
        )
        if grids
        else (),
        grids=grids,
    )


def _kinds(found: Findings, model: str, own: list[KindGain], dimension: str) -> Grid:
    treated = [setting.name for setting in found.experiment.treated]
    there = {(gain.kind, gain.setting): gain for gain in own if gain.dimension == dimension}
    kinds = sorted({kind for kind, _ in there})
    highest = max((abs(gain.gain) for gain in there.values()), default=0.0)
    rows = []
    for kind in kinds:
        codes = sorted({code for (name, _), gain in there.items() if name == kind for code in gain.languages})
        cells = [there.get((kind, setting)) for setting in treated]
        rows.append(
            [
                Text(text=kind),
                Text(text=" ".join(codes)),
                *[_shaded(cell.gain if cell else None, highest) for cell in cells],
            ]
        )
    return Grid(title=f"{model}: {dimension}", columns=[dimension, "languages", *treated], rows=rows, words=2)


def _kinds_by_target(found: Findings, model: str, own: list[KindGain]) -> Iterable[Grid]:
    targets = [target for target in found.board.targets if any(target in gain.by_target for gain in own)]
    if len(targets) < 2:
        return
    rows = [
        [
            *[Text(text=text) for text in (gain.dimension, gain.kind, gain.setting)],
            *[Text(text=signed(gain.by_target.get(target))) for target in targets],
        ]
        for gain in own
    ]
    yield Grid(
        title=f"{model}: every kind by target",
        columns=["dimension", "kind", "setting", *targets],
        rows=rows,
        words=3,
        folded=True,
    )


def forgetting_section(found: Findings) -> Section:
    """One table per model and sequential setting."""
    groups: dict[tuple[str, str], list[Forgotten]] = {}
    for entry in found.forgotten:
        groups.setdefault((entry.model, entry.setting), []).append(entry)
    grids = []
    for (model, setting), entries in groups.items():
        rows = [
            [
                Text(text=_task(entry, entries)),
                Text(text=_metric(entry)),
                *[Text(text=number(value)) for value in entry.values],
                Text(text=number(entry.drop), strong=bool(entry.drop)),
                Text(text=str(len(entry.seeds))),
            ]
            for entry in entries
        ]
        phases = [f"{place}. {phase}" for place, phase in enumerate(entries[0].phases, start=1)]
        grids.append(
            Grid(
                title=f"{model}: {setting}",
                columns=["task", "metric", *[f"after {phase}" for phase in phases], "forgotten", "seeds"],
                rows=rows,
                words=2,
                notes=_apart(entries),
            )
        )
    return Section(
        title="Forgetting",
        anchor="forgetting",
        sentences=(
            (
                "Dev scores of every task learned so far after each phase, mean over seeds, in percent (losses: nats, per "
                "hidden token or per pair). Forgotten: how much worse the last phase leaves the task than its best phase did."
            ),
        )
        if grids
        else (),
        grids=grids,
    )


def _task(entry: Forgotten, entries: list[Forgotten]) -> str:
    """The task, and what it was measured on where a table has it on several dev sets."""
    return f"{entry.task} ({entry.held_out or 'not told'})" if _several(entry, entries) else entry.task


def _several(entry: Forgotten, entries: list[Forgotten]) -> bool:
    return [(other.task, other.metric) for other in entries].count((entry.task, entry.metric)) > 1


def _apart(entries: list[Forgotten]) -> list[str]:
    tasks = dict.fromkeys(entry.task for entry in entries if _several(entry, entries))
    return [f"{task}: measured on several dev sets, which are not compared with each other" for task in tasks]


def _metric(entry: Forgotten) -> str:
    return entry.metric if entry.higher_is_better else f"{entry.metric} (lower is better)"
