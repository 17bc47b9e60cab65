"""What is forgotten, hyper-parameters and lineage."""

from __future__ import annotations

from typing import Any

from experiments import Folder, first, phase_of

from harness.catalog import Catalog
from harness.report.experiment import (
    find,
    html,
    markdown,
)
from harness.report.experiment.tidy import tidy

# Forgetting


def test_forgetting_is_the_best_phase_minus_the_last(folder: Folder, catalog: Catalog) -> None:
    folder.cell("baseline", [first(10)])
    for seed, lost in enumerate((6.0, 2.0)):
        lineage = [
            phase_of("mlm", [("mlm", 2.0)]),
            phase_of("mnli", [("mlm", 2.5), ("mnli", 80.0)]),
            phase_of("qqp", [("mlm", 3.5), ("mnli", 80.0 - lost), ("qqp", 90.0)]),
        ]
        folder.cell("seq", [first(10)], seed=seed, lineage=lineage)
    found = find(folder.write(), catalog)
    table = {entry.task: (entry.values, entry.drop) for entry in found.forgotten}
    assert table == {
        "mlm": ((2.0, 2.5, 3.5), 1.5),
        "mnli": ((None, 80.0, 76.0), 4.0),
        "qqp": ((None, None, 90.0), None),
    }
    text = markdown.render(found).replace("\\", "")
    assert "| task | metric | after 1. mlm | after 2. mnli | after 3. qqp | forgotten | seeds |" in text
    assert "| mlm | masked_lm_loss (lower is better) | 2.00 | 2.50 | 3.50 | **1.50** | 2 |" in text


def test_dev_sets_of_other_languages_splits_or_limits_are_not_compared(
    folder: Folder, catalog: Catalog
) -> None:
    def phase(value: float, **held_out: Any) -> dict[str, Any]:
        made = phase_of("mlm", [("mlm", value)])
        usual = {"split": "dev", "languages": ["de"], "limit": 500}
        return {**made, "dev": [{**made["dev"][0], **usual, **held_out}]}

    second: dict[str, dict[str, Any]] = {
        "languages": {"languages": ["th"]},
        "split": {"split": "test"},
        "limit": {"limit": None},
        "same": {},
    }
    for setting, held_out in second.items():
        folder.cell(setting, [first(10)], lineage=[phase(2.0), phase(3.5, **held_out)])
    found = find(folder.write(), catalog)
    compared = {
        setting: [(entry.values, entry.drop) for entry in found.forgotten if entry.setting == setting]
        for setting in second
    }
    apart = [((2.0, None), None), ((None, 3.5), None)]
    assert compared == {"languages": apart, "split": apart, "limit": apart, "same": [((2.0, 3.5), 1.5)]}
    text = markdown.render(found).replace("\\", "")
    assert "| mlm (dev, de, 500 at most) | masked_lm_loss (lower is better) | 2.00 | – | – | 1 |" in text
    assert "| mlm (dev, th, 500 at most) | masked_lm_loss (lower is better) | – | 3.50 | – | 1 |" in text
    assert "| mlm (dev, de) |" in text
    assert "| mlm | masked_lm_loss (lower is better) | 2.00 | 3.50 | **1.50** | 1 |" in text
    assert text.count("mlm: measured on several dev sets, which are not compared with each other") == 3
    rows = [row for row in tidy(found)["forgetting"] if row["setting"] == "languages"]
    assert [row["held_out"] for row in rows] == 2 * ["dev, de, 500 at most"] + 2 * ["dev, th, 500 at most"]


def test_a_task_that_got_better_is_not_forgotten(folder: Folder, catalog: Catalog) -> None:
    lineage = [phase_of("a", [("a", 50.0)]), phase_of("b", [("a", 60.0), ("b", 1.0)])]
    folder.cell("seq", [first(10)], lineage=lineage)
    assert {entry.task: entry.drop for entry in find(folder.write(), catalog).forgotten} == {
        "a": 0.0,
        "b": None,
    }


def test_lineages_without_dev_scores_or_courses_are_taken_as_they_are(
    folder: Folder, catalog: Catalog
) -> None:
    folder.cell("seq", [first(10)], lineage=[{}, {"courses": [{}], "curve": [{"step": 1}], "ours": ["x"]}])
    found = find(folder.write(), catalog)
    assert found.forgotten == []
    assert "not written down" in markdown.render(found)
    assert "unknown base" in html.render(found)


# Hyper-parameters and lineage


def test_hyper_parameters_of_ours_are_told_with_value_and_task(folder: Folder, catalog: Catalog) -> None:
    courses = [
        {"task": "mnli", "epochs": 3, "batch_size": 32, "ours": ["epochs", "batch_size"]},
        {"task": "squad", "epochs": 3, "batch_size": 16, "ours": ["epochs", "batch_size"]},
    ]
    facts = {"courses": courses, "ours": ["epochs", "patience"], "schedule": {"patience": 30}, "key": "k"}
    folder.cell("multi", [first(10)], lineage=[phase_of("mnli", [], **facts)])
    text = markdown.render(find(folder.write(), catalog)).replace("\\", "")
    for row in ("| batch_size | 16 | squad |", "| batch_size | 32 | mnli |", "| epochs | 3 | mnli, squad |"):
        assert row in text
    assert "| patience | 30 | mnli + squad |" in text


def test_a_lineage_tells_base_phases_data_and_changes(folder: Folder, catalog: Catalog) -> None:
    course = {"task": "mnli", "from": "mnli:train", "language": "en", "examples": 1000, "data": "d1g3st"}
    phase = phase_of("mnli", [], courses=[course], key="k3y", changed={"epochs": 1}, seed=7)
    folder.cell("mnli", [first(10)], lineage=[phase])
    assert (
        "enc w → [mnli:train, in en, 1,000 examples, data d1g3st] (5 steps, seed 7, key k3y, changed epochs=1)"
        in markdown.render(find(folder.write(), catalog)).replace("\\", "")
    )
