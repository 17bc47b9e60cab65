"""Findings along an axis as sections with plots: sizes, orders, training curves. Computes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from harness import languages
from harness.report.experiment.board import ENOUGH_SEEDS
from harness.report.experiment.document import Grid, Section, Text, joined, number, texts
from harness.report.experiment.findings import Findings
from harness.report.experiment.kinds import low_resource
from harness.report.experiment.orders import OrderEffect
from harness.report.experiment.plots import Plot, Series, Style, plot
from harness.report.experiment.sizes import ALL, HIGH, LOW, Curve
from harness.report.experiment.training import Phase

_STYLES: dict[str, Style] = {ALL: "strong", HIGH: "light", LOW: "low"}


def size_section(found: Findings) -> Section:
    """Curves of every target: means first, then a line per language."""
    groups: dict[tuple[str, str, str], list[Curve]] = {}
    for curve in found.curves:
        groups.setdefault((curve.model, curve.name, curve.target), []).append(curve)
    plots: list[Plot] = []
    grids = []
    for (model, name, target), curves in groups.items():
        title = ": ".join(part for part in (model, name, target) if part)
        single = [curve for curve in curves if not curve.is_mean]
        if len(curves[0].sizes) > 1:
            plots.append(_means_plot(f"{title}, means", curves))
        if len(curves[0].sizes) > 1 and len(single) > 1:
            plots.append(_languages_plot(f"{title}, by language", single))
        grids.append(_fits(title, curves))
    return Section(
        title="Size of the intermediate training set",
        anchor="sizes",
        sentences=(
            (
                "Scores in percent, mean over seeds, against the number of training examples on a logarithmic axis; dashed: "
                "without intermediate training, dotted: the fit. Fit: score = a + b · ln(size) by least squares over the "
                "sizes; R² needs three sizes, and over so few points it says little. Low-resource: classes 0–2 of Joshi et al. 2020; means of "
                "high- and low-resource languages leave English out."
            ),
        )
        if grids
        else (),
        plots=plots,
        grids=grids,
    )


def _means_plot(title: str, curves: list[Curve]) -> Plot:
    series = []
    for curve in curves:
        if curve.is_mean:
            series.append(_series(curve, _STYLES[curve.of]))
            fit = curve.fit
            if fit is not None and fit.sizes > 2:
                outer = (curve.sizes[0], curve.sizes[-1])
                fitted = [(size, fit.a + fit.b * math.log(size)) for size in outer]
                series.append(Series(name=f"fit, {curve.of}", points=fitted, style="fit", dots=False))
    whole = next((curve for curve in curves if curve.of == ALL), None)
    if whole is not None and whole.baseline is not None:
        ends = [(size, whole.baseline) for size in (whole.sizes[0], whole.sizes[-1])]
        series.append(Series(name="baseline, all languages", points=ends, style="dashed", dots=False))
    return plot(title, series, x=curves[0].unit, y="%", log=True)


def _languages_plot(title: str, curves: list[Curve]) -> Plot:
    """Low-resource languages stand out; the legend would be too long, lines carry their names as titles."""
    series = [_series(curve, "low" if low_resource(curve.of) else "light") for curve in curves]
    return plot(title, series, x=curves[0].unit, y="%", log=True, legend=False)


def _series(curve: Curve, style: Style) -> Series:
    return Series(name=curve.of, points=list(zip(curve.sizes, curve.scores, strict=True)), style=style)


def _fits(title: str, curves: list[Curve]) -> Grid:
    first = curves[0]
    rows = []
    for curve in curves:
        name = curve.of if curve.is_mean else f"{curve.of} {languages.name(curve.of)}"
        kind = "" if curve.is_mean else {True: "low", False: "high", None: ""}[low_resource(curve.of)]
        fit = curve.fit
        rows.append(
            [
                Text(text=name, strong=curve.is_mean),
                *texts(
                    kind,
                    number(curve.baseline),
                    *map(number, curve.scores),
                    number(fit.per_tenfold if fit else None, "+.2f"),
                    number(fit.r_squared if fit else None),
                ),
            ]
        )
    sizes = [
        label if math.isclose(size, _as_float(label)) else f"{label} ({size:,.0f})"
        for label, size in zip(first.labels, first.sizes, strict=True)
    ]
    return Grid(
        title=title,
        columns=["language", "resources", "baseline", *sizes, "per tenfold size", "R²"],
        rows=rows,
        words=2,
        folded=len(rows) > 12,
        notes=first.notes,
    )


def _as_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def order_section(found: Findings) -> Section:
    """Order effects of every target."""
    fewest = min((effect.seeds for effect in found.orders), default=ENOUGH_SEEDS)
    rows = [_order_row(effect) for effect in found.orders]
    columns = ["model", "tasks", "target", "best order", "worst order", "best", "worst", "best − worst"]
    grids = [
        Grid(
            columns=[*columns, "sd of orders", "sd of seeds", "sd of orders beyond seeds", "baseline"],
            rows=rows,
            words=5,
            notes=[
                f"{effect.model}, {effect.target}, {effect.group}: {effect.unlike}"
                for effect in found.orders
                if effect.unlike
            ],
        )
    ]
    if rows:
        grids.append(_order_means(found))
    return Section(
        title="Order of the intermediate tasks",
        anchor="orders",
        warnings=[_few_seeds(fewest)] if rows and fewest < ENOUGH_SEEDS else (),
        sentences=(
            (
                "Standard deviations in percent points: of the order means, over seeds within an order (pooled), and of the orders "
                "after the seeds' share of the first is taken off. An order effect no larger than that of seeds is no finding."
            ),
        )
        if rows
        else (),
        plots=[_order_plot(effect) for effect in found.orders],
        grids=grids if rows else (),
    )


def _few_seeds(fewest: int) -> str:
    if fewest < 2:
        return "1 seed: seed variance is not estimated, so no order effect can be told from chance."
    return f"{fewest} seeds per order: seed variance, pooled over the orders, is a rough guess from so few."


def _order_row(effect: OrderEffect) -> list[Text]:
    return texts(
        effect.model,
        effect.group,
        effect.target,
        *(("all equal", "all equal") if effect.tied else (effect.best, effect.worst)),
        number(effect.means[effect.best]),
        number(effect.means[effect.worst]),
        number(effect.span),
        *[
            number(None if value is None else math.sqrt(value))
            for value in (effect.over_orders, effect.over_seeds, effect.beyond_seeds)
        ],
        number(effect.baseline),
    )


def _order_means(found: Findings) -> Grid:
    rows = [
        texts(
            effect.model,
            effect.target,
            order,
            number(effect.means[order]),
            joined(f"{seed}: {value:.2f}" for seed, value in scores.items()),
        )
        for effect in found.orders
        for order, scores in effect.by_order.items()
    ]
    return Grid(
        title="every order",
        columns=["model", "target", "order", "mean", "by seed"],
        rows=rows,
        words=3,
        folded=True,
    )


def _order_plot(effect: OrderEffect) -> Plot:
    orders = list(effect.by_order)
    dots = [
        (float(place), value)
        for place, order in enumerate(orders)
        for value in effect.by_order[order].values()
    ]
    means = [(float(place), effect.means[order]) for place, order in enumerate(orders)]
    series = [
        Series(name="seeds", points=dots, style="light", line=False),
        Series(name="mean", points=means, style="strong", line=False),
    ]
    if effect.baseline is not None:
        ends = [(-0.5, effect.baseline), (len(orders) - 0.5, effect.baseline)]
        series.append(Series(name="baseline", points=ends, style="dashed", dots=False))
    names = [str(number) for number in range(1, len(orders) + 1)]
    told = "; ".join(f"{name}: {order}" for name, order in zip(names, orders, strict=True))
    return plot(f"{effect.model}: {effect.target} by order ({told})", series, x="order", y="%", names=names)


def training_section(found: Findings) -> Section:
    """Loss and selection curves, and how often each task was drawn."""
    rows = [row for phase in found.phases for row in _shares(phase)]
    columns = ["phase", "task", "source", "examples", "probability", "realised share", "steps"]
    grids = [
        Grid(title="what each phase learned", columns=columns, rows=rows, words=3, folded=len(rows) > 12)
    ]
    return Section(
        title="Intermediate training",
        anchor="training",
        plots=[curve for phase in found.phases for curve in _curves(phase)],
        grids=grids if rows else (),
    )


def _curves(phase: Phase) -> Iterable[Plot]:
    seed = phase.facts.get("seed")
    title = f"{phase.name} from {phase.parent}" + ("" if seed is None else f", seed {seed}")
    for kind, points in (("loss", phase.losses), ("selection score", phase.selection)):
        if len(points) > 1:
            series = [Series(name=kind, points=points, dots=kind != "loss")]
            yield plot(f"{title}: {kind}", series, x="step", y=kind, legend=False, width=280, height=170)


def _shares(phase: Phase) -> Iterable[list[Text]]:
    for course in phase.courses:
        yield texts(
            f"{phase.name} ({phase.key[:12]})",
            str(course.get("task", "?")),
            str(course.get("source", "")),
            number(course.get("examples"), ",.0f"),
            number(course.get("weight"), ".3f"),
            number(course.get("share"), ".3f"),
            number(course.get("steps"), ",.0f"),
        )
