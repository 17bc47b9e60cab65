"""The best intermediate training per target as a section. Computes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from harness.report.experiment.choice import Choice
from harness.report.experiment.document import Grid, Section, joined, number, signed, texts
from harness.report.experiment.findings import Findings

_COLUMNS = (
    "target",
    "best setting",
    "chosen on",
    "candidates",
    "dev",
    "score",
    "difference",
    "oracle",
    "its difference",
)


def choice_section(found: Findings) -> Section:
    """The best setting per target."""
    return Section(
        title="Best intermediate training per target",
        anchor="best",
        sentences=(
            (
                "Chosen on the English dev split where every setting was scored on one that is not the test set, over the "
                "seeds that all have. An oracle chooses on the reported scores themselves, over the seeds and languages that "
                "all have: nobody could have chosen so, and what it gains is too high by the choice alone. The baseline is not "
                "among the candidates. Of equal candidates the first in the recipe is taken."
            ),
        ),
        grids=[grid for model in found.experiment.models for grid in _chosen(found, model)],
    )


def _chosen(found: Findings, model: str) -> Iterable[Grid]:
    chosen = [choice for choice in found.choices if choice.model == model]
    if chosen:
        rows = [
            texts(
                choice.target,
                choice.effect.setting,
                choice.chosen_on,
                str(len(choice.candidates)),
                number(choice.dev),
                number(choice.effect.score),
                signed(choice.effect.delta),
                choice.oracle.setting,
                signed(choice.oracle.delta),
            )
            for choice in chosen
        ]
        notes = [*_mean_gain(chosen), *(note for choice in chosen for note in _notes(choice))]
        notes += _not_chosen(found, model, chosen)
        notes += _dev_errors(found, model)
        yield Grid(title=model, columns=_COLUMNS, rows=rows, words=3, notes=notes)


def _mean_gain(chosen: list[Choice]) -> Iterable[str]:
    gains = [choice.effect.gain for choice in chosen if choice.effect.gain is not None]
    oracles = sum(choice.is_oracle for choice in chosen)
    told = f", {oracles} of {len(chosen)} chosen by an oracle" if oracles else ""
    if gains:
        many = "s" if len(gains) > 1 else ""
        yield (
            f"Mean gain of the chosen settings over {len(gains)} target{many}: "
            f"{signed(sum(gains) / len(gains))} points{told}."
        )


def _notes(choice: Choice) -> Iterable[str]:
    if choice.is_oracle:
        yield f"{choice.target}: oracle, because {choice.why_oracle}"
    most = max(len(choice.effect.languages), len(choice.oracle.languages))
    seeds = max(len(choice.effect.by_seed), len(choice.oracle.by_seed))
    if choice.is_oracle and (len(choice.languages), len(choice.seeds)) != (most, seeds):
        yield (
            f"{choice.target}: compared over what all candidates have, {len(choice.languages)} of {most} languages and "
            f"{len(choice.seeds)} of {seeds} seeds; score and difference are the matrix's"
        )
    if choice.unlike:
        yield f"{choice.target}: {choice.unlike}"
    if choice.ties:
        yield f"{choice.target}: as good as {choice.effect.setting}: {joined(choice.ties)}"
    for name, reason in choice.left_out.items():
        yield f"{choice.target}: {name} is no candidate: {reason}"


def _not_chosen(found: Findings, model: str, chosen: list[Choice]) -> Iterable[str]:
    there = {choice.target for choice in chosen}
    treated = [setting.name for setting in found.experiment.treated]
    for target in found.board.targets:
        if target not in there and any(found.board.at(model, setting, target) for setting in treated):
            yield f"{target}: nothing was chosen, the candidates have no seed and language in common"


def _dev_errors(found: Findings, model: str) -> Iterable[str]:
    for cell in found.experiment.cells:
        if cell.model == model and cell.dev_error:
            yield f"{cell.setting}, seed {cell.seed}: English dev could not be scored: {cell.dev_error}"
