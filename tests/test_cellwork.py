"""One cell: trained once, evaluated on every target, and whatever goes wrong in it told in one line."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from harness import files
from harness.cellwork import carry_out
from harness.curriculum import Phase
from harness.experiment import DEVELOPMENT, LINEAGE, Conditions, Job, jobs_of
from harness.plan import Plan, Unit
from harness.progress import Silent
from harness.recipes import Recipe, RecipeModel
from harness.run import open_run
from harness.stages import Setting, Stage

FAST = {"": {"epochs": "1", "batch_size": "8", "learning_rate": "1e-3"}}
RECIPE = Recipe(
    name="tiny",
    title="Tiny",
    question="Does it run?",
    models=(RecipeModel(name="small", model="sample"),),
    settings=(
        Setting(name="baseline"),
        Setting(name="copa", stages=(Stage(tasks=("copa",), hyper=FAST),)),
        Setting(
            name="copa > siqa",
            stages=(Stage(tasks=("copa",), hyper=FAST), Stage(tasks=("siqa",), hyper=FAST)),
        ),
    ),
    targets=("tatoeba", "pawsx"),
    languages=("de", "es"),
    hyper=("epochs=1", "batch_size=8", "learning_rate=1e-3"),
)
SAMPLE = Conditions(data="sample", device="cpu")


@dataclass
class Told(Silent):
    """Keeps what it is told."""

    trainings: list[str] = field(default_factory=list)
    units: list[str] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)

    def planned(self, plan: Plan, pending: int) -> None:
        self.pending.append(pending)

    def training(self, phase: Phase, steps: int, done: int) -> None:
        self.trainings.append(phase.name)

    def finished(self, unit: Unit, records: Sequence[Any]) -> None:
        self.units.append(unit.name)


def cells(folder: Path, recipe: Recipe = RECIPE, conditions: Conditions = SAMPLE) -> tuple[Job, ...]:
    return jobs_of(recipe, conditions, folder)


@pytest.fixture
def home(isolated: Callable[..., Path]) -> Path:
    return isolated()


def test_a_baseline_is_the_model_itself_on_every_target(home: Path, tmp_path: Path) -> None:
    baseline, *_ = cells(tmp_path)
    told = Told()
    ended = carry_out(baseline, told)
    assert (ended.status, ended.error, ended.stops) == ("done", "", False)
    assert ended.seconds > 0
    assert told.trainings == ["pawsx/train"]
    run = open_run(baseline.folder)
    assert {(record.task, record.language) for record in run.records} == {
        (task, language) for task in ("tatoeba", "pawsx") for language in ("de", "es")
    }
    assert {record.model for record in run.records} == {"small"}
    assert json.loads((baseline.folder / LINEAGE).read_text(encoding="utf-8")) == []


def test_a_chain_is_trained_in_order_and_its_lineage_lies_in_the_folder(home: Path, tmp_path: Path) -> None:
    _, _, chain = cells(tmp_path)
    told = Told()
    assert carry_out(chain, told).status == "done"
    assert told.trainings == ["copa/train", "siqa/train", "pawsx/train"]
    lineage = json.loads((chain.folder / LINEAGE).read_text(encoding="utf-8"))
    assert [[course["task"] for course in entry["courses"]] for entry in lineage] == [["copa"], ["siqa"]]
    assert lineage[1]["parent"]["name"] == "small"
    assert {record.model for record in open_run(chain.folder).records} == {"small: copa > siqa"}


def test_a_shared_prefix_is_trained_once(home: Path, tmp_path: Path) -> None:
    _, single, chain = cells(tmp_path)
    first, second = Told(), Told()
    assert carry_out(single, first).status == "done"
    assert carry_out(chain, second).status == "done"
    assert first.trainings == ["copa/train", "pawsx/train"]
    assert second.trainings == ["siqa/train", "pawsx/train"]
    kinds = [
        json.loads(path.read_text(encoding="utf-8"))["kind"]
        for path in (home / "checkpoints").rglob("training.json")
    ]
    assert sorted(kinds) == ["intermediate", "intermediate", "target", "target"]


def test_what_is_done_is_not_done_again_and_keeps_every_byte(home: Path, tmp_path: Path) -> None:
    _, single, _ = cells(tmp_path)
    assert carry_out(single, Told()).status == "done"
    kept = [single.folder / "records.jsonl", *sorted(single.folder.rglob("*.parquet"))]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept}
    assert len(before) > 4
    told = Told()
    assert carry_out(single, told).status == "done"
    assert (told.trainings, told.units, told.pending) == ([], [], [0])
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept} == before


def test_an_added_target_or_language_is_all_that_is_computed(home: Path, tmp_path: Path) -> None:
    _, single, _ = cells(tmp_path, replace(RECIPE, targets=("tatoeba",), languages=("de",)))
    assert carry_out(single, Told()).status == "done"
    _, more, _ = cells(tmp_path)
    assert more.folder == single.folder
    told = Told()
    assert carry_out(more, told).status == "done"
    assert told.trainings == ["pawsx/train"]
    assert told.units == ["pawsx/de", "pawsx/es", "tatoeba/es"]


def test_in_another_experiment_the_cache_has_the_training(home: Path, tmp_path: Path) -> None:
    _, single, _ = cells(tmp_path / "one")
    _, same, _ = cells(tmp_path / "two")
    assert carry_out(single, Told()).status == "done"
    told = Told()
    assert carry_out(same, told).status == "done"
    assert told.trainings == []
    assert len(told.units) == 4
    assert (single.folder / "records.jsonl").read_bytes() == (same.folder / "records.jsonl").read_bytes()


def test_another_seed_is_another_training_throughout(home: Path, tmp_path: Path) -> None:
    zero, one = cells(tmp_path, replace(RECIPE, settings=RECIPE.settings[1:2], seeds=(0, 1)))
    assert carry_out(zero, Told()).status == "done"
    told = Told()
    assert carry_out(one, told).status == "done"
    assert told.trainings == ["copa/train", "pawsx/train"]
    assert {record.seed for record in open_run(one.folder).records} == {1, None}


def test_a_training_that_another_process_is_at_is_told_and_then_waited_for(
    home: Path, tmp_path: Path
) -> None:
    """Another holder of the lock gives it back when the listener is told, and not before."""
    _, single, _ = cells(tmp_path / "experiment")
    assert carry_out(single, Told()).status == "done"
    (phase,) = [path for path in (home / "checkpoints").iterdir() if path.is_dir() and is_stage(path)]
    shutil.rmtree(phase)
    other = FileLock(phase.with_name(f"{phase.name}.lock"))
    other.acquire()
    waited: list[str] = []

    class Waiting(Told):
        def waiting(self, phase: Phase) -> None:
            waited.append(phase.key)
            other.release()

    told = Waiting()
    _, again, _ = cells(tmp_path / "again")
    assert carry_out(again, told).status == "done"
    assert waited == [phase.name]
    assert told.trainings == ["copa/train"]


def is_stage(folder: Path) -> bool:
    told = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return bool(told["kind"] == "intermediate")


@pytest.mark.parametrize("name", [LINEAGE, DEVELOPMENT])
def test_a_disk_that_is_full_at_the_end_of_a_cell_stops_everything(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    baseline, *_ = cells(tmp_path, replace(RECIPE, targets=("tatoeba",)))
    write_text = files.write_text

    def write(path: Path, text: str) -> None:
        with monkeypatch.context() as patched:
            if path.name == name:
                patched.setattr(os, "fsync", full)
            write_text(path, text)

    monkeypatch.setattr(files, "write_text", write)
    ended = carry_out(baseline, Told())
    assert (ended.status, ended.stops) == ("failed", True)
    assert f"{name}: the disk is full" in ended.error


def full(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# What goes wrong


def test_a_model_that_is_not_there_fails_the_cell_in_one_line(home: Path, tmp_path: Path) -> None:
    missing = replace(RECIPE, models=(RecipeModel(name="gone", model=str(tmp_path / "gone")),))
    ended = carry_out(cells(tmp_path / "experiment", missing)[1], Told())
    assert (ended.status, ended.stops) == ("failed", False)
    assert str(tmp_path / "gone") in ended.error
    assert "\n" not in ended.error


@pytest.mark.parametrize("name", ["sample-bert", "sample-"])
def test_a_built_in_model_that_there_is_not_is_told_with_those_that_there_are(
    home: Path, tmp_path: Path, name: str
) -> None:
    unknown = replace(RECIPE, models=(RecipeModel(name="odd", model=name),))
    ended = carry_out(cells(tmp_path / "experiment", unknown)[0], Told())
    assert ended.status == "failed"
    assert f"no built-in model '{name}'" in ended.error
    assert (
        "sample, sample-mt5, sample-xmod, sample-switch, sample-nllb-moe, sample-qwen3, sample-qwen3-moe"
        in ended.error
    )


def test_training_data_that_is_not_there_fails_the_cell(home: Path, tmp_path: Path) -> None:
    (tmp_path / "data" / "tatoeba").mkdir(parents=True)
    (tmp_path / "data" / "tatoeba" / "tatoeba.deu-eng.deu").write_text("Hund\n", encoding="utf-8")
    ended = carry_out(
        cells(tmp_path / "experiment", RECIPE, replace(SAMPLE, data=str(tmp_path / "data")))[1], Told()
    )
    assert (ended.status, ended.stops) == ("failed", False)
    assert "copa" in ended.error


PLUGIN = """
from dataclasses import replace
from pathlib import Path
from harness import hookimpl
from harness.formats.choices import Choices
from harness.formats.retrieval import Retrieval
from harness_intermediate.copa import COPA
from harness_xtreme.tatoeba import TATOEBA

MENDED = Path(__file__).with_name("mended")

class Fragile(Retrieval):
    name = "fragile"
    def decode(self, examples, outputs, tuning, neighbours):
        if examples[0].id.startswith("es") and not MENDED.exists():
            raise RuntimeError("cannot count\\nto three")
        return super().decode(examples, outputs, tuning, neighbours)

class Broken(Choices):
    name = "broken"
    def encode(self, examples, tokenizer, max_length):
        raise ZeroDivisionError("one by\\nnothing")

@hookimpl
def harness_tasks():
    task = replace(TATOEBA, name="fragile", format=Fragile(searches=TATOEBA.format.searches))
    training = {
        protocol: replace(training, task="broken", select=None)
        for protocol, training in COPA.training.items()
    }
    return [task, replace(COPA, name="broken", format=Broken(), training=training)]
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "fragile_plugin.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return path


def test_a_unit_that_fails_leaves_the_cell_partial_and_is_tried_again(
    home: Path, tmp_path: Path, plugin: Path
) -> None:
    recipe = replace(RECIPE, targets=("fragile", "tatoeba"))
    conditions = replace(SAMPLE, plugins=(str(plugin),))
    _, single, _ = cells(tmp_path / "experiment", recipe, conditions)
    ended = carry_out(single, Told())
    assert (ended.status, ended.stops) == ("partial", False)
    assert ended.error == "1 of 4 units failed (fragile/es); 3 done and written"
    (tmp_path / "mended").touch()
    told = Told()
    assert carry_out(single, told).status == "done"
    assert (told.trainings, told.units) == ([], ["fragile/es"])


def test_a_plugin_that_raises_in_a_training_fails_the_cell_in_one_line(
    home: Path, tmp_path: Path, plugin: Path
) -> None:
    settings = (Setting(name="broken", stages=(Stage(tasks=("broken",), hyper=FAST),)),)
    recipe = replace(RECIPE, settings=settings)
    (broken,) = cells(tmp_path / "experiment", recipe, replace(SAMPLE, plugins=(str(plugin),)))
    ended = carry_out(broken, Told())
    assert (ended.status, ended.stops) == ("failed", False)
    assert ended.error.startswith("broken/train: plugin fragile_plugin of ")
    assert ended.error.endswith("raised ZeroDivisionError: one by nothing")


def test_a_plugin_that_is_not_there_fails_the_cell(home: Path, tmp_path: Path) -> None:
    ended = carry_out(cells(tmp_path, RECIPE, replace(SAMPLE, plugins=("gone.py",)))[0], Told())
    assert ended.status == "failed"
    assert "gone.py" in ended.error


def test_a_full_disk_stops_everything_and_is_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unlike other failures: no other cell could keep its results either."""
    baseline, *_ = cells(tmp_path)

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        ended = carry_out(baseline, Told())
    assert (ended.status, ended.stops) == ("failed", True)
    assert "the disk is full; free some space and run the same command again" in ended.error
    assert carry_out(baseline, Told()).status == "done"


def test_a_run_folder_of_something_else_fails_its_cell_alone(home: Path, tmp_path: Path) -> None:
    baseline, *_ = cells(tmp_path)
    baseline.folder.mkdir(parents=True)
    (baseline.folder / "thesis.tex").write_text("mine\n", encoding="utf-8")
    ended = carry_out(baseline, Told())
    assert (ended.status, ended.stops) == ("failed", False)
    assert "thesis.tex" in ended.error


def test_a_cache_that_cannot_be_written_stops_everything(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "blocked").write_text("mine\n", encoding="utf-8")
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "blocked"))
    ended = carry_out(cells(tmp_path / "experiment")[0], Told())
    assert (ended.status, ended.stops) == ("failed", True)
    assert "HARNESS_HOME" in ended.error
    assert (tmp_path / "blocked").read_text(encoding="utf-8") == "mine\n"


def test_an_interruption_is_passed_on(home: Path, tmp_path: Path) -> None:
    class Interrupting(Told):
        def finished(self, unit: Unit, records: Sequence[Any]) -> None:
            super().finished(unit, records)
            raise KeyboardInterrupt

    baseline, *_ = cells(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        carry_out(baseline, Interrupting())
    assert open_run(baseline.folder).manifest["status"] == "interrupted"
    told = Told()
    assert carry_out(baseline, told).status == "done"
    assert (told.pending, len(told.units)) == ([3], 3)
