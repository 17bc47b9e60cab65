"""Curves over sizes of training sets, and what the order of tasks makes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from statistics import variance

import numpy as np
import pytest
from experiments import Folder, first, languages_right, phase_of
from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import Catalog
from harness.report.experiment import (
    find,
    html,
    markdown,
)
from harness.report.experiment.sizes import ALL, HIGH, LOW, as_number, fit_of
from harness.report.experiment.tidy import tidy

# Sizes


def test_size_curves_are_fitted_by_least_squares_on_the_logarithm(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right(en=10, de=10, sw=4))
    sizes = {"1%": (100, 12, 8), "10%": (1000, 20, 10), "100%": (10000, 22, 18)}
    for label, (examples, de, sw) in sizes.items():
        folder.setting(f"mnli {label}", size=label, task="mnli")
        course = {"task": "mnli", "examples": examples}
        text = {"task": "mlm", "examples": 7}
        lineage = [phase_of("mnli", [], courses=[course, text], key=label)]
        folder.cell(f"mnli {label}", languages_right(en=30, de=de, sw=sw), lineage=lineage)
    found = find(folder.write(), catalog)
    curves = {curve.of: curve for curve in found.curves}
    assert list(curves) == [ALL, HIGH, LOW, "de", "en", "sw"]
    assert {curve.name for curve in found.curves} == {"mnli"}
    german = curves["de"]
    assert (german.labels, german.sizes, german.unit) == (
        ("1%", "10%", "100%"),
        (100, 1000, 10000),
        "examples",
    )
    assert german.scores == pytest.approx((30.0, 50.0, 55.0))
    b, a = np.polyfit(np.log(german.sizes), german.scores, 1)
    assert german.fit is not None
    assert (german.fit.a, german.fit.b) == pytest.approx((a, b))
    assert german.fit.per_tenfold == pytest.approx(12.5)
    assert german.fit.r_squared == pytest.approx(np.corrcoef(np.log(german.sizes), german.scores)[0, 1] ** 2)
    assert curves[LOW].scores == pytest.approx(curves["sw"].scores)
    assert curves[HIGH].scores == pytest.approx(german.scores)
    assert curves[ALL].scores == pytest.approx((125 / 3, 150 / 3, 175 / 3))
    assert curves[ALL].baseline == pytest.approx(20.0)
    assert curves["en"].fit is not None
    assert curves["en"].fit.r_squared is None, "a flat line has no variance to explain"
    page = html.render(found)
    assert "enc: mnli: xnli, means" in page
    assert page.count("<title>fit, ") == 3
    assert "100% (10,000)" in page


def test_without_counts_the_sizes_as_written_are_the_axis(folder: Folder, catalog: Catalog) -> None:
    for label in ("0.1", "50%", "half"):
        folder.setting(label, size=label)
        folder.cell(label, [first(10)])
    (curve, *_) = find(folder.write(), catalog).curves
    assert (curve.labels, curve.sizes, curve.unit) == (("0.1", "50%"), (0.1, 0.5), "size as written")
    assert curve.fit is not None
    assert (curve.fit.sizes, curve.fit.r_squared) == (2, None)
    assert as_number("0") is None


def _two_sizes(folder: Folder, rights: Mapping[str, Mapping[int, int]]) -> None:
    """Setting to seed to right answers in German; 10 % and 100 % of a training set."""
    for label, examples in (("10%", 100), ("100%", 1000)):
        folder.setting(f"mnli {label}", size=label)
        for seed, right in rights[label].items():
            lineage = [phase_of("mnli", [], courses=[{"task": "mnli", "examples": examples}])]
            folder.cell(f"mnli {label}", [first(right)], seed=seed, lineage=lineage)
    for seed, right in rights.get("baseline", {}).items():
        folder.cell("baseline", [first(right)], seed=seed)


def test_sizes_are_compared_over_the_seeds_of_all(folder: Folder, catalog: Catalog) -> None:
    """Each seed gains 5 points from ten times the data; seed 1 is 20 points better and lacks the larger size."""
    rights = {"baseline": {0: 16, 1: 24, 2: 1}, "10%": {0: 18, 1: 26}, "100%": {0: 20}}
    _two_sizes(folder, rights)
    found = find(folder.write(), catalog)
    german = next(curve for curve in found.curves if curve.of == "de")
    assert german.scores == pytest.approx((45.0, 50.0))
    assert german.baseline == pytest.approx(40.0)
    assert german.fit is not None
    assert german.fit.per_tenfold == pytest.approx(5.0)
    told = "over seed 0, which all sizes and the baseline have; left out: seeds 1, 2"
    assert f"- {told}" in markdown.render(found)


def test_a_baseline_without_the_seeds_of_the_sizes_is_left_out(folder: Folder, catalog: Catalog) -> None:
    _two_sizes(folder, {"baseline": {5: 16}, "10%": {0: 18, 1: 26}, "100%": {0: 20, 1: 30}})
    found = find(folder.write(), catalog)
    german = next(curve for curve in found.curves if curve.of == "de")
    assert german.scores == pytest.approx((55.0, 62.5))
    assert german.baseline is None
    assert "over seeds 0, 1, which all sizes have; the baseline has none of them; left out: seed 5" in (
        markdown.render(found)
    )


def test_sizes_without_a_common_seed_are_no_curve_and_it_is_told(folder: Folder, catalog: Catalog) -> None:
    _two_sizes(folder, {"baseline": {0: 16}, "10%": {0: 18}, "100%": {1: 20}})
    found = find(folder.write(), catalog)
    assert [curve.scores for curve in found.curves] == [()]
    assert tidy(found)["sizes"] == []
    assert "- no curve: the sizes have no seed and language in common" in markdown.render(found)


def test_sizes_are_compared_over_the_items_of_all(folder: Folder, catalog: Catalog) -> None:
    ids = [str(place) for place in range(80)]
    folder.cell("baseline", [first(40, n=80, ids=ids)])
    for label, answers in (
        ("0.1", first(50, n=80, ids=ids)),
        ("1.0", first(20, n=40, ids=ids[40:])),
    ):
        folder.setting(label, size=label)
        folder.cell(label, [answers])
    found = find(folder.write(), catalog)
    for curve in found.curves:
        assert curve.scores == pytest.approx((25.0, 50.0))
        assert curve.baseline == pytest.approx(0.0)
    told = "- not the same items were scored (de: 40–80 items); compared over the common ones"
    assert told in markdown.render(found)


@given(
    st.floats(-50, 50),
    st.floats(-20, 20),
    st.lists(st.floats(1, 1e6), min_size=3, max_size=8, unique_by=lambda size: round(math.log(size), 2)),
)
def test_a_line_is_found_again(a: float, b: float, sizes: list[float]) -> None:
    fit = fit_of(sizes, [a + b * math.log(size) for size in sizes])
    assert fit is not None
    assert (fit.a, fit.b) == pytest.approx((a, b), abs=1e-6)


# Orders


def test_order_effects_are_held_against_seeds(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [first(8)])
    scores = {"a > b": (10, 12, 14), "b > a": (20, 22, 30), "a > c": (1, 1, 1)}
    for order, rights in scores.items():
        folder.setting(order, order=order)
        for seed, right in enumerate(rights):
            folder.cell(order, [first(right)], seed=seed)
    (effect,) = find(folder.write(), catalog).orders
    assert effect.group == "a + b"
    assert effect.means == pytest.approx({"a > b": 30.0, "b > a": 60.0})
    assert (effect.best, effect.worst) == ("b > a", "a > b")
    assert effect.span == pytest.approx(30.0)
    within = (variance((25.0, 30.0, 35.0)) + variance((50.0, 55.0, 75.0))) / 2
    assert effect.over_orders == pytest.approx(variance((30.0, 60.0)))
    assert effect.over_seeds == pytest.approx(within)
    assert effect.beyond_seeds == pytest.approx(variance((30.0, 60.0)) - within / 3)
    assert effect.baseline == pytest.approx(20.0)


def test_one_seed_leaves_the_variance_of_seeds_unknown(folder: Folder, catalog: Catalog) -> None:
    for order, right in (("a > b", 10), ("b > a", 20)):
        folder.setting(order, order=order)
        folder.cell(order, [first(right)])
    found = find(folder.write(), catalog)
    (effect,) = found.orders
    assert (effect.over_seeds, effect.beyond_seeds, effect.tied) == (None, None, False)
    assert "1 seed: seed variance is not estimated, so no order effect" in markdown.render(found)


def test_orders_are_compared_over_the_languages_and_seeds_of_all(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right(en=20, sw=0))
    for order, cells in {
        "a > b": [{"en": 30, "sw": 4}, {"en": 40, "sw": 40}],
        "b > a": [{"en": 28}],
    }.items():
        folder.setting(order, order=order)
        for seed, rights in enumerate(cells):
            answers = [first(right, language=code) for code, right in rights.items()]
            folder.cell(order, answers, seed=seed)
    folder.setting("gone", order="a, b")
    (effect,) = find(folder.write(), catalog).orders
    assert effect.by_order == {"a > b": {0: pytest.approx(75.0)}, "b > a": {0: pytest.approx(70.0)}}
    assert (effect.languages, effect.left_out, effect.seeds) == (("en",), ("a, b",), 1)
    assert effect.baseline == pytest.approx(50.0)


def test_orders_are_compared_over_the_items_of_all(folder: Folder, catalog: Catalog) -> None:
    """One order left the easy half out, for it was learned; on the other half it is the better one."""
    ids = [str(place) for place in range(80)]
    lost = Path()
    for order, answers in {
        "baseline": first(40, n=80, ids=ids),
        "a > b": first(50, n=80, ids=ids),
        "b > a": first(20, n=40, ids=ids[40:]),
    }.items():
        if order != "baseline":
            folder.setting(order, order=order)
        lost = folder.cell(order, [answers])
    found = find(folder.write(), catalog)
    (effect,) = found.orders
    assert effect.means == pytest.approx({"a > b": 25.0, "b > a": 50.0})
    assert effect.best == "b > a"
    assert effect.baseline == pytest.approx(0.0)
    told = "enc, xnli, a + b: not the same items were scored (de: 40–80 items)"
    assert f"- {told}; compared over the common ones" in markdown.render(found).replace("\\", "")
    next(lost.rglob("*.parquet")).unlink()
    found = find(folder.path, catalog)
    assert found.orders[0].means == pytest.approx({"a > b": 62.5, "b > a": 50.0}), "as recorded, and marked"
    text = markdown.render(found).replace("\\", "")
    assert f"- {told}, so scores may differ by their items alone; over the common ones they cannot" in text


def test_two_sequences_that_a_recipe_writes_out_are_one_group(folder: Folder, catalog: Catalog) -> None:
    import yaml

    from harness.recipesettings import read_settings
    from harness.recipestages import StageKeys
    from harness.yamlnodes import Value

    text = "[{name: baseline}, {sequential: [squad_v1, mnli]}, {sequential: [mnli, squad_v1]}]"
    read = read_settings(Value(node=yaml.compose(text), file="recipe", line=1), StageKeys())
    for place, setting in enumerate(read):
        folder.settings = [one for one in folder.settings if one["name"] != setting.name]
        stages = [{"tasks": list(stage.tasks)} for stage in setting.stages]
        folder.settings.append({"name": setting.name, "axes": dict(setting.axes), "stages": stages})
        folder.cell(setting.name, [first(10 + place)])
    (effect,) = find(folder.write(), catalog).orders
    assert effect.group == "mnli + squad_v1"
    assert list(effect.by_order) == ["squad_v1 > mnli", "mnli > squad_v1"]


def test_equal_orders_have_no_best_one(folder: Folder, catalog: Catalog) -> None:
    for order in ("a > b", "b > a"):
        folder.setting(order, order=order)
        folder.cell(order, [first(10)])
    assert "| a + b | xnli | all equal | all equal | 25.00 |" in markdown.render(
        find(folder.write(), catalog)
    )
