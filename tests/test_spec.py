"""What the nouns refuse, with the name of what is wrong and what would be right."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from harness_metrics.accuracy import ACCURACY
from harness_xtreme.bucc2018 import BUCC
from harness_xtreme.tatoeba import TATOEBA

from harness import Encoding, Example, Format, HubSource, MetricUse, SpecError, Suite, SuiteTask, UsageError
from harness.formats.base import smallest_digests
from harness.formats.retrieval import Sentence
from harness.registry import load_catalog
from harness.spec import resolve_layer

SUITE = Suite(
    name="demo",
    title="Demo",
    tasks=(SuiteTask(task="tatoeba", languages=("de", "sw"), group="retrieval"),),
    citation="@misc{demo}",
)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "Tatoeba"}, "a name has lower-case letters and digits, joined by - or _"),
        ({"name": ""}, "a name has lower-case letters and digits, joined by - or _"),
        ({"name": "two words"}, "a name has lower-case letters and digits, joined by - or _"),
        ({"name": "end-"}, "a name has lower-case letters and digits, joined by - or _"),
        ({"name": "line\n"}, "a name has lower-case letters and digits, joined by - or _"),
        ({"format": "retrieval"}, "format is str, not a Format"),
        ({"version": 0}, "version is 0; versions start at 1"),
        ({"languages": ("de", "deu", "cmn")}, "languages deu, cmn are not in the harness's spelling"),
        ({"languages": ()}, "languages are missing or named twice"),
        ({"languages": ("de", "de")}, "languages are missing or named twice"),
        ({"split": "train"}, "split 'train' is not among its splits test, dev"),
        ({"tuning_split": "train"}, "tuning split 'train' is not among its splits test, dev"),
        ({"sources": ()}, "it has no source"),
        ({"metrics": ()}, "it has no metric"),
        (
            {"metrics": (MetricUse(metric="accuracy"),)},
            "metric 'accuracy' reads the view '', but the format gives en-xx, xx-en, xx-en-ratio",
        ),
        (
            {"metrics": (*TATOEBA.metrics, MetricUse(metric="accuracy", view="both"))},
            "metric 'accuracy' reads the view 'both', but the format gives en-xx, xx-en, xx-en-ratio",
        ),
        ({"protocols": {}}, "it has no protocol"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    name = changes.get("name", "tatoeba")
    with pytest.raises(SpecError, match=re.escape(f"task '{name}': {told}")):
        dataclasses.replace(TATOEBA, **changes)


@pytest.mark.parametrize("name", ["a", "7", "xnli2-hard_v3", "tatoeba"])
def test_names_of_letters_digits_and_joints_are_taken(name: str) -> None:
    assert dataclasses.replace(TATOEBA, name=name).name == name


def test_the_first_metric_is_the_main_one() -> None:
    assert TATOEBA.main == MetricUse(metric="accuracy", view="en-xx")
    assert BUCC.main == MetricUse(metric="mining_f1", view="mined")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "Accuracy"}, "metric 'Accuracy': a name has lower-case letters and digits"),
        (
            {"signature": "accuracy"},
            "metric 'accuracy': signature 'accuracy' does not end in |v and a number",
        ),
        ({"signature": "accuracy|v"}, "metric 'accuracy': signature 'accuracy|v' does not end in |v"),
        ({"signature": "|v1"}, "metric 'accuracy': signature '|v1' does not end in |v"),
        ({"signature": "accuracy|v1|x"}, "metric 'accuracy': signature 'accuracy|v1|x' does not end in |v"),
        ({"signature": "accu racy|v1"}, "metric 'accuracy': signature 'accu racy|v1' does not end in |v"),
        ({"doc": " \n"}, "metric 'accuracy': doc is empty; name the paper and the official scorer"),
    ],
)
def test_a_metric_that_says_too_little_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=re.escape(told)):
        dataclasses.replace(ACCURACY, **changes)


@pytest.mark.parametrize("signature", ["a|v1", "a|b|v12", "mining_f1|k=4|max|v3"])
def test_signatures_that_end_in_a_version_are_taken(signature: str) -> None:
    assert dataclasses.replace(ACCURACY, signature=signature).signature == signature


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "My suite"}, "suite 'My suite': a name has lower-case letters and digits"),
        ({"tasks": ()}, "suite 'demo': tasks are missing or named twice"),
        ({"tasks": SUITE.tasks * 2}, "suite 'demo': tasks are missing or named twice"),
        (
            {"tasks": (SuiteTask(task="xnli", languages=("de", "deu"), group="g"),)},
            "suite 'demo', task 'xnli': bad languages deu",
        ),
        (
            {"tasks": (SuiteTask(task="xnli", languages=(), group="g"),)},
            "suite 'demo', task 'xnli': bad languages (none)",
        ),
    ],
)
def test_a_suite_that_contradicts_itself_is_refused_by_name(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=re.escape(told)):
        dataclasses.replace(SUITE, **changes)


@pytest.mark.parametrize("revision", ["main", "", "414572247440f0cc", "G" * 40, "a" * 41])
def test_a_hub_source_without_a_full_commit_hash_is_refused_by_name(revision: str) -> None:
    source = next(source for source in BUCC.sources if isinstance(source, HubSource))
    with pytest.raises(SpecError, match=f"source 'mteb': revision '{revision}' is not a full commit hash"):
        dataclasses.replace(source, revision=revision)


@pytest.mark.parametrize(
    ("layer", "depth", "state"),
    [
        ("middle", 12, 8),
        ("middle", 24, 14),
        ("middle", 6, 5),
        ("middle", 4, 4),
        ("middle", 2, 2),
        ("middle", 1, 1),
        ("middle", 0, 0),
        ("last", 12, 12),
        ("last", 1, 1),
        ("0", 12, 0),
        ("7", 12, 7),
        ("12", 12, 12),
        ("07", 12, 7),
    ],
)
def test_a_layer_stands_for_a_hidden_state(layer: str, depth: int, state: int) -> None:
    assert resolve_layer(layer, depth) == state


@pytest.mark.parametrize("layer", ["13", "-1", "", "all", "Middle", "1.0", " 1", "²"])
def test_a_layer_that_the_model_does_not_have_is_told_with_those_it_has(layer: str) -> None:
    told = f"no layer '{layer}' in a model of 12 blocks; give 0 to 12, middle, last"
    with pytest.raises(UsageError, match=re.escape(told)):
        resolve_layer(layer, 12)


def test_every_field_of_an_example_is_in_its_one_spelling() -> None:
    sentence = Sentence(id="xx-0", side="xx", text="ä\n", gold=("en-0",))
    assert sentence.canonical() == '["xx-0","xx","ä\\n",["en-0"]]'
    changes: list[dict[str, Any]] = [{"id": "xx-1"}, {"side": "en"}, {"text": "a"}, {"gold": ()}]
    others = {dataclasses.replace(sentence, **change).canonical() for change in changes}
    assert len(others | {sentence.canonical()}) == 5


def test_a_choice_by_digest_is_a_set_of_ids_that_does_not_hang_on_their_order() -> None:
    ids = [f"id-{number}" for number in range(50)]
    few, many = smallest_digests(ids, 5), smallest_digests(ids[::-1], 20)
    assert (len(few), len(many)) == (5, 20)
    assert few < many < set(ids)
    assert smallest_digests(ids, 99) == set(ids)


def test_a_format_takes_a_subset_in_the_order_of_the_examples() -> None:
    examples = [Example(id=str(number)) for number in range(20)]
    chosen = Format.subset(TATOEBA.format, examples, 6)
    assert len(chosen) == 6
    assert {example.id for example in chosen} == smallest_digests([str(number) for number in range(20)], 6)
    assert chosen == [example for example in examples if example in chosen]


@pytest.mark.parametrize("name", sorted(load_catalog().suites))
def test_a_suite_asks_tasks_for_languages_that_they_have(name: str) -> None:
    catalog = load_catalog()
    for entry in catalog.suites[name].tasks:
        assert set(entry.languages) <= set(catalog.task(entry.task).languages)
        assert len(set(entry.languages)) == len(entry.languages)


def test_an_encoding_is_by_default_that_of_xtreme() -> None:
    assert Encoding() == Encoding(
        layer="middle", pooling="mean", special_tokens=True, normalise=True, max_length=512
    )
