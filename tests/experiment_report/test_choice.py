"""The best intermediate task, chosen on English dev; published numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from experiments import Folder, N, effect_of, first, languages_right, number_of

from harness.catalog import Catalog
from harness.report.experiment import (
    as_json,
    find,
    html,
    markdown,
)

# Choice


def _with_dev(folder: Folder, dev: Mapping[str, int]) -> None:
    test = {"baseline": 10, "good": 30, "better": 32}
    for setting, right in test.items():
        held_out = [first(dev[setting], language="en", split="dev")] if setting in dev else []
        folder.cell(setting, [*languages_right(en=20, de=right), *held_out])


def test_english_dev_chooses_and_is_not_averaged_into_the_scores(folder: Folder, catalog: Catalog) -> None:
    _with_dev(folder, {"baseline": 40, "good": 39, "better": 38})
    found = find(folder.write(), catalog)
    (choice,) = found.choices
    assert (choice.effect.setting, choice.chosen_on) == ("good", "English dev")
    assert choice.dev == pytest.approx(97.5)
    assert (choice.oracle.setting, choice.candidates) == ("better", ("good", "better"))
    assert effect_of(found, "good").scores == pytest.approx({"en": 50.0, "de": 75.0})


@pytest.mark.parametrize("dev", [{}, {"good": 39}], ids=["no dev", "dev of one"])
def test_without_dev_of_every_candidate_the_choice_is_an_oracle(
    folder: Folder, catalog: Catalog, dev: Mapping[str, int]
) -> None:
    _with_dev(folder, dev)
    found = find(folder.write(), catalog)
    (choice,) = found.choices
    assert (choice.effect.setting, choice.is_oracle, choice.dev) == ("better", True, None)
    assert "1 of 1 chosen by an oracle" in markdown.render(found)


def test_a_target_that_is_scored_on_dev_only_is_a_target(folder: Folder, catalog: Catalog) -> None:
    for setting, right in (("baseline", 10), ("mnli", 20)):
        folder.cell(setting, [first(right, split="dev")])
    found = find(folder.write(), catalog)
    assert effect_of(found, "mnli").delta == pytest.approx(25.0)
    assert found.choices[0].is_oracle


@pytest.mark.parametrize("same", [True, False])
def test_a_dev_set_that_is_the_test_set_leaves_the_choice_an_oracle(
    folder: Folder, catalog: Catalog, same: bool
) -> None:
    """XQuAD and TyDiQA have no other dev set; equal ids alone do not make two sets one."""
    ids = [str(place) for place in range(N)]
    for setting, (test, dev) in {"baseline": (10, 10), "good": (30, 32), "better": (32, 30)}.items():
        data = {"data": "one"} if same else {}
        folder.cell(
            setting,
            [
                first(test, language="en", ids=ids, record=data),
                first(dev, language="en", split="dev", ids=ids, record=data),
            ],
        )
    found = find(folder.write(), catalog)
    (choice,) = found.choices
    assert (choice.effect.setting, choice.is_oracle) == (("better", True) if same else ("good", False))
    assert ("xnli: oracle, because its English dev set is the test set" in markdown.render(found)) is same


def test_candidates_are_compared_over_what_all_of_them_have(folder: Folder, catalog: Catalog) -> None:
    """The better one lacks the harder language and has a worse seed more; over all it would lose or win by that alone."""
    folder.cell("baseline", languages_right(en=10, sw=10))
    folder.cell("whole", languages_right(en=32, sw=4))
    folder.cell("part", languages_right(en=30))
    folder.cell("two", languages_right(en=34, sw=20), seed=0)
    folder.cell("two", languages_right(en=0, sw=0), seed=1)
    folder.cell("none", [], seed=0)
    folder.cell("tie", languages_right(en=34, sw=0))
    found = find(folder.write(), catalog)
    (choice,) = found.choices
    assert (choice.oracle.setting, choice.languages, choice.seeds) == ("two", ("en",), (0,))
    assert choice.oracle_score == pytest.approx(85.0)
    assert (choice.candidates, choice.ties) == (("whole", "part", "two", "tie"), ("tie",))
    assert dict(choice.left_out) == {"none": "no score"}
    text = markdown.render(found)
    assert "- xnli: as good as two: tie" in text
    assert "1 of 2 languages and 1 of 2 seeds" in text
    assert "- xnli: none is no candidate: no score" in text
    assert "| xnli | two | oracle: the reported scores themselves | 4 |" in text


@pytest.mark.parametrize("split", ["test", "dev"])
def test_candidates_are_compared_over_the_items_of_all(folder: Folder, catalog: Catalog, split: str) -> None:
    """One left the easy half out, for it was learned: its recorded score is the lower one, on the rest it is better."""
    ids = [str(place) for place in range(80)]
    sides = {"whole": first(50, n=80, ids=ids), "part": first(20, n=40, ids=ids[40:])}
    run = Path()
    for setting, answers in {"baseline": first(40, n=80, ids=ids), **sides}.items():
        scored = replace(answers, language="en", split=split)
        run = folder.cell(setting, [scored, first(10)] if split == "dev" else [scored])
    found = find(folder.write(), catalog)
    (choice,) = found.choices
    assert choice.effect.setting == "part"
    assert (choice.dev if split == "dev" else choice.oracle_score) == pytest.approx(50.0)
    told = "xnli: not the same items were scored (en: 40–80 items)"
    on = "xnli: on English dev not the same items were scored (en: 40–80 items)"
    told = f"{on if split == 'dev' else told}; compared over the common ones"
    assert f"- {told}" in markdown.render(found).replace("\\", "")
    next(run.rglob(f"*.{split}/**/en.parquet")).unlink()
    found = find(folder.path, catalog)
    (choice,) = found.choices
    text = markdown.render(found).replace("\\", "")
    if split == "test":
        assert choice.effect.setting == "whole", "as recorded, and marked"
        assert "so scores may differ by their items alone; over the common ones they cannot be had" in text
    else:
        assert choice.is_oracle
        assert "oracle, because on English dev not the same items were scored (en: 40–80 items)" in text


def test_dev_is_compared_over_the_seeds_of_all(folder: Folder, catalog: Catalog) -> None:
    for setting, rights in {"baseline": (1,), "a": (20, 40), "b": (24,)}.items():
        for seed, right in enumerate(rights):
            folder.cell(setting, [first(10), first(right, language="en", split="dev")], seed=seed)
    (choice,) = find(folder.write(), catalog).choices
    assert choice.effect.setting == "b"
    assert choice.dev == pytest.approx(60.0)


def test_candidates_without_a_common_seed_are_not_chosen_among(folder: Folder, catalog: Catalog) -> None:
    for place, setting in enumerate(("a", "b", "c")):
        folder.cell(setting, [first(10)], seed=place % 2)
    found = find(folder.write(), catalog)
    assert found.choices == []


def test_why_dev_could_not_be_scored_is_told(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [first(10)])
    run = folder.cell("mnli", [first(20)], seed=3)
    (run / "development.json").write_text('{"error": "xnli/en: no\\nsuch file"}', encoding="utf-8")
    text = markdown.render(find(folder.write(), catalog))
    assert "- mnli, seed 3: English dev could not be scored: xnli/en: no such file" in text
    (run / "development.json").write_text("{", encoding="utf-8")
    assert "development.json: not readable" in markdown.render(find(folder.path, catalog))


# Published numbers


def test_published_numbers_stand_beside_ours_of_the_same_metric(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right(en=30, de=20))
    published = [
        {
            "model": "XLM-R Large",
            "task": "xnli",
            "metric": "accuracy",
            "value": 79.2,
            "source": "RemBERT <T16>",
        },
        {"model": "XLM-R Large", "task": "xnli", "metric": "macro_f1", "value": 78.0, "source": "made up"},
        {
            "model": "XLM-R Large",
            "task": "mlqa",
            "metric": "f1",
            "value": 71.6,
            "source": "not a target here",
        },
    ]
    found = find(folder.write(), catalog, published)
    one, other = found.published
    assert one.ours == pytest.approx({("enc", "baseline"): 62.5})
    assert one.marks == ("2 of 3 languages",)
    assert other.ours == {}
    assert "RemBERT &lt;T16&gt;" in html.render(found)
    assert "not a target here" not in html.render(found)
    assert as_json(found)["published"][0]["ours"] == [
        {"model": "enc", "setting": "baseline", "value": pytest.approx(62.5)}
    ]


def test_the_recipe_names_its_published_numbers_and_a_suite_has_one_too(
    folder: Folder, catalog: Catalog
) -> None:
    from harness.baselines import Baseline, Published

    numbers = (
        Published(model="big", task="small", metric="mean", value=50.0, source="a paper"),
        Published(model="big", task="small", metric="mean", value=5.0, source="a paper", over="small"),
    )
    known = {"numbers": Baseline(name="numbers", title="Numbers", numbers=numbers)}
    folder.recipe["baselines"] = ["numbers", "gone"]
    both = [*languages_right(en=30, de=20, sw=10), *languages_right("tatoeba", de=40, ja=20)]
    folder.cell("baseline", both)
    folder.cell("mnli", both[:3])
    found = find(folder.write(), replace(catalog, baselines=known))
    (one,) = found.published
    assert one.ours == pytest.approx({("enc", "baseline"): (50 + 75) / 2})
    assert one.marks == ()
    assert "published numbers 'gone': no installed plugin has them" in markdown.render(found)


def test_dev_records_do_not_take_our_number_away(folder: Folder, catalog: Catalog) -> None:
    """Two metrics' mean is published; the dev set's table comes first."""
    second = {"metric": "macro_f1", "signature": "macro_f1|x|v1", "main": False, "value": 30.0}
    answers = [
        one
        for split, right in (("dev", 40), ("test", 20))
        for one in (
            first(right, language="en", split=split, record={"variant": f"{split}.head"}),
            first(right, language="en", split=split, record={**second, "variant": f"{split}.head"}),
        )
    ]
    folder.cell("baseline", [*answers, first(10, record={"variant": "test.head"})])
    extra = first(10, record={**second, "variant": "test.head", "value": 20.0})
    folder.cell("mnli", [*answers, first(12, record={"variant": "test.head"}), extra])
    both = number_of(metric="accuracy / macro_f1")
    found = find(folder.write(), catalog, [both, number_of(metric="macro_f1")])
    assert found.published[0].ours == pytest.approx({("enc", "mnli"): ((50 + 30) / 2 + (30 + 20) / 2) / 2})
    assert found.published[1].ours == pytest.approx({("enc", "mnli"): 25.0})


def test_published_numbers_of_a_language_stand_beside_ours_of_it(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", languages_right(en=30, de=20))
    numbers = [number_of(), number_of(language="de", value=77.7), number_of(language="sw", value=66.6)]
    found = find(folder.write(), catalog, numbers)
    assert [entry.ours for entry in found.published] == [
        {("enc", "baseline"): pytest.approx(62.5)},
        {("enc", "baseline"): pytest.approx(50.0)},
    ]
    assert found.published[1].marks == (), "a language needs no other"
    text = markdown.render(found)
    assert "| xnli | de German | big | accuracy | a paper | 77.7 | 50.00 |" in text
    assert "66.6" not in text


def test_published_gains_stand_beside_ours(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [*languages_right(de=10), *languages_right("tatoeba", de=10)])
    folder.cell("mnli", [*languages_right(de=20), *languages_right("tatoeba", de=8)])
    folder.cell("qqp", [*languages_right(de=12), *languages_right("tatoeba", de=12)])
    folder.cell("half", languages_right(de=40))
    gain = number_of(task="small", metric="mean", value=5.4, over="base")
    found = find(
        folder.write(), catalog, [gain, number_of(over="base", value=1.0), number_of(task="other", over="x")]
    )
    suite, target = found.gains
    # Best per target: half (+75) on xnli, qqp (+5) on Tatoeba.
    by_hand = {"best per target": 40.0, "mnli": 10.0, "qqp": 5.0}
    assert suite.ours == pytest.approx({("enc", name): value for name, value in by_hand.items()})
    assert target.ours["enc", "half"] == pytest.approx(75.0)
    assert found.published == []
    assert "| small | big | base | mean | a paper | +5.4 | +40.00 | +10.00 | +5.00 |" in markdown.render(
        found
    )
    assert [row["over"] for row in as_json(found)["published"]] == ["base", "base"]
