"""Recipe files: what each form expands to, what extends does, and how a bad file is told with its place."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from harness_intermediate.mlm import MLM
from harness_intermediate.mnli import MNLI
from harness_intermediate.qqp import QQP
from harness_xtreme.panx import PANX
from harness_xtreme.tatoeba import TATOEBA
from harness_xtreme.xnli import XNLI
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from harness.baselines import Baseline
from harness.errors import UnknownNameError, UsageError
from harness.recipefile import find_recipe, read_recipe
from harness.recipenames import RecipeFile, check
from harness.recipes import Recipe, RecipeModel
from harness.recipetext import RecipeText
from harness.registry import Catalog
from harness.stages import MaskedShare, Sampler, Setting, Stage, Translated
from harness.suite import Suite, SuiteTask

HEAD = """\
title: A title
question: >-
  A question
  of two lines?
models: [base/model]
targets: [xnli]
"""


def read(text: str, **others: str) -> RecipeFile:
    """A file ``test.yaml``, with other recipes that ship."""
    shipped = {name: RecipeText(name=name, text=other, file=f"{name}.yaml") for name, other in others.items()}
    return read_recipe(RecipeText(name="test", text=text, file="test.yaml"), shipped)


def settings(text: str) -> dict[str, Setting]:
    """The settings of a file of which only these are given, by name."""
    found = read(HEAD + "settings:\n" + text).recipe.settings
    return {setting.name: setting for setting in found}


def stages(text: str) -> tuple[Stage, ...]:
    """The stages of the only setting."""
    (setting,) = settings(text).values()
    return setting.stages


def complaint(text: str, **others: str) -> str:
    """What is said of a bad file."""
    with pytest.raises(UsageError) as error:
        read(text, **others)
    assert "\n" not in str(error.value)
    return str(error.value)


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


PARENT = """
title: Parent
question: Why?
models: [m]
lists: {tasks: [a, b, c], seeds: [0, 1]}
settings:
  - name: baseline
  - each: $tasks
  - multitask: [$tasks, d]
targets: [xtreme]
seeds: $seeds
limit: 9
"""


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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "test.yaml: the file is empty"),
        ("# nothing\n", "test.yaml: the file is empty"),
        ("title: [", "test.yaml, line 1: this is not YAML: "),
        ("title: a\n\tx: 1\n", "test.yaml, line 2: this is not YAML: "),
        ("title: a\n---\ntitle: b\n", "test.yaml, line 2: this is not YAML: but found another document"),
        ("- a\n", "test.yaml, line 1: found a list, needed is a mapping with extends, name, title"),
        (
            "title: a\nqestion: b\n",
            "test.yaml, line 2, key 'qestion': found unknown key 'qestion'; did you mean 'question'?",
        ),
        (
            "title: a\nseeds: 1\ntitle: b",
            "test.yaml, line 3, key 'title': 'title' is given twice, before on line 1",
        ),
        (
            "title: a\nstage:\n  mlm: {share: 0.1, share: 0.2}",
            "test.yaml, line 3, key 'stage.mlm.share': 'share' is given twice",
        ),
        ("? [a]\n: b", "test.yaml, line 1: found a list as a key"),
        ("title: a", "test.yaml: the key 'question' is missing; every recipe has title, question, models"),
        (
            HEAD + "settings: []",
            "test.yaml, line 7, key 'settings': found an empty list, needed is at least one entry",
        ),
        (HEAD + "settings:", "test.yaml, line 7, key 'settings': found nothing, needed is a list"),
        (
            HEAD + "settings: {name: x}",
            "test.yaml, line 7, key 'settings': found a mapping, needed is a list",
        ),
        (
            HEAD + "settings:\n  - x",
            "test.yaml, line 8, key 'settings[0]': found 'x', needed is a mapping with name, stages",
        ),
        ("extends: other", "test.yaml, line 1, key 'extends': unknown recipe 'other'; there are: none"),
        ("extends: test.yaml", "test.yaml, line 1, key 'extends': test.yaml: the recipe cannot be read"),
    ],
)
def test_a_bad_file_is_told_with_its_place(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint(text).startswith(told)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("name: Big", "'name': found 'Big', a name has lower-case letters and digits, joined by - or _"),
        ("seeds: [0, -1]", "'seeds[1]': found '-1', needed is a whole number of at least 0"),
        ("seeds: [0, one]", "'seeds[1]': found 'one', needed is a whole number"),
        ("seeds: [3, 3]", "'seeds[1]': the seed 3 is given twice, before on line 8"),
        ("seeds: [0, 00]", "'seeds[1]': the seed 0 is given twice, before on line 8"),
        ("seeds: []", "'seeds': found an empty list"),
        ("limit: 0", "'limit': found '0', needed is a whole number of at least 1"),
        ("limit: [1]", "'limit': found a list, needed is a whole number"),
        ("protocol: {a: b}", "'protocol': found a mapping, needed is text"),
        ("protocol:", "'protocol': found nothing, needed is text"),
        ("languages: [de, xx]", "'languages[1]': unknown language code 'xx'"),
        ("languages: [de, deu]", "'languages[1]': language 'de' is given twice"),
        (
            "analyses: [transfer, sizs]",
            "'analyses[1]': found unknown analysis 'sizs'; did you mean 'sizes'? there are transfer,",
        ),
        ("hyper: {epoch: 3}", "'hyper.epoch': no hyper-parameter 'epoch'; there are epochs, batch_size"),
        ("hyper: {panx: {epochs: -3}}", "'hyper.panx.epochs': hyper-parameter epochs=-3 is not allowed"),
        ("hyper: [epochs=3]", "'hyper': found a list, needed is a mapping"),
        ("train_from: 'xnli=dev'", "'train_from': found 'xnli=dev', write it as a mapping from task to"),
        ("train_from: {xnli: 'dev:9-1'}", "'train_from.xnli': --train-from dev:9-1: the range holds no row"),
        ("split: {xnli: [dev]}", "'split.xnli': found a list, needed is text"),
        ("lists: {tasks: a}", "'lists.tasks': found 'a', needed is a list"),
        ("lists: {tasks: [a]}", "'lists.tasks': the list 'tasks' is used nowhere, as $tasks"),
        ("notes: [a, {b: c}]", "'notes[1]': found a mapping, needed is text"),
        ("stage: {tasks: [a]}", "'stage.tasks': found unknown key 'tasks'; there are sampler,"),
        ("stage: {shares: {a: 1}}", "'stage.shares': shares belong to one entry of settings"),
    ],
)
def test_a_bad_key_is_told_with_its_line(line: str, told: str) -> None:
    text = HEAD + "settings: [{name: baseline}]\n" + line
    assert complaint(text).startswith(f"test.yaml, line 8, key {told}")


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ("[a/m, b/m]", "key 'models[1]': two models are called 'm'; give one another 'name'"),
        ("[{model: m, name: a}, {model: m, name: b}]", "key 'models[1]': the model 'm' is given twice"),
        ("[{name: m}]", "key 'models[0]': the key 'model' is missing"),
        (
            "[{model: m, kind: x}]",
            "key 'models[0].kind': found unknown key 'kind'; there are model, name, family",
        ),
    ],
)
def test_bad_models_are_told(models: str, told: str) -> None:
    text = HEAD.replace("models: [base/model]", f"models: {models}") + "settings: [{name: baseline}]"
    assert complaint(text).startswith(f"test.yaml, line 5, {told}")


STAGE = "{{name: s, stages: [{{tasks: [a, b], {}}}]}}"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{stages: [{tasks: [a]}]}", "': the key 'name' is missing"),
        ("{name: x, stages: []}", ".stages': found an empty list"),
        ("{name: x, stages: [{mlm: 0.1}]}", ".stages[0]': the key 'tasks' is missing"),
        ("{name: x, stages: [{tasks: [a, a]}]}", ".stages[0].tasks[1]': 'a' is given twice"),
        ("{each: [a], multitask: [a]}", ".multitask': found beside 'each'; an entry has one of stages, each"),
        ("{name: x, mlm: 0.2}", ".mlm': found 'mlm' where there is no stage to say it of"),
        (
            "{name: x, stages: [{tasks: [a]}], mlm: 0.2}",
            ".mlm': found 'mlm' where there is no stage to say it of; write it",
        ),
        ("{each: []}", ".each': found an empty list"),
        ("{each: $tsks}", ".each': found unknown list '$tsks'; there are none"),
        (
            "{each: [a], sampler: uniform}",
            ".sampler': found 'sampler' beside 'each', whose stages have one task each",
        ),
        ("{each: [a], name: '{tsk}'}", ".name': found unknown place 'tsk'; did you mean 'task'?"),
        (
            "{each: [a, b], name: x}",
            ".name': a setting called 'x' is there already, from line 9; a name may hold {task}",
        ),
        ("{each: [a], name: base}", ".name': a setting called 'base' is there already, from line 8"),
        ("{each: [a], hyper: {b: {epochs: 1}}}", ".hyper.b': found unknown task 'b'; there are a"),
        ("{each: [a], hyper: {epochs: many}}", ".hyper.epochs': hyper-parameter epochs=many is not allowed"),
        ("{each: [a], sizes: [1%, 1%]}", ".sizes[1]': the size 1% is given twice"),
        ("{each: [a], sizes: [1%, 50]}", ".sizes[1]': found a share and a number of examples in one list"),
        ("{each: [a], sizes: [0%]}", ".sizes[0]': found '0%', needed is a share such as 10% or 0.1"),
        ("{each: [a], sizes: 101%}", ".sizes': found '101%', needed is a share"),
        ("{each: [a], sizes: 1.5}", ".sizes': found '1.5', needed is a share"),
        ("{each: [a], translated: {share: 0.5}}", ".translated': the key 'languages' is missing"),
        (
            "{each: [a], translated: {a: {languages: [de], share: 2}}}",
            ".translated.a': translated share 2.0: must be",
        ),
        ("{each: [a], mlm: {tasks: [mlm]}}", ".mlm': the key 'share' is missing"),
        ("{each: [a], mlm: {share: 1}}", ".mlm': masked-LM share 1.0: must be from 0 to below 1"),
        ("{each: [a], mlm: much}", ".mlm': found 'much', needed is a number"),
        (
            "{each: [a], mlm: {share: 0.1, apha: 1}}",
            ".mlm.apha': found unknown key 'apha'; did you mean 'alpha'?",
        ),
        ("{orders: [a, b]}", ".orders': found a list, needed is a mapping with of, lengths"),
        (
            "{orders: {of: [a, b], lengths: [3]}}",
            ".orders.lengths[0]': found '3', needed is a whole number of at least 1 and below 3",
        ),
        ("{orders: {lengths: [3]}}", ".orders': the key 'of' is missing"),
        (
            STAGE.format("sampler: proportinal"),
            ".stages[0].sampler': found unknown sampler 'proportinal'; did you mean 'proportional'? there are proportional, uniform",
        ),
        (
            STAGE.format("sampler: temperature"),
            ".stages[0].sampler': the sampler 'temperature' needs the key 'temperature'",
        ),
        (STAGE.format("sampler: fixed"), ".stages[0].sampler': the sampler 'fixed' needs the key 'shares'"),
        (STAGE.format("temperature: 0.5"), ".stages[0].temperature': temperature 0.5: must be at least 1"),
        (STAGE.format("temperature: warm"), ".stages[0].temperature': found 'warm', needed is a number"),
        (
            STAGE.format("sampler: uniform, temperature: 2"),
            ".stages[0].temperature': found 'temperature' beside the sampler 'uniform'",
        ),
        (
            STAGE.format("sampler: uniform, cap: 2"),
            ".stages[0].cap': found 'cap' beside the sampler 'uniform'",
        ),
        (STAGE.format("shares: {a: 1}"), ".stages[0].shares': no share is given for b"),
        (STAGE.format("shares: {a: 1, c: 1}"), ".stages[0].shares.c': found unknown key 'c'; there are a, b"),
        (STAGE.format("shares: {a: 1, b: 0}"), ".stages[0].shares': shares must be above 0"),
        ("{name: s, stages: [{tasks: [a], cap: 3}]}", ".stages[0].cap': found 'cap' in a stage of one task"),
        ("{each: [a], axes: [b]}", ".axes': found a list, needed is a mapping"),
    ],
)
def test_a_bad_entry_is_told_with_its_line(entry: str, told: str) -> None:
    text = HEAD + f"settings:\n  - name: base\n  - {entry}\n"
    assert complaint(text).startswith(f"test.yaml, line 9, key 'settings[1]{told}")


def test_the_line_is_that_of_the_key_in_a_long_entry() -> None:
    text = (
        HEAD
        + """
settings:
  - name: base

  # a comment
  - name: long
    stages:
      - tasks:
          - a
          - b
        mlm:
          share: 0.1
          alpha: 7
"""
    )
    assert complaint(text) == (
        "test.yaml, line 17, key 'settings[1].stages[0].mlm': masked-LM alpha 7.0: must be from 0 to 1"
    )


def test_two_names_for_one_training_are_refused() -> None:
    text = HEAD + "settings:\n  - each: [a]\n  - name: b\n    sequential: [a]\n"
    assert complaint(text) == (
        "test.yaml, line 9, key 'settings[1]': 'b' is the same training as 'a'; leave one out"
    )


def test_errors_of_what_is_extended_name_its_file() -> None:
    broken = PARENT.replace("limit: 9", "limit: nine")
    assert complaint("extends: parent", parent=broken) == (
        "parent.yaml, line 12, key 'limit': found 'nine', needed is a whole number of at least 1"
    )
    # What the smaller file puts in place of the broken key is what counts.
    assert read("extends: parent\nlimit: 3", parent=broken).recipe.limit == 3
    assert complaint("extends: parent\nlists: {taks: [a]}", parent=PARENT) == (
        "test.yaml, line 2, key 'lists.taks': the list 'taks' is used nowhere, as $taks"
    )
    assert complaint("extends: parent\nlists: {tasks: [$seeds]}", parent=PARENT).startswith(
        "test.yaml, line 2, key 'lists.tasks[0]': found unknown list '$seeds'"
    )


def test_files_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("title: A\nextends: b.yaml")
    (tmp_path / "b.yaml").write_text("extends: ../" + tmp_path.name + "/a.yaml")
    with pytest.raises(
        UsageError, match=r"b\.yaml, line 1, key 'extends': '.*a\.yaml' extends this file in turn"
    ):
        find_recipe(str(tmp_path / "a.yaml"), {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &x [*x]", "line 1, key 'a': found unknown key 'a'"),
        ("lists: &x {a: *x}", "line 1, key 'lists.a': found a mapping, needed is a list"),
        ("title: " + "[" * 5000, "this is not YAML"),
        ("title: \x00", "this is not YAML: special characters are not allowed"),
        ("title: !!python/object/apply:os.getcwd []", "the key 'question' is missing"),
    ],
)
def test_strange_yaml_does_no_harm(text: str, told: str) -> None:
    assert told in complaint(text)


@hypothesis_settings(deadline=None)
@given(st.text(max_size=60))
def test_any_text_at_all_is_refused_in_one_line(text: str) -> None:
    assert complaint(text).startswith("test.yaml")


KNOWN = Catalog(
    plugins=(),
    tasks={task.name: task for task in (XNLI, PANX, MNLI, QQP, MLM, TATOEBA)},
    suites={
        "xtreme": Suite(
            name="xtreme",
            title="",
            tasks=(SuiteTask(task="panx", languages=("en",), group="tagging"),),
            citation="",
        )
    },
    baselines={"phang2020": Baseline(name="phang2020", title="", numbers=())},
)
GOOD = (
    HEAD.replace("targets: [xnli]", "targets: [xn*, xtreme]")
    + """\
hyper: {panx: {epochs: 1}}
split: {xnli: dev}
baselines: [phang2020]
stage: {hyper: {qqp: {epochs: 1}}}
lists:
  tasks:
    - mnli
    - qqp
settings:
  - multitask: $tasks
  - {name: masked, multitask: $tasks, mlm: 0.1}
"""
)


def test_names_that_plugins_bring_are_found() -> None:
    found = read(GOOD)
    check(found, KNOWN)
    assert {(mention.kind, mention.name) for mention in found.mentions} == {
        ("target", "xn*"),
        ("target", "xtreme"),
        ("baseline", "phang2020"),
        ("model", "base/model"),
        ("selected", "panx"),
        ("selected", "xnli"),
        ("split", "dev"),
        ("task", "qqp"),
        ("learned", "mnli"),
        ("learned", "qqp"),
        ("masked", "mlm"),
    }


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("xn*", "xmli", "line 6, key 'targets[0]': found unknown task or suite 'xmli'; did you mean 'xnli'?"),
        ("xn*", "zz*", "line 6, key 'targets[0]': found unknown task or suite 'zz*'; there are xnli, panx"),
        ("xn*, ", "", "line 8, key 'split.xnli': found unknown target 'xnli'; there are panx"),
        (
            "[phang2020]",
            "[phang]",
            "line 9, key 'baselines[0]': found unknown baseline 'phang'; did you mean",
        ),
        (
            "{qqp: {epochs",
            "{qpq: {epochs",
            "line 10, key 'stage.hyper.qpq': found unknown task 'qpq'; did you mean 'qqp'?",
        ),
        ("- mnli", "- mnl", "line 13, key 'lists.tasks[0]': found unknown task 'mnl'; did you mean 'mnli'?"),
        (
            "mlm: 0.1",
            "mlm: {share: 0.1, tasks: tlm}",
            "line 17, key 'settings[1].mlm.tasks': found unknown task 'tlm'",
        ),
    ],
)
def test_names_that_nobody_brings_are_told_with_their_line(old: str, new: str, told: str) -> None:
    assert GOOD.count(old) == 1
    found = read(GOOD.replace(old, new))
    with pytest.raises(UsageError) as error:
        check(found, KNOWN)
    assert str(error.value).startswith(f"test.yaml, {told}")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "protocol: xtrem",
            "'protocol': found unknown protocol 'xtrem'; did you mean 'xtreme'? there are phang2020,",
        ),
        (
            "data: nowhere/at-all",
            "'data': found 'nowhere/at-all', which is no folder; give a folder, 'hub', 'sample'",
        ),
        ("data: nowhere+hub", "'data': found 'nowhere+hub', which is no folder"),
        ("languages: [de, yo, br]", "'languages[2]': found language 'br' (Breton), which no target has"),
        ("split: train", "'split': found split 'train', which task 'xnli' has not; it has test, dev"),
        (
            "split: {panx: tset}",
            "'split.panx': found split 'tset', which task 'panx' has not; it has test, dev",
        ),
        ("train_from: trian", "'train_from': found split 'trian', which task 'panx' has not"),
        ("train_from: {xnli: test:5}", "'train_from.xnli': found split 'test', which task 'mnli' has not"),
        (
            "train_from: {panx: mnlli/dev}",
            "'train_from.panx': found unknown task 'mnlli'; did you mean 'mnli'?",
        ),
        ("train_from: {panx: mnli/x}", "'train_from.panx': found split 'x', which task 'mnli' has not"),
        ("train_from: {mnli: dev}", "'train_from.mnli': found unknown target 'mnli'"),
        (
            "stage: {train_from: {mnli: x}}",
            "'stage.train_from.mnli': found split 'x', which task 'mnli' has not",
        ),
        ("stage: {sizes: {mnl: 5}}", "'stage.sizes.mnl': found unknown task 'mnl'"),
        (
            "stage: {mlm: {share: 0.1, tasks: qqp}}",
            "'stage.mlm.tasks': found task 'qqp', which is no masked-LM task",
        ),
    ],
)
def test_what_no_run_could_use_is_told_at_once(
    line: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = HEAD.replace("[xnli]", "[xnli, panx]") + line + "\nsettings: [{name: baseline}]\n"
    found = read(text)
    with pytest.raises(UsageError) as error:
        check(found, KNOWN)
    assert str(error.value).startswith(f"test.yaml, line 7, key {told}")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("each: [mnli, tatoeba]", "each[1]': found task 'tatoeba', which needs no training, so it cannot be learned"),
        ("each: [xnli]", "each[0]': found task 'xnli', which learns from 'mnli'; name that"),
        ("{each: [mnli], mlm: {share: 0.2, tasks: [qqp]}}", "mlm.tasks[0]': found task 'qqp', which is no masked-LM task; there are mlm"),
        ("{each: [mnli], train_from: dve}", "train_from': found split 'dve', which task 'mnli' has not; it has dev,"),
        ("{each: [mnli], train_from: {mnli: qq/dev}}", "train_from.mnli': found unknown task 'qq'; did you mean 'qqp'"),
    ],
)  # fmt: skip
def test_what_no_stage_could_learn_is_told_with_its_line(entry: str, told: str) -> None:
    found = read(HEAD + f"settings:\n  - name: baseline\n  - {entry}\n")
    with pytest.raises(UsageError) as error:
        check(found, KNOWN)
    assert str(error.value).startswith(f"test.yaml, line 9, key 'settings[1].{told}")


def test_tasks_that_are_never_scored_are_no_targets() -> None:
    found = read(HEAD.replace("[xnli]", "[xnli, mlm]") + "settings: [{name: baseline}]\n")
    with pytest.raises(
        UsageError, match=r"line 6, key 'targets\[1\]': found task 'mlm', which is trained on and never"
    ):
        check(found, KNOWN)


@pytest.mark.parametrize("model", ["nowhere", "/nowhere/at/all", "./nowhere", "a/b/c"])
def test_a_model_has_to_be_a_folder_or_look_like_one_on_the_hub(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = (
        HEAD.replace("[base/model]", f"[sample-mt5, {{model: {model}}}]") + "settings: [{name: baseline}]\n"
    )
    found = read(text)
    with pytest.raises(
        UsageError, match=rf"line 5, key 'models\[1\]\.model': found '{model}', which is no folder"
    ):
        check(found, KNOWN)
    check(found, KNOWN, given={"model"})
    (tmp_path / model.lstrip("/")).mkdir(parents=True)
    if not model.startswith("/"):
        check(found, KNOWN)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("samplefoo", "found 'samplefoo', which is no folder"),
        ("sample-mt6", "found unknown built-in model 'sample-mt6'; did you mean 'sample-mt5'?"),
        ("sample+bidirectional+x", "found 'sample+bidirectional+x', which is no folder"),
    ],
)
def test_a_built_in_model_has_to_be_one_of_them(model: str, told: str) -> None:
    """As a run would refuse it, but before anything is trained."""
    head = HEAD.replace("[base/model]", f"[sample-qwen3+bidirectional, {model}]")
    found = read(f"{head}settings: [{{name: baseline}}]\n")
    with pytest.raises(UsageError) as error:
        check(found, KNOWN)
    assert str(error.value).startswith(f"test.yaml, line 5, key 'models[1]': {told}")


def test_of_many_names_the_nearest_are_told() -> None:
    many = Catalog(plugins=(), tasks={f"task-{number}": XNLI for number in range(30)})
    found = read(HEAD.replace("[xnli]", "[taskk-7]") + "settings: [{name: baseline}]\n")
    with pytest.raises(UsageError) as error:
        check(found, many)
    assert "did you mean 'task-7'? there are task-7, " in str(error.value)
    assert str(error.value).endswith(" and 27 others; 'harness tasks list' shows them all")
