"""What an experiment is said to cost: counted by hand on published sizes, and against what a run really did."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.catalog import Catalog
from harness.costs import Cost, cost_of
from harness.progress import Silent
from harness.recipes import Recipe, RecipeModel
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.stages import MaskedShare, Sampler, Setting, Stage, Translated

HUB = DataLocation.parse("hub")
SAMPLE = DataLocation.parse("sample")
MNLI, SNLI, QQP = 392_702, 549_367, 363_846
BASELINE = Setting(name="baseline")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(others=False)


def recipe(*stages: Stage, targets: tuple[str, ...] = ("tatoeba",), **changes: Any) -> Recipe:
    """One model, the baseline and one setting with these stages."""
    settings = (BASELINE, Setting(name="trained", stages=stages)) if stages else (BASELINE,)
    plain = Recipe(
        name="tiny",
        title="Tiny",
        question="What does it cost?",
        models=(RecipeModel(name="small", model="sample"),),
        settings=settings,
        targets=targets,
        protocol="phang2020",
    )
    return replace(plain, **changes)


def stage(*tasks: str, **changes: Any) -> Stage:
    """One epoch in batches of 10 unless a test says otherwise."""
    return Stage(tasks=tasks, **{"hyper": {"": {"epochs": "1", "batch_size": "10"}}, **changes})


def steps(found: Cost) -> tuple[int, int]:
    return found.stages, found.stage_steps


# Counted by hand, on published sizes


def test_an_epoch_is_as_many_steps_as_batches_and_tokens_are_full_rows(catalog: Catalog) -> None:
    found = cost_of(recipe(stage("mnli")), catalog, HUB)
    assert steps(found) == (1, 39_271)
    assert found.stage_tokens == 39_271 * 10 * 256
    assert found.published
    assert found.unknown == ()


def test_epochs_multiply_and_a_given_number_of_steps_limits(catalog: Catalog) -> None:
    three = stage("mnli", hyper={"": {"epochs": "3", "batch_size": "10"}})
    limited = stage("mnli", hyper={"": {"epochs": "3", "batch_size": "10", "max_steps": "500"}})
    assert steps(cost_of(recipe(three), catalog, HUB)) == (1, 3 * 39_271)
    assert steps(cost_of(recipe(limited), catalog, HUB)) == (1, 500)


def test_shorter_rows_have_fewer_tokens(catalog: Catalog) -> None:
    short = stage("mnli", hyper={"": {"epochs": "1", "batch_size": "10", "max_length": "64"}})
    assert cost_of(recipe(short), catalog, HUB).stage_tokens == 39_271 * 10 * 64


@pytest.mark.parametrize(("size", "examples"), [("1%", 3_927), ("0.1", 39_270), ("500", 500), ("100%", MNLI)])
def test_a_part_of_the_training_set_costs_its_share(catalog: Catalog, size: str, examples: int) -> None:
    for sizes in ({"": size}, {"mnli": size}):
        found = cost_of(recipe(stage("mnli", sizes=sizes)), catalog, HUB)
        assert steps(found) == (1, math.ceil(examples / 10))


def test_tasks_that_are_learned_together_cost_their_sum(catalog: Catalog) -> None:
    together = cost_of(recipe(stage("mnli", "snli", "qqp")), catalog, HUB)
    assert steps(together) == (1, 39_271 + 54_937 + 36_385)


def test_a_share_of_masked_steps_comes_on_top(catalog: Catalog) -> None:
    mixed = stage("mnli", masked=MaskedShare(share=0.2))
    assert steps(cost_of(recipe(mixed), catalog, HUB)) == (1, math.ceil(39_271 / 0.8))


def test_a_chain_that_several_cells_begin_with_is_counted_once_for_each_seed(catalog: Catalog) -> None:
    first, second = stage("mnli"), stage("qqp")
    settings = (
        BASELINE,
        Setting(name="mnli", stages=(first,)),
        Setting(name="mnli > qqp", stages=(first, second)),
        Setting(name="qqp > mnli", stages=(second, first)),
    )
    found = cost_of(recipe(settings=settings, seeds=(0, 1)), catalog, HUB)
    # For each seed: mnli, mnli > qqp, qqp, qqp > mnli; without sharing there would be five.
    assert steps(found) == (2 * 4, 2 * 2 * (39_271 + 36_385))


def test_fine_tunings_are_counted_for_every_cell_and_one_that_targets_share_once(catalog: Catalog) -> None:
    targets = ("xnli", "tatoeba", "xquad", "mlqa")
    found = cost_of(recipe(stage("mnli"), targets=targets, hyper=("epochs=1", "batch_size=10")), catalog, HUB)
    squad = 87_599
    # Two cells; xnli learns MNLI in rows of 256 tokens, xquad and mlqa share SQuAD, tatoeba learns nothing.
    assert found.tunings == 2 * 2
    assert found.tuning_steps == 2 * (39_271 + math.ceil(squad / 10))
    assert found.tuning_tokens == 2 * (39_271 * 10 * 256 + math.ceil(squad / 10) * 10 * 384)


def test_a_range_of_the_training_set_limits_a_fine_tuning(catalog: Catalog) -> None:
    changes = {"hyper": ("epochs=1", "batch_size=10"), "train_from": ("xnli=train:95",)}
    found = cost_of(recipe(targets=("xnli",), **changes), catalog, HUB)
    assert (found.tunings, found.tuning_steps) == (1, 10)


@pytest.mark.parametrize(
    ("train_from", "examples"),
    [("train:95", 95), ("train:0-19", 20), ("train:392700-400000", 2), ("dev", 9_815), ("dev:100", 100)],
)
def test_a_stage_learns_from_the_set_that_it_names(catalog: Catalog, train_from: str, examples: int) -> None:
    for given in ({"": train_from}, {"mnli": train_from}):
        found = cost_of(recipe(stage("mnli", train_from=given)), catalog, HUB)
        assert steps(found) == (1, math.ceil(examples / 10))


def test_a_range_of_a_set_of_unknown_size_counts_as_a_whole(catalog: Catalog) -> None:
    found = cost_of(recipe(stage("ccg", train_from={"": "train:95"})), catalog, HUB)
    assert (steps(found), found.unknown) == ((1, 10), ())


def test_items_are_those_of_all_languages_in_every_cell(catalog: Catalog) -> None:
    whole = recipe(stage("mnli"), targets=("xnli",))
    assert cost_of(whole, catalog, HUB).items == 2 * 15 * 5_010
    assert cost_of(replace(whole, languages=("de", "sw")), catalog, HUB).items == 2 * 2 * 5_010
    assert cost_of(replace(whole, limit=100), catalog, HUB).items == 2 * 15 * 100


def test_a_set_of_unknown_size_is_named_and_left_out(catalog: Catalog) -> None:
    found = cost_of(recipe(stage("mnli", "ccg")), catalog, HUB)
    assert found.unknown == ("ccg",)
    assert steps(found) == (1, 39_271)
    assert "training sets of unknown size are left out: ccg" in found.lines()


def test_the_sample_is_counted_itself(catalog: Catalog) -> None:
    found = cost_of(recipe(stage("mnli"), languages=("available",)), catalog, SAMPLE)
    whole = cost_of(recipe(stage("mnli")), catalog, SAMPLE)
    assert not found.published
    assert found.items == whole.items > 0
    assert found.stage_steps == math.ceil(60 / 10)


def test_it_is_told_to_people_and_to_programs(catalog: Catalog) -> None:
    found = cost_of(recipe(stage("mnli")), catalog, HUB)
    assert found.lines()[0] == "1 intermediate training: 39,271 steps, 100.5 million tokens at most"
    assert found.lines()[-1] == "from published sizes of the whole sets"
    told = found.as_json()
    assert json.loads(json.dumps(told))["stage_steps"] == 39_271
    assert set(told) == {
        *("stages", "stage_steps", "stage_tokens", "tunings", "tuning_steps", "tuning_tokens"),
        *("items", "unknown", "lacking", "published"),
    }


def test_a_task_that_learns_nothing_costs_nothing_and_ends_nothing(catalog: Catalog) -> None:
    assert steps(cost_of(recipe(stage("mnli", "tatoeba")), catalog, HUB)) == (1, 39_271)


def test_what_has_data_nowhere_is_named_with_its_settings(catalog: Catalog, tmp_path: Path) -> None:
    settings = (
        BASELINE,
        Setting(name="tags", stages=(stage("ccg"),)),
        Setting(
            name="both", stages=(stage("mnli", "ccg", masked=MaskedShare(share=0.1, tasks=("mlm", "tlm"))),)
        ),
        Setting(name="german", stages=(stage("mnli", translated={"": Translated(languages=("de", "fr"))}),)),
        Setting(name="text", stages=(stage("mnli", masked=MaskedShare(share=0.1, languages=("de", "ace"))),)),
    )
    asked = recipe(settings=settings)
    told = ("ccg/train, needed for tags, both", "tlm/train, needed for both")
    german = "mnli/train translated into de, needed for german"
    french = "mnli/train translated into fr, needed for german"
    text = "mlm/train in ace, needed for text"
    assert cost_of(asked, catalog, HUB).lacking == (*told, german, french, text)
    (tmp_path / "translated/de/glue_data/MNLI").mkdir(parents=True)
    (tmp_path / "translated/de/glue_data/MNLI/train.tsv").write_text("x")
    (tmp_path / "text").mkdir()
    (tmp_path / "text/ace.txt").write_text("x")
    both = cost_of(asked, catalog, DataLocation.parse(f"{tmp_path}+hub"))
    assert both.lacking == (*told, french)
    assert f"no data: {french}" in both.lines()
    alone = cost_of(replace(asked, languages=("de",)), catalog, DataLocation.parse(str(tmp_path))).lacking
    assert "mlm/train in de, needed for text" in alone
    assert "mnli/train, needed for both, german, text" in alone
    assert cost_of(recipe(stage("mnli", masked=MaskedShare(share=0.1))), catalog, SAMPLE).lacking == ()


def test_a_folder_and_the_hub_are_counted_each_for_what_it_has(catalog: Catalog, tmp_path: Path) -> None:
    import shutil

    from harness.sources import data_root

    root = data_root(catalog.task("mnli"), SAMPLE)
    shutil.copytree(root / "glue_data" / "MNLI", tmp_path / "glue_data" / "MNLI")
    both = DataLocation.parse(f"{tmp_path}+hub")
    found = cost_of(recipe(stage("mnli", "qqp")), catalog, both)
    # 60 of the sample's MNLI, the published 363,846 of QQP.
    assert steps(found) == (1, 6 + 36_385)
    assert found.published


# Against what is really done


@pytest.mark.parametrize(
    "changes",
    [
        {"hyper": ("epochs=1",)},
        {"hyper": ("mlqa.epochs=20",)},
        {"hyper": ("mlqa.batch_size=2", "learning_rate=1e-5")},
        {"train_from": ("mlqa=train:8",)},
        {"train_from": ("train:8",), "hyper": ("xquad.max_length=64",)},
        {"protocol": None},
    ],
)
def test_fine_tunings_are_those_that_a_plan_has(
    catalog: Catalog, isolated: Callable[..., Path], changes: dict[str, Any]
) -> None:
    """xquad and mlqa share one where nothing sets them apart."""
    from harness.api import prepare
    from harness.request import Request

    isolated()
    asked = recipe(targets=("xquad", "mlqa", "xnli"), **changes)
    request = Request(
        model=("sample",),
        tasks=asked.targets,
        data="sample",
        protocol=asked.protocol,
        hyper=asked.hyper,
        train_from=asked.train_from,
        device="cpu",
    )
    phases = prepare(request, catalog).plan.phases
    found = cost_of(asked, catalog, SAMPLE)
    assert found.tunings == len(phases)
    assert found.tuning_steps == sum(phase.least_steps for phase in phases)
    batches = sum(
        phase.least_steps * phase.courses[0].batch_size * phase.courses[0].max_length for phase in phases
    )
    assert found.tuning_tokens >= batches


SMALL = {"": {"epochs": "2", "batch_size": "8"}}
STAGES = {
    "one task": (stage("mnli", hyper=SMALL),),
    "a part": (stage("mnli", hyper=SMALL, sizes={"": "30%"}),),
    "a limit": (stage("mnli", hyper={"": {**SMALL[""], "max_steps": "5"}}),),
    "half an epoch": (stage("mnli", hyper={"": {"epochs": "0.5", "batch_size": "8"}}),),
    "together": (stage("mnli", "snli", hyper=SMALL, sampler=Sampler(kind="uniform")),),
    "one of them smaller": (stage("mnli", "snli", hyper=SMALL, sizes={"snli": "10"}),),
    "together, limited": (stage("mnli", "snli", hyper={"": {**SMALL[""], "max_steps": "5"}}),),
    "with masked steps": (stage("mnli", hyper=SMALL, masked=MaskedShare(share=0.25)),),
    "pairs of several languages, with text": (
        stage("tlm", hyper=SMALL, masked=MaskedShare(share=0.25, languages=("de", "en", "sw"))),
    ),
    "translated": (stage("mnli", hyper=SMALL, translated={"": Translated(languages=("de",), share=0.5)}),),
    "in sequence": (stage("mnli", hyper=SMALL), stage("copa", hyper=SMALL)),
}


# Each is a whole training; the others have a part of their own to go wrong.
LONGER = {"a part", "half an epoch", "one of them smaller", "together, limited", "translated"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] * (name in LONGER)) for name in STAGES]
)
def test_steps_are_those_that_are_planned_when_it_is_carried_out(
    catalog: Catalog, isolated: Callable[..., Path], tmp_path: Path, name: str
) -> None:
    """The cell is carried out; what its trainings say of themselves is the oracle."""
    from harness.cellwork import carry_out
    from harness.experiment import Conditions, jobs_of

    home = isolated()
    asked = recipe(*STAGES[name], targets=("xnli",), languages=("de",), hyper=("epochs=1", "batch_size=8"))
    _, job = jobs_of(asked, Conditions(data="sample", device="cpu"), tmp_path / "experiment")
    ended = carry_out(job, Silent())
    assert ended.status == "done", ended.error
    told = [
        json.loads(path.read_text(encoding="utf-8")) for path in (home / "checkpoints").rglob("training.json")
    ]
    planned = {
        kind: [facts["planned_steps"] for facts in told if facts["kind"] == kind]
        for kind in ("intermediate", "target")
    }
    found = cost_of(asked, catalog, SAMPLE)
    assert (found.stages, found.stage_steps) == (len(planned["intermediate"]), sum(planned["intermediate"]))
    # The baseline's fine-tuning is counted too, and not carried out here.
    assert (found.tunings, found.tuning_steps) == (2, 2 * sum(planned["target"]))
    seen = sum(facts["tokens"] for facts in told if facts["kind"] == "intermediate")
    assert 0 < seen <= found.stage_tokens
