"""Recipe files: what each form expands to, and what extends does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from recipetexts import HEAD, PARENT, read, settings, stages

from harness.errors import UnknownNameError, UsageError
from harness.recipefile import find_recipe
from harness.recipes import Recipe, RecipeModel
from harness.recipetext import RecipeText
from harness.stages import MaskedShare, Sampler, Setting, Stage, Translated


def test_every_key_arrives() -> None:
    text = """
name: my-recipe
title: A  title
question: A question?
models:
  - base/model
  - {model: other/model, name: Other, family: dense}
settings: [{name: baseline}]
stage: {hyper: {epochs: 1}}
targets: [xtreme, tatoeba]
languages: [deu, no]
seeds: [0, 7]
protocol: phang2020
data: sample
split: {xnli: dev}
limit: 50
train_from: {xnli: "train:100", panx: dev}
hyper: {epochs: 2, panx: {epochs: 3, learning_rate: 1e-4}}
analyses: [transfer, order]
baselines: phang2020
notes: One note.
"""
    assert read(text).recipe == Recipe(
        name="my-recipe",
        title="A title",
        question="A question?",
        models=(
            RecipeModel(name="model", model="base/model"),
            RecipeModel(name="Other", model="other/model", family="dense"),
        ),
        settings=(Setting(name="baseline"),),
        targets=("xtreme", "tatoeba"),
        languages=("de", "no"),
        seeds=(0, 7),
        protocol="phang2020",
        data="sample",
        split=("xnli=dev",),
        limit=50,
        train_from=("xnli=train:100", "panx=dev"),
        hyper=("epochs=2", "panx.epochs=3", "panx.learning_rate=1e-4"),
        analyses=("transfer", "order"),
        baselines=("phang2020",),
        notes=("One note.",),
    )


def test_what_is_not_said_has_its_default() -> None:
    recipe = read(HEAD + "settings: [{name: baseline}]").recipe
    assert recipe == Recipe(
        name="test",
        title="A title",
        question="A question of two lines?",
        models=(RecipeModel(name="model", model="base/model"),),
        settings=(Setting(name="baseline"),),
        targets=("xnli",),
    )


def test_stages_as_they_are_written_out() -> None:
    found = stages("""
  - name: long
    stages:
      - tasks: [mnli, qqp]
        temperature: 2
        cap: 1000
        mlm: {share: 0.2, tasks: [mlm, tlm], languages: [de, swh], alpha: 0.5}
        sizes: {mnli: 10%, qqp: "500"}
        translated: {mnli: {languages: [de, es], share: 0.25}}
        hyper: {batch_size: 8, mnli: {epochs: 1}, mlm: {epochs: 2}}
        train_from: {qqp: "train:0-99"}
        set: {mlm: {share: 0.3, pack: false}}
      - tasks: [mnli, qqp]
        shares: {mnli: 0.9, qqp: .1}
      - tasks: squad_v1
        mlm: 0.1
        sizes: 0.5
        translated: {languages: zh}
        train_from: dev
""")
    assert found == (
        Stage(
            tasks=("mnli", "qqp"),
            sampler=Sampler(kind="temperature", temperature=2.0, cap=1000),
            masked=MaskedShare(share=0.2, tasks=("mlm", "tlm"), languages=("de", "sw"), alpha=0.5),
            sizes={"mnli": "10%", "qqp": "500"},
            translated={"mnli": Translated(languages=("de", "es"), share=0.25)},
            hyper={"": {"batch_size": "8"}, "mnli": {"epochs": "1"}, "mlm": {"epochs": "2"}},
            train_from={"qqp": "train:0-99"},
            settings={"mlm": {"share": "0.3", "pack": "false"}},
        ),
        Stage(tasks=("mnli", "qqp"), sampler=Sampler(kind="fixed", shares={"mnli": 0.9, "qqp": 0.1})),
        Stage(
            tasks=("squad_v1",),
            masked=MaskedShare(share=0.1),
            sizes={"": "50%"},
            translated={"": Translated(languages=("zh",))},
            train_from={"": "dev"},
        ),
    )


def test_each_is_one_setting_per_task() -> None:
    found = settings("""
  - each: [mnli, qqp]
  - {name: "{task}+mlm", each: [mnli, qqp], mlm: 0.2, hyper: {qqp: {epochs: 1}}}
""")
    assert list(found) == ["mnli", "qqp", "mnli+mlm", "qqp+mlm"]
    assert found["qqp"] == Setting(name="qqp", stages=(Stage(tasks=("qqp",)),), axes={"task": "qqp"})
    assert found["mnli+mlm"].axes == {"task": "mnli", "mlm": "0.2"}
    assert found["mnli+mlm"].stages == (Stage(tasks=("mnli",), masked=MaskedShare(share=0.2)),)
    assert found["qqp+mlm"].stages[0].hyper == {"qqp": {"epochs": "1"}}


def test_multitask_is_one_stage_and_sequential_one_for_each() -> None:
    found = settings("""
  - {multitask: [a, b], sampler: uniform}
  - {sequential: [a, b], hyper: {b: {epochs: 1}}}
""")
    assert list(found) == ["a + b", "a > b"]
    assert found["a + b"].stages == (Stage(tasks=("a", "b"), sampler=Sampler(kind="uniform")),)
    assert found["a + b"].axes == {"tasks": "a+b"}
    assert found["a > b"].stages == (Stage(tasks=("a",)), Stage(tasks=("b",), hyper={"b": {"epochs": "1"}}))
    assert found["a > b"].axes == {"order": "a > b", "tasks": "a+b"}


def test_orders_are_every_permutation_of_every_choice() -> None:
    found = settings("  - orders: {of: [a, b, c], lengths: [2, 3]}")
    twos = ["a > b", "b > a", "a > c", "c > a", "b > c", "c > b"]
    threes = ["a > b > c", "a > c > b", "b > a > c", "b > c > a", "c > a > b", "c > b > a"]
    assert list(found) == twos + threes
    assert found["c > a"].axes == {"order": "c > a", "tasks": "a+c"}
    assert [stage.tasks for stage in found["c > a > b"].stages] == [("c",), ("a",), ("b",)]
    assert len(settings("  - orders: {of: [a, b, c]}")) == 6


@hypothesis_settings(deadline=None)
@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True).flatmap(
        lambda tasks: st.tuples(st.just(tasks), st.sets(st.integers(1, len(tasks)), min_size=1).map(sorted))
    )
)
def test_orders_number_as_permutations_do(drawn: tuple[list[str], list[int]]) -> None:
    tasks, lengths = drawn
    found = settings(f"  - orders: {{of: [{', '.join(tasks)}], lengths: {lengths}}}")
    assert len(found) == sum(math.perm(len(tasks), length) for length in lengths)
    for setting in found.values():
        order = [stage.tasks[0] for stage in setting.stages]
        assert len(set(order)) == len(order)
        assert setting.axes["order"] == " > ".join(order) == setting.name
        assert setting.axes["tasks"].split("+") == sorted(order, key=tasks.index)


def test_sizes_in_a_list_are_a_grid() -> None:
    found = settings("""
  - {each: [a, b], sizes: [1%, 0.5, 100%]}
  - {name: "all {size}", multitask: [a, b], sizes: [10, 20]}
""")
    assert list(found) == ["a 1%", "a 50%", "a 100%", "b 1%", "b 50%", "b 100%", "all 10", "all 20"]
    assert found["a 50%"].axes == {"task": "a", "size": "0.5"}
    assert found["a 100%"].axes["size"] == "1"
    assert found["a 1%"].stages[0].sizes == {"": "1%"}
    assert found["all 20"].stages[0].sizes == {"": "20"}
    assert list(settings("  - {each: [a], sizes: 5%}")) == ["a"]


@hypothesis_settings(deadline=None)
@given(st.integers(1, 10**6), st.booleans())
def test_a_size_means_the_same_however_it_is_written(millionths: int, per_cent: bool) -> None:
    text = f"{millionths / 1e4:.4f}%" if per_cent else f"{millionths / 1e6:.6f}"
    ((_, setting),) = settings(f"  - {{each: [a], sizes: [{text}]}}").items()
    assert float(setting.axes["size"]) == pytest.approx(millionths / 1e6, abs=0)
    assert float(setting.stages[0].sizes[""].rstrip("%")) == pytest.approx(millionths / 1e4)


def test_defaults_hold_for_every_stage_and_give_way() -> None:
    text = (
        HEAD
        + """
stage:
  sampler: uniform
  mlm: 0.1
  hyper: {epochs: 9, batch_size: 4, a: {learning_rate: 1e-3}}
  sizes: {a: 10%}
settings:
  - multitask: [a, b]
  - {name: own, multitask: [a, b], sampler: proportional, mlm: 0, hyper: {epochs: 1}, sizes: 5%}
  - each: [b]
"""
    )
    shared, own, single = (setting.stages[0] for setting in read(text).recipe.settings)
    assert shared == Stage(
        tasks=("a", "b"),
        sampler=Sampler(kind="uniform"),
        masked=MaskedShare(share=0.1),
        hyper={"": {"epochs": "9", "batch_size": "4"}, "a": {"learning_rate": "1e-3"}},
        sizes={"a": "10%"},
    )
    assert own.sampler == Sampler()
    assert own.masked.share == 0
    assert own.hyper[""] == {"epochs": "1", "batch_size": "4"}
    assert own.sizes == {"": "5%"}
    assert single.sampler == Sampler()
    assert set(single.hyper) == {""}
    assert single.sizes == {}


def test_extends_takes_whole_keys_and_joins_lists() -> None:
    child = "extends: parent\nlists: {tasks: [b]}\ntargets: [xnli]\nlimit: null"
    recipe = read(child, parent=PARENT).recipe
    assert recipe.name == "test"
    assert recipe.title == "Parent"
    assert [setting.name for setting in recipe.settings] == ["baseline", "b", "b + d"]
    assert recipe.targets == ("xnli",)
    assert recipe.seeds == (0, 1)
    assert recipe.limit is None


def test_a_path_is_looked_up_beside_the_file_that_extends_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "parent.yaml").write_text(PARENT)
    (tmp_path / "deep" / "child.yaml").write_text("extends: ../parent.yaml\nseeds: 4\n")
    found = find_recipe(str(tmp_path / "deep" / "child.yaml"), {})
    assert (found.recipe.name, found.recipe.seeds) == ("child", (4,))


def test_a_recipe_that_does_not_exist_is_told_with_those_that_do(tmp_path: Path) -> None:
    shipped = {"order": RecipeText(name="order", text=PARENT, file="order.yaml")}
    assert find_recipe("order", shipped).recipe.title == "Parent"
    with pytest.raises(
        UnknownNameError, match=r"unknown recipe 'ordr'; did you mean order\?; a recipe of your own"
    ):
        find_recipe("ordr", shipped)
    with pytest.raises(UnknownNameError, match="there are: order"):
        find_recipe("zzz", shipped)
    with pytest.raises(UsageError, match=r"gone\.yaml: the recipe cannot be read: No such file"):
        find_recipe(str(tmp_path / "gone.yaml"), shipped)
    (tmp_path / "latin.yaml").write_bytes(b"title: \xe4")
    with pytest.raises(UsageError, match=r"latin\.yaml: this is not UTF-8 text \(byte 7\)"):
        find_recipe(str(tmp_path / "latin.yaml"), shipped)
