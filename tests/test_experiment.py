"""An experiment's folder: which cells there are and how they ended, whatever happens to the process or the disk."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from harness.errors import OutputError, UnwrittenError, UsageError
from harness.experiment import (
    MANIFEST,
    RUNS,
    Conditions,
    Ended,
    ExperimentWriter,
    Job,
    jobs_of,
)
from harness.recipes import Recipe, RecipeModel
from harness.stages import Setting, Stage

RECIPE = Recipe(
    name="tiny",
    title="Tiny",
    question="Does it run?",
    models=(RecipeModel(name="small", model="sample"),),
    settings=(Setting(name="baseline"), Setting(name="mnli", stages=(Stage(tasks=("mnli",)),))),
    targets=("tatoeba",),
    seeds=(0, 1),
)
SAMPLE = Conditions(data="sample")


def jobs(folder: Path, recipe: Recipe = RECIPE, conditions: Conditions = SAMPLE) -> tuple[Job, ...]:
    return jobs_of(recipe, conditions, folder)


def writer(folder: Path, recipe: Recipe = RECIPE, conditions: Conditions = SAMPLE) -> ExperimentWriter:
    return ExperimentWriter(
        folder=folder, recipe=recipe, jobs=jobs(folder, recipe, conditions), conditions=conditions
    )


def manifest(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return told


def statuses(folder: Path) -> list[str]:
    return [cell["status"] for cell in manifest(folder)["cells"]]


# What names a cell


def test_cells_come_by_model_setting_and_seed_each_with_a_folder_of_its_own(tmp_path: Path) -> None:
    found = jobs(tmp_path)
    assert [job.cell.title for job in found] == [
        "small · baseline · seed 0",
        "small · baseline · seed 1",
        "small · mnli · seed 0",
        "small · mnli · seed 1",
    ]
    assert len({job.id for job in found}) == 4
    assert all(job.folder == tmp_path / RUNS / job.id for job in found)


@pytest.mark.parametrize(
    "changes",
    [
        {"title": "Another"},
        {"question": "Why?"},
        {"notes": ("told",)},
        {"analyses": ("transfer", "sizes")},
        {"baselines": ("phang2020",)},
        {"targets": ("tatoeba", "xnli")},
        {"languages": ("de",)},
        {"models": (RecipeModel(name="tiny one", model="sample", family="dense"),)},
        {
            "settings": (
                Setting(name="nothing", axes={"order": "none"}),
                Setting(name="inference", stages=(Stage(tasks=("mnli",)),)),
            )
        },
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_only_names_or_adds_leaves_every_cell_its_folder(
    tmp_path: Path, changes: Mapping[str, Any]
) -> None:
    """So a title can be mended and a target added without anything being computed again."""
    changed = replace(RECIPE, **changes)
    assert [job.id for job in jobs(tmp_path, changed)] == [job.id for job in jobs(tmp_path)]


@pytest.mark.parametrize(
    "changes",
    [
        {"protocol": "phang2020"},
        {"split": ("dev",)},
        {"limit": 3},
        {"train_from": ("xnli=dev",)},
        {"hyper": ("epochs=1",)},
        {"models": (RecipeModel(name="small", model="another"),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_decides_numbers_gives_other_folders(tmp_path: Path, changes: Mapping[str, Any]) -> None:
    before = {job.id for job in jobs(tmp_path)}
    assert not before & {job.id for job in jobs(tmp_path, replace(RECIPE, **changes))}


@pytest.mark.parametrize(
    "changes",
    [
        *({"data": data} for data in ("hub", "rows", "rows+hub")),
        {"dtype": "bfloat16"},
        {"device": "cuda"},
        {"device": "cuda", "dtype": "float32"},
        {"deterministic": True},
    ],
    ids=str,
)
def test_conditions_that_decide_numbers_give_other_folders(
    tmp_path: Path, changes: Mapping[str, Any]
) -> None:
    before = {job.id for job in jobs(tmp_path)}
    assert not before & {job.id for job in jobs(tmp_path, conditions=replace(SAMPLE, **changes))}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"device": "auto"}, {"device": "cpu"}),
        ({"dtype": "auto"}, {"dtype": "float32"}),
        ({"device": "cuda"}, {"device": "cuda:1"}),
        ({"device": "cuda"}, {"device": "cuda", "dtype": "bfloat16"}),
        ({"data": "here/rows"}, {"data": "there/rows"}),
        ({}, {"offline": True, "plugins": ("mine.py",), "batch_tokens": 100, "gradient_checkpointing": True}),
    ],
)
def test_conditions_that_give_the_same_numbers_have_the_same_folders(
    tmp_path: Path, one: Mapping[str, Any], other: Mapping[str, Any]
) -> None:
    found = [jobs(tmp_path, conditions=replace(SAMPLE, **changes)) for changes in (one, other)]
    assert [job.id for job in found[0]] == [job.id for job in found[1]]


def model_in(folder: Path, sample_model: Path) -> Recipe:
    shutil.copytree(sample_model, folder)
    return replace(RECIPE, models=(RecipeModel(name="small", model=str(folder)),))


def test_a_model_folder_counts_by_its_content_wherever_it_lies(tmp_path: Path, sample_model: Path) -> None:
    here, there = (model_in(tmp_path / name / "model", sample_model) for name in ("here", "there"))
    before = [job.id for job in jobs(tmp_path, here)]
    assert before == [job.id for job in jobs(tmp_path, there)]
    config = tmp_path / "here" / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "layer_norm_eps": 1e-3}))
    assert not {*before} & {job.id for job in jobs(tmp_path, here)}


def test_two_folders_of_one_content_are_refused(tmp_path: Path, sample_model: Path) -> None:
    """Their cells would have the same folders."""
    models = tuple(
        replace(model_in(tmp_path / name, sample_model).models[0], name=name) for name in ("here", "there")
    )
    with pytest.raises(UsageError, match="models 'here' and 'there' are folders of the same content"):
        jobs(tmp_path, replace(RECIPE, models=models))


def test_a_model_folder_that_cannot_be_opened_still_has_cells(tmp_path: Path) -> None:
    """They fail one by one, and the others go on."""
    (tmp_path / "empty").mkdir()
    damaged = RecipeModel(name="damaged", model=str(tmp_path / "empty"))
    assert len(jobs(tmp_path, replace(RECIPE, models=(*RECIPE.models, damaged)))) == 8


def test_new_seeds_and_settings_leave_the_folders_of_the_old_ones(tmp_path: Path) -> None:
    more = replace(
        RECIPE,
        seeds=(2, 0, 1),
        settings=(Setting(name="snli", stages=(Stage(tasks=("snli",)),)), *RECIPE.settings),
    )
    assert {job.id for job in jobs(tmp_path)} < {job.id for job in jobs(tmp_path, more)}
    assert len(jobs(tmp_path, more)) == 9


# What is written


def test_the_manifest_tells_recipe_conditions_and_every_cell(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "experiment"
    conditions = Conditions(data="sample", dtype="float32", plugins=("mine.py",))
    with writer(folder, conditions=conditions) as written:
        written.write()
    told = manifest(folder)
    assert (told["schema"], told["kind"]) == (1, "experiment")
    assert told["recipe"]["question"] == "Does it run?"
    assert "models" not in told["recipe"]
    assert told["models"] == [{"name": "small", "model": "sample", "family": ""}]
    assert told["settings"] == [
        {"name": "baseline", "axes": {}, "stages": []},
        {"name": "mnli", "axes": {}, "stages": [{"tasks": ["mnli"]}]},
    ]
    assert told["conditions"]["dtype"] == "float32"
    assert told["conditions"]["plugins"] == ["mine.py"]
    first = jobs(folder, conditions=conditions)[0]
    assert told["cells"][0] == {
        "id": first.id,
        "model": "small",
        "setting": "baseline",
        "seed": 0,
        "folder": f"runs/{first.id}",
        "status": "missing",
        "error": "",
        "seconds": None,
    }
    assert statuses(folder) == ["missing"] * 4


def test_how_cells_ended_is_known_to_the_next_process(tmp_path: Path) -> None:
    with writer(tmp_path) as written:
        one, two, three, four = written.jobs
        written.note(one, Ended(status="done", seconds=3.0))
        written.note(two, Ended(status="failed", error="no disc", seconds=1.0))
        written.note(three, Ended(status="partial", error="1 of 2 units failed", seconds=2.0))
    assert statuses(tmp_path) == ["done", "failed", "partial", "missing"]
    with writer(tmp_path) as again:
        assert again.ended(one) == Ended(status="done", seconds=3.0)
        assert again.ended(two) == Ended(status="failed", error="no disc", seconds=1.0)
        assert again.ended(three) == Ended(status="partial", error="1 of 2 units failed", seconds=2.0)
        assert again.ended(four) is None
        again.write()
    assert statuses(tmp_path) == ["done", "failed", "partial", "missing"]


def test_a_cell_that_is_found_done_keeps_the_time_that_it_took(tmp_path: Path) -> None:
    with writer(tmp_path) as written:
        cell = written.jobs[0]
        written.note(cell, Ended(status="done", seconds=3.0))
        written.note(cell, Ended(status="done", seconds=0.25))
    assert manifest(tmp_path)["cells"][0]["seconds"] == 3.0


def test_a_failed_cell_that_is_done_now_tells_no_error_and_its_own_time(tmp_path: Path) -> None:
    with writer(tmp_path) as written:
        cell = written.jobs[0]
        written.note(cell, Ended(status="failed", error="no disc", seconds=3.0))
        written.note(cell, Ended(status="done", seconds=0.25))
    told = manifest(tmp_path)["cells"][0]
    assert (told["status"], told["error"], told["seconds"]) == ("done", "", 0.25)


@pytest.mark.parametrize("changes", [{"targets": ("tatoeba", "xnli")}, {"languages": ("de", "sw")}])
def test_a_cell_of_which_more_is_asked_now_is_not_done(tmp_path: Path, changes: Mapping[str, Any]) -> None:
    """An interruption before its turn must not leave behind that all of it was done."""
    with writer(tmp_path) as written:
        written.note(written.jobs[0], Ended(status="done", seconds=3.0))
        written.note(written.jobs[1], Ended(status="failed", error="no disc", seconds=1.0))
    with writer(tmp_path, replace(RECIPE, **changes)) as again:
        again.write()
        assert statuses(tmp_path) == ["missing", "failed", "missing", "missing"]
        again.note(again.jobs[0], Ended(status="done", seconds=0.5))
    assert manifest(tmp_path)["cells"][0]["seconds"] == 3.0


def test_a_cell_at_work_is_running_and_an_experiment_that_is_given_up_is_interrupted(tmp_path: Path) -> None:
    with contextlib.suppress(KeyboardInterrupt), writer(tmp_path) as written:
        written.write()
        one, two, *_ = written.jobs
        written.begin(one)
        written.begin(two)
        written.note(one, Ended(status="done", seconds=1.0))
        told = manifest(tmp_path)
        assert (told["status"], told["finished"]) == ("running", None)
        assert statuses(tmp_path) == ["done", "running", "missing", "missing"]
        raise KeyboardInterrupt
    told = manifest(tmp_path)
    assert (told["status"], told["finished"]) == ("interrupted", None)
    assert statuses(tmp_path) == ["done", "missing", "missing", "missing"]


def test_a_cell_that_was_running_when_its_process_was_killed_is_missing_to_the_next(tmp_path: Path) -> None:
    left = writer(tmp_path).__enter__()
    left.begin(left.jobs[0])
    assert left._lock is not None
    left._lock.release()
    assert statuses(tmp_path)[0] == "running"
    with writer(tmp_path) as again:
        assert again.ended(again.jobs[0]) is None


def test_an_experiment_is_finished_when_every_cell_has_ended_however_it_ended(tmp_path: Path) -> None:
    with writer(tmp_path) as written:
        for cell in written.jobs[:3]:
            written.note(cell, Ended(status="done", seconds=1.0))
        written.finish()
        assert (manifest(tmp_path)["status"], manifest(tmp_path)["finished"]) == ("interrupted", None)
        written.note(written.jobs[3], Ended(status="failed", error="no disc"))
        written.finish()
    told = manifest(tmp_path)
    assert told["status"] == "finished"
    assert told["finished"] >= told["started"]


def test_the_first_start_is_kept_and_seconds_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_000_000.0
    monkeypatch.setattr("harness.experiment.time.time", lambda: now)
    with writer(tmp_path) as written:
        written.begun, now = now, now + 5000.0
        written.write()
        first = manifest(tmp_path)
    with writer(tmp_path) as again:
        again.begun, now = now, now + 1000.0
        again.write()
    told = manifest(tmp_path)
    assert told["started"] == first["started"]
    assert told["seconds"] == 6000.0


def test_cells_of_other_conditions_keep_how_they_ended(tmp_path: Path) -> None:
    """Their results lie there still."""
    with writer(tmp_path) as written:
        for cell in written.jobs:
            written.note(cell, Ended(status="done", seconds=1.0))
    with writer(tmp_path, conditions=replace(SAMPLE, deterministic=True)) as other:
        other.write()
        assert statuses(tmp_path) == ["missing"] * 4
    with writer(tmp_path) as again:
        again.write()
    assert statuses(tmp_path) == ["done"] * 4


def test_cells_of_an_added_setting_are_missing_and_the_others_stay(tmp_path: Path) -> None:
    with writer(tmp_path) as written:
        for cell in written.jobs:
            written.note(cell, Ended(status="done", seconds=1.0))
    settings = (*RECIPE.settings, Setting(name="snli", stages=(Stage(tasks=("snli",)),)))
    with writer(tmp_path, replace(RECIPE, settings=settings)) as again:
        again.write()
    assert statuses(tmp_path) == ["done"] * 4 + ["missing"] * 2


# Folders of others


def test_a_second_process_is_refused_in_one_line_and_let_in_afterwards(tmp_path: Path) -> None:
    with writer(tmp_path), pytest.raises(OutputError, match="in use by another harness process") as told:
        writer(tmp_path).__enter__()
    assert not isinstance(told.value, UnwrittenError)
    assert "\n" not in str(told.value)
    with writer(tmp_path) as again:
        again.write()


def test_a_lock_that_a_crashed_process_left_does_not_keep_anybody_out(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from filelock import FileLock; FileLock(sys.argv[1]).acquire();"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    crashed = subprocess.run([sys.executable, "-c", program, str(tmp_path / ".lock")], check=False)
    assert crashed.returncode == -9
    assert (tmp_path / ".lock").exists()
    with writer(tmp_path) as again:
        again.write()
    assert statuses(tmp_path) == ["missing"] * 4


def test_the_lock_is_given_back_when_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine\n", encoding="utf-8")
    with pytest.raises(OutputError, match=r"not empty \(it holds thesis\.tex\); choose another"):
        writer(tmp_path).__enter__()
    with FileLock(tmp_path / ".lock", timeout=0):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "thesis.tex"]


def test_the_folder_of_another_experiment_is_left_alone(tmp_path: Path) -> None:
    with writer(tmp_path) as written:
        written.write()
    before = (tmp_path / MANIFEST).read_bytes()
    with pytest.raises(OutputError, match="belongs to the experiment 'tiny'; choose another --output"):
        writer(tmp_path, replace(RECIPE, name="other")).__enter__()
    assert (tmp_path / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("blocked", ["file", "file/deeper"])
def test_a_file_in_the_way_is_told(tmp_path: Path, blocked: str) -> None:
    (tmp_path / "file").write_text("mine\n", encoding="utf-8")
    folder = tmp_path / blocked
    with pytest.raises(UnwrittenError, match=rf"{re.escape(str(folder))}: cannot be written .*--output"):
        writer(folder).__enter__()
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine\n"


def test_a_full_disk_leaves_the_manifest_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with writer(tmp_path) as written:
        written.note(written.jobs[0], Ended(status="done", seconds=1.0))
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(UnwrittenError, match="the disk is full; free some space and run the same"):
                written.note(written.jobs[1], Ended(status="done", seconds=1.0))
        assert statuses(tmp_path) == ["done", "missing", "missing", "missing"]
        assert not list(tmp_path.glob(".*.tmp"))
        written.write()
    assert statuses(tmp_path) == ["done", "done", "missing", "missing"]


DAMAGES: Mapping[str, Any] = {
    "empty": "",
    "cut": '{"schema": 1, "recipe": {"na',
    "no JSON": "experiment",
    "another value": "[]",
    "a number": "3",
    "another schema": {"schema": 99},
    "no recipe": {"schema": 1},
    "recipe is text": {"schema": 1, "recipe": "tiny", "cells": []},
    "no cells": {"schema": 1, "recipe": {"name": "tiny", "targets": [], "languages": [], "analyses": []}},
    "cells are null": {
        "schema": 1,
        "recipe": {"name": "tiny", "targets": [], "languages": [], "analyses": []},
        "cells": None,
    },
    "cell is text": {
        "schema": 1,
        "recipe": {"name": "tiny", "targets": [], "languages": [], "analyses": []},
        "cells": ["done"],
    },
    "cell without seconds": {
        "schema": 1,
        "recipe": {"name": "tiny", "targets": [], "languages": [], "analyses": []},
        "cells": [{"id": "x", "status": "done", "error": ""}],
    },
    "cell with odd seconds": {
        "schema": 1,
        "recipe": {"name": "tiny", "targets": [], "languages": [], "analyses": []},
        "cells": [{"id": "x", "status": "done", "error": "", "seconds": "long"}],
    },
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_manifest_is_told_in_one_line_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    content = DAMAGES[damage]
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(
        OutputError, match=r"experiment\.json: damaged or not an experiment .*--output"
    ) as told:
        writer(tmp_path).__enter__()
    assert "\n" not in str(told.value)
    assert (tmp_path / MANIFEST).read_text(encoding="utf-8") == text
    with FileLock(tmp_path / ".lock", timeout=0):
        pass


def test_a_manifest_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OutputError, match="damaged or not an experiment"):
        writer(tmp_path).__enter__()
