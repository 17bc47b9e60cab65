"""Recipes as values, and the ones that ship: cells, their ids, shared prefixes."""

from __future__ import annotations

import hashlib
import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from harness_tasks.experiments import harness_recipes
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from harness.catalog import Catalog
from harness.errors import UsageError
from harness.recipefile import KEYS, find_recipe, read_recipe
from harness.recipenames import check
from harness.recipes import (
    ANALYSES,
    Recipe,
    RecipeModel,
    as_json,
    as_value,
    cells,
    shared_prefixes,
    twins,
)
from harness.recipesettings import FORMS, PLACES
from harness.recipestages import STAGE_KEYS
from harness.recipetext import RecipeText
from harness.registry import load_catalog
from harness.stages import SAMPLERS, MaskedShare, Sampler, Setting, Stage

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = {recipe.name: recipe for recipe in harness_recipes()}
NAMES = (
    "architectures-xnli",
    "data-scale",
    "multitask-vs-sequential-typology",
    "order",
    "phang2020",
    "sequential-vs-single",
)
NINE = "anli_plus mnli qqp squad_v2 squad_v1 hellaswag ccg cosmosqa commonsenseqa".split()
A, B = (RecipeModel(name=name, model=f"models/{name}") for name in "ab")


def chain(*tasks: str) -> Setting:
    """A sequence of single tasks; without tasks, the baseline."""
    return Setting(name=" > ".join(tasks) or "baseline", stages=tuple(Stage(tasks=(task,)) for task in tasks))


BASE = Recipe(
    name="base",
    title="A title",
    question="A question?",
    models=(A, B),
    settings=(chain(), chain("x"), chain("x", "y"), chain("x", "z"), chain("y")),
    targets=("xnli",),
    seeds=(0, 3),
)


def test_cells_come_by_model_setting_and_seed() -> None:
    every = cells(BASE)
    assert [(cell.model.name, cell.setting.name, cell.seed) for cell in every] == list(
        itertools.product("ab", ["baseline", "x", "x > y", "x > z", "y"], [0, 3])
    )
    assert len({cell.id for cell in every}) == len(every)
    assert every[2].title == "a · x · seed 0"


def test_a_cells_id_is_its_content_and_stays_the_same() -> None:
    cell = cells(BASE)[2]
    renamed = replace(
        cell,
        model=replace(cell.model, name="other", family="dense"),
        setting=replace(cell.setting, name="other", axes={"size": "1"}),
    )
    text = '{"model":"models/a","seed":0,"stages":[{"tasks":["x"]}]}'
    assert renamed.id == cell.id == hashlib.sha256(text.encode()).hexdigest()[:16] == "0130dc7a84e25918"
    (stage,) = cell.setting.stages
    for changed in (
        replace(stage, sizes={"": "10%"}),
        replace(stage, masked=MaskedShare(share=0.1)),
        replace(stage, hyper={"": {"epochs": "2"}}),
        replace(stage, train_from={"": "dev"}),
        replace(stage, settings={"x": {"share": "0.2"}}),
        replace(stage, masked=MaskedShare(share=0.0, languages=("de",))),
        replace(stage, masked=MaskedShare(share=0.0, alpha=0.5)),
        replace(stage, tasks=("y",)),
    ):
        assert replace(cell, setting=replace(cell.setting, stages=(changed,))).id != cell.id
    assert replace(cell, seed=1).id != cell.id
    assert replace(cell, model=replace(cell.model, model="another")).id != cell.id


def test_what_has_no_effect_does_not_change_the_id() -> None:
    one = Stage(tasks=("x",))
    same = (
        replace(one, sampler=Sampler(kind="uniform")),
        replace(one, masked=MaskedShare(share=0.0, tasks=("mlm", "tlm"))),
    )
    ids = {
        cells(replace(BASE, settings=(Setting(name="s", stages=(stage,)),)))[0].id for stage in (one, *same)
    }
    assert len(ids) == 1
    whole = [replace(one, sizes=sizes) for sizes in ({"": "100%"}, {"x": "1.0"}, {"": "100%", "x": "100.0%"})]
    parts = [replace(one, sizes=sizes) for sizes in ({"": "1"}, {"": "99%"}, {"": "50%", "x": "100%"})]
    assert [as_value(stage) for stage in whole] == [{"tasks": ("x",)}] * 3
    assert len({str(as_value(stage)) for stage in (one, *parts)}) == 4
    two = Stage(tasks=("x", "y"))
    other = replace(two, sampler=Sampler(kind="uniform"))
    assert twins({"two": [], "other": []}) == ("two", "other")
    both = [cells(replace(BASE, settings=(Setting(name="s", stages=(s,)),)))[0].id for s in (two, other)]
    assert both[0] != both[1]


def test_shared_prefixes_are_the_chains_that_several_cells_begin_with() -> None:
    found = shared_prefixes(BASE)
    assert [(one.model.name, [stage.tasks for stage in one.stages], one.seed) for one in found] == [
        (model, [("x",)], seed) for model in "ab" for seed in (0, 3)
    ]
    by_title = {cell.title: cell.id for cell in cells(BASE)}
    assert found[0].cells == tuple(by_title[f"a · {name} · seed 0"] for name in ("x", "x > y", "x > z"))
    assert found[0].id == by_title["a · x · seed 0"]


def test_the_whole_set_is_the_same_training_as_no_size() -> None:
    sized = Setting(name="all of x", stages=(Stage(tasks=("x",), sizes={"": "100%"}), Stage(tasks=("z",))))
    found = shared_prefixes(replace(BASE, models=(A,), seeds=(0,), settings=(chain("x"), sized)))
    assert [[stage.tasks for stage in one.stages] for one in found] == [[("x",)]]
    with pytest.raises(UsageError, match="'x' and 'all of x' are the same under two names"):
        replace(BASE, settings=(chain("x"), replace(sized, stages=sized.stages[:1])))


@hypothesis_settings(deadline=None, max_examples=25)
@given(
    st.permutations(["p", "q", "r", "s"]),
    st.integers(1, 4),
    st.sets(st.integers(0, 9), min_size=1, max_size=3),
)
def test_prefixes_of_all_orders_number_as_counted_by_hand(
    tasks: list[str], length: int, seeds: set[int]
) -> None:
    orders = list(itertools.permutations(tasks, length))
    recipe = replace(
        BASE, models=(A,), settings=tuple(chain(*order) for order in orders), seeds=tuple(sorted(seeds))
    )
    found = shared_prefixes(recipe)
    # A beginning of d of the tasks is shared if more than one order goes on from it.
    expected = sum(
        len(list(itertools.permutations(tasks, depth)))
        for depth in range(1, length)
        if len(list(itertools.permutations(range(4 - depth), length - depth))) > 1
    )
    assert len(found) == expected * len(seeds)
    assert all(len(prefix.cells) > 1 for prefix in found)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "No"}, "recipe 'No': a name has lower-case letters"),
        ({"models": ()}, "models are missing"),
        ({"settings": ()}, "settings are missing"),
        ({"targets": ()}, "targets are missing"),
        ({"seeds": ()}, "seeds are missing"),
        ({"seeds": (-1,)}, "seeds are whole numbers from 0"),
        ({"seeds": (1, 1)}, "two seeds are called '1'"),
        ({"settings": (chain("x"), chain("x"))}, "two settings are called 'x'"),
        (
            {"settings": (chain("x"), replace(chain("x"), name="y"))},
            "'x' and 'y' are the same under two names",
        ),
        ({"models": (A, replace(A, name="c"))}, "'a' and 'c' are the same under two names"),
        ({"analyses": ("transfr",)}, "no analysis 'transfr'; there are transfer, "),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError) as error:
        replace(BASE, **changes)  # type: ignore[arg-type]
    assert told in str(error.value)


@pytest.fixture(scope="module")
def installed() -> Catalog:
    return load_catalog(others=False)


def test_six_recipes_ship_each_with_its_sample_and_its_page() -> None:
    assert {*NAMES, *(f"{name}-sample" for name in NAMES)} <= set(SHIPPED)
    for name in NAMES:
        page = (ROOT / "docs" / "recipes" / f"{name}.md").read_text(encoding="utf-8")
        assert f"harness run {name}\n" in page
        assert f"harness run {name}-sample" in page


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_name_in_a_shipped_recipe_is_known(name: str, installed: Catalog) -> None:
    found = find_recipe(name, SHIPPED)
    check(found, installed)
    used = {task for setting in found.recipe.settings for stage in setting.stages for task in stage.tasks}
    assert used <= set(installed.tasks)
    assert found.recipe.settings[0] == Setting(name="baseline")
    assert set(found.recipe.analyses) <= set(ANALYSES)
    assert any("ours" in note or "sample" in note for note in found.recipe.notes)


def shape(setting: Setting) -> tuple[object, ...]:
    """The form of a setting: how many stages and tasks, with masked LM or translations or sizes, which axes."""
    kinds = [
        (len(stage.tasks) > 1, stage.masked.share, bool(stage.translated), bool(stage.sizes))
        for stage in setting.stages
    ]
    return (*kinds, *sorted(setting.axes))


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_has_the_shapes_of_what_it_extends(name: str) -> None:
    full, sample = (find_recipe(one, SHIPPED).recipe for one in (name, f"{name}-sample"))
    assert sample.data == "sample"
    assert full.data is None
    assert {model.model.split("-")[0] for model in sample.models} == {"sample"}
    assert {shape(setting) for setting in sample.settings} <= {shape(setting) for setting in full.settings}
    same = ("question", "protocol", "analyses", "baselines")
    assert [getattr(sample, key) for key in same] == [getattr(full, key) for key in same]
    assert len(cells(sample)) <= 14
    assert len(sample.targets) <= 3


def test_the_first_recipe_covers_the_nine_tasks_in_full_and_on_the_sample() -> None:
    for name in ("phang2020", "phang2020-sample"):
        settings = {setting.name: setting for setting in find_recipe(name, SHIPPED).recipe.settings}
        assert [settings[task].stages for task in NINE] == [
            (replace(settings[task].stages[0], tasks=(task,)),) for task in NINE
        ]
        assert settings["all"].stages[0].tasks == tuple(NINE)
        assert settings["mnli + MLM"].stages[0].masked.share == 0.2
        assert settings["mnli + MLM"].axes == {"task": "mnli", "mlm": "0.2"}
        assert settings["mnli translated"].stages[0].translated[""].share == 0.5


def test_the_samples_together_cover_every_intermediate_task(installed: Catalog) -> None:
    recipes = [find_recipe(f"{name}-sample", SHIPPED).recipe for name in NAMES]
    stages = [stage for recipe in recipes for setting in recipe.settings for stage in setting.stages]
    used = {
        task
        for stage in stages
        for task in (*stage.tasks, *(stage.masked.tasks if stage.masked.share else ()))
    }
    assert used == {*NINE, "snli", "anli", "siqa", "copa", "mlm", "tlm"}


def test_the_order_recipe_has_every_order_of_two_and_three() -> None:
    recipe = find_recipe("order", SHIPPED).recipe
    assert len(recipe.settings) == 1 + 6 + 6
    assert len(cells(recipe)) == 2 * 13 * 5
    assert recipe.settings[1].axes == {"order": "mnli > squad_v1", "tasks": "mnli+squad_v1"}
    # A pair is the beginning of one triple, and a task that of two pairs and two triples.
    assert len(shared_prefixes(recipe)) == 2 * 5 * (3 + 6)


def test_a_recipe_is_plain_json() -> None:
    plain = as_json(find_recipe("data-scale", SHIPPED).recipe)
    assert plain["settings"][1]["axes"] == {"task": "mnli", "size": "0.01"}
    assert plain["settings"][1]["stages"][0]["sizes"] == {"": "1%"}
    assert plain["models"][0]["model"] == "FacebookAI/xlm-roberta-large"


def test_the_page_on_recipes_names_every_key_and_its_example_is_one(installed: Catalog) -> None:
    page = (ROOT / "docs" / "recipes" / "README.md").read_text(encoding="utf-8")
    words = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`\n]+)`", page))))
    assert not {*KEYS, *STAGE_KEYS, *FORMS, *PLACES, *SAMPLERS, *ANALYSES} - words
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    found = read_recipe(RecipeText(name="mine", text=example, file="mine.yaml"), SHIPPED)
    check(found, installed)
    names = [setting.name for setting in found.recipe.settings]
    assert names == ["baseline", "mnli", "squad_v1", "mnli with masked LM", "squad_v1 with masked LM"]
    assert len(cells(found.recipe)) == 15
