"""Mistakes in recipe files: told in one line with their place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from recipetexts import HEAD, PARENT, complaint, read

from harness.errors import UsageError
from harness.recipefile import find_recipe


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
