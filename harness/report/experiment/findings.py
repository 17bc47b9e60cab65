"""Everything that an experiment shows, put together once for all outputs. Knows no output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.baselines import beside as published_scores
from harness.catalog import Catalog
from harness.report.experiment.board import Board, board
from harness.report.experiment.choice import Choice, choices
from harness.report.experiment.forgetting import Forgotten, forgetting
from harness.report.experiment.kinds import KindGain, kind_gains
from harness.report.experiment.layout import Experiment, read_experiment
from harness.report.experiment.matrix import Matrix, matrix
from harness.report.experiment.metricmeans import MetricMean, metric_means
from harness.report.experiment.orders import OrderEffect, order_effects
from harness.report.experiment.published import Beside, beside, gains_beside, published_values
from harness.report.experiment.sizes import Curve, size_curves
from harness.report.experiment.training import Phase, phases


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What was found.

    Attributes:
        experiment: As read; ``board`` its scores, ``matrix`` its effects.
        kinds: Gains by kind of language; ``forgotten``, ``curves``, ``orders``, ``choices``, ``phases`` and
            ``published`` as their modules describe them; empty where there is nothing of the kind.
        metrics: Every metric of every target; ``gains`` published gains beside ours.
        unknown_baselines: Published numbers that the recipe names and no plugin has.
    """

    experiment: Experiment
    board: Board
    matrix: Matrix
    kinds: Sequence[KindGain]
    forgotten: Sequence[Forgotten]
    curves: Sequence[Curve]
    orders: Sequence[OrderEffect]
    choices: Sequence[Choice]
    phases: Sequence[Phase]
    published: Sequence[Beside]
    gains: Sequence[Beside]
    metrics: Sequence[MetricMean]
    unknown_baselines: Sequence[str]

    @property
    def seeds(self) -> int:
        """The largest number of seeds that any cell of the matrix has."""
        return max((len(effect.by_seed) for effect in self.matrix.effects.values()), default=0)


def find(folder: Path, catalog: Catalog, baselines: Iterable[Mapping[str, Any]] | None = None) -> Findings:
    """Read an experiment folder and compute everything that its report shows.

    Args:
        folder: With ``experiment.json``; what is missing in it is left out.
        catalog: Has suites and metrics.
        baselines: Published numbers: ``model``, ``task``, ``metric``, ``value`` (percent) and ``source`` each,
            ``language`` and ``over`` where they apply; None for those that the recipe names and the catalog has.

    Raises:
        OutputError: The folder is no experiment.
    """
    experiment = read_experiment(folder)
    scores = board(experiment, catalog.suites)
    effects = matrix(experiment, scores, catalog)
    named = [str(name) for name in experiment.recipe.get("baselines") or ()]
    known = [catalog.baselines[name] for name in named if name in catalog.baselines]
    published = published_values(published_scores(known) if baselines is None else baselines)
    chosen = choices(experiment, scores, effects, catalog)
    return Findings(
        experiment=experiment,
        board=scores,
        matrix=effects,
        kinds=kind_gains(effects, scores.targets),
        forgotten=forgetting(experiment),
        curves=size_curves(experiment, scores, catalog),
        orders=order_effects(experiment, scores, catalog),
        choices=chosen,
        phases=phases(experiment),
        published=beside(experiment, scores, published, catalog.suites),
        gains=gains_beside(effects, scores, chosen, published, catalog.suites),
        metrics=metric_means(experiment, scores, effects, catalog),
        unknown_baselines=tuple(name for name in named if name not in catalog.baselines),
    )
