"""Names in recipe files that plugins bring, or nobody does."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness_intermediate.mlm import MLM
from harness_intermediate.mnli import MNLI
from harness_intermediate.qqp import QQP
from harness_xtreme.panx import PANX
from harness_xtreme.tatoeba import TATOEBA
from harness_xtreme.xnli import XNLI
from recipetexts import HEAD, read

from harness.baselines import Baseline
from harness.catalog import Catalog
from harness.errors import UsageError
from harness.recipenames import check
from harness.suite import Suite, SuiteTask

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
