"""Exactness of intermediate schedules: what is to be the same training is, bit for bit, however it is asked for or stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from harness import tuning
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint, open_checkpoint
from harness.curriculum import Phase
from harness.engine.session import Compute
from harness.engine.train import MICRO_TOKENS
from harness.heads import HEAD_WEIGHTS, HEADS
from harness.intermediate import StagePlanner
from harness.phases import PhasePlanner
from harness.progress import Silent
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.stageoptions import StageOptions, stages_of
from harness.stages import MaskedShare, Stage
from harness.teaching import Teaching
from harness.training import Chain, put, trained

SAMPLE = DataLocation(kind="sample")
HYPER = {
    "epochs": "2",
    "batch_size": "8",
    "learning_rate": "1e-3",
    "warmup": "0.2",
    "evaluate_every": "3",
    "max_steps": "5",
    "max_length": "40",
}
FAST: Mapping[str, Mapping[str, str]] = {"": HYPER}
MIXED = Stage(
    tasks=("hellaswag", "mnli", "squad_v1"),
    masked=MaskedShare(share=0.3),
    hyper={"": {**HYPER, "max_steps": "10"}},
)
Told = dict[str, Any]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """What is installed."""
    return load_catalog(())


@pytest.fixture(scope="module")
def parent(tiny_model: Callable[..., Checkpoint]) -> Checkpoint:
    """An encoder small enough to be trained many times."""
    return tiny_model("xlm-roberta")


class Bench:
    """Plans and trains, in caches of their own."""

    def __init__(self, catalog: Catalog, parent: Checkpoint, folder: Path) -> None:
        self.catalog, self.parent, self.folder = catalog, parent, folder

    def phase(self, stage: Stage, parent: Checkpoint | None = None) -> Phase:
        """The phase of a stage with seed 1."""
        planner = StagePlanner(
            catalog=self.catalog, location=SAMPLE, protocol="phang2020", seed=1, dtype="float32"
        )
        return planner.phase(stage, parent or self.parent)

    def obtain(
        self, phase: Phase, home: str = "home", listener: Silent | None = None, **changes: Any
    ) -> Checkpoint:
        """Its checkpoint, from one of the caches."""
        given: dict[str, Any] = {"device": "cpu", "dtype": "float32", "given_tokens": None, **changes}
        compute = Compute(home=self.folder / home, **given)
        return tuning.obtain(phase, self.catalog, SAMPLE, compute, listener or Silent()).checkpoint


@pytest.fixture
def bench(catalog: Catalog, parent: Checkpoint, tmp_path: Path) -> Bench:
    """With empty caches."""
    return Bench(catalog, parent, tmp_path)


def weights(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Every tensor of a checkpoint's encoder and of the heads beside it."""
    found = dict(load_file(checkpoint.folder / "model.safetensors"))
    for path in sorted((checkpoint.folder / HEADS).glob(f"*/{HEAD_WEIGHTS}")):
        found.update({f"{path.parent.name}/{name}": value for name, value in load_file(path).items()})
    return found


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that are not the same bits on both sides."""
    both = one.keys() & other.keys()
    return sorted(
        (one.keys() ^ other.keys()) | {name for name in both if not torch.equal(one[name], other[name])}
    )


def facts(checkpoint: Checkpoint) -> Told:
    """What a checkpoint says of itself, save for time."""
    told: Told = json.loads((checkpoint.folder / "training.json").read_text(encoding="utf-8"))
    return {name: value for name, value in told.items() if name not in ("seconds", "finished")}


# One task


def test_one_task_is_the_same_stage_under_both_schedules(bench: Bench) -> None:
    hyper = [f"{name}={value}" for name, value in HYPER.items()]
    stages = [
        stages_of(StageOptions(tasks=["mnli"], hyper=hyper, schedule="multitask")),
        stages_of(StageOptions(tasks=["mnli"], hyper=hyper, schedule="sequential")),
    ]
    assert [len(found) for found in stages] == [1, 1]
    phases = [bench.phase(found[0]) for found in stages]
    assert phases[0].key == phases[1].key
    made = [bench.obtain(phase, home) for phase, home in zip(phases, ("one", "other"), strict=True)]
    assert differing(weights(made[0]), weights(made[1])) == []
    assert made[0].weights == made[1].weights
    assert facts(made[0]) == facts(made[1])


@pytest.mark.parametrize("task", ["mnli", "hellaswag", "squad_v1", "ccg"])
def test_one_task_is_learned_as_a_target_is(bench: Bench, task: str) -> None:
    """Every head: the encoder beside its head has the bits of the model class that ends in it, and the head too."""
    phase = bench.phase(Stage(tasks=(task,), hyper=FAST))
    target = replace(phase, intermediate=False, watched=())
    assert target.key != phase.key
    beside, single = weights(bench.obtain(phase)), weights(bench.obtain(target))
    start = load_file(bench.parent.folder / "model.safetensors")
    encoder = {
        name.removeprefix("roberta."): value for name, value in single.items() if name.startswith("roberta.")
    }
    head = {name: value for name, value in single.items() if not name.startswith("roberta.")}
    assert len(encoder) > 30
    assert [name for name, value in encoder.items() if not torch.equal(beside[name], value)] == []
    assert [
        name for name, value in encoder.items() if name in start and torch.equal(start[name], value)
    ] == []
    mine = {
        name.partition("/")[2].removeprefix("model."): value for name, value in beside.items() if "/" in name
    }
    assert differing(mine, head) == []


def test_one_task_is_planned_as_a_target_is(bench: Bench) -> None:
    """With the same hyper-parameters everything that decides the result is equal, but for what is written."""
    stage = bench.phase(Stage(tasks=("mnli",), hyper=FAST))
    same = {
        name: "none" if (value := getattr(stage.schedule, name)) is None else str(value)
        for name in (*list(HYPER)[:-1], "weight_decay", "patience", "select_limit", "clip", "dropout")
    }
    planner = PhasePlanner(catalog=bench.catalog, location=SAMPLE, teaching=Teaching(hyper={"": same}))
    target = planner.phase(
        bench.catalog.task("mnli"), "phang2020", bench.parent, 1, stage.courses[0].max_length
    )
    assert {**target.facts, "intermediate": {}} == stage.facts
    assert target.facts["intermediate"] is None


def test_a_masked_share_of_nothing_is_no_masked_share(bench: Bench) -> None:
    stage = Stage(tasks=("mnli", "qqp"), hyper=FAST)
    without, none = bench.phase(stage), bench.phase(replace(stage, masked=MaskedShare(share=0.0, alpha=0.7)))
    assert [course.learn.task.name for course in none.courses] == ["mnli", "qqp"]
    assert none.key == without.key != bench.phase(replace(stage, masked=MaskedShare(share=0.1))).key
    made = [bench.obtain(without, "without"), bench.obtain(none, "none")]
    assert differing(weights(made[0]), weights(made[1])) == []


def test_what_is_learned_is_seen_in_the_weights(bench: Bench) -> None:
    """Another seed, another sampler and masked LM each make another model: equality above is no accident."""
    stage = Stage(tasks=("mnli", "qqp"), hyper=FAST)
    one = bench.obtain(bench.phase(stage))
    others = [replace(bench.phase(stage), seed=4), bench.phase(replace(stage, masked=MaskedShare(share=0.4)))]
    for phase in others:
        other = bench.obtain(phase)
        assert other.weights != one.weights
        assert len(differing(weights(one), weights(other))) > 30


# Sequences


def test_a_sequence_is_its_parts_one_after_the_other(bench: Bench, tmp_path: Path) -> None:
    """[a, b, a with masked LM] at once, and each from the folder into which the one before was put."""
    stages = [
        Stage(tasks=("mnli",), hyper=FAST),
        Stage(tasks=("squad_v1",), hyper=FAST),
        Stage(tasks=("qqp",), masked=MaskedShare(share=0.3), hyper=FAST),
    ]
    chain = Chain(
        base=bench.parent, stages=stages, location=SAMPLE, protocol="phang2020", seed=1, dtype="float32"
    )
    compute = Compute(device="cpu", dtype="float32", given_tokens=None, home=tmp_path / "whole")
    whole = trained(chain, bench.catalog, compute, Silent())
    checkpoint, keys = bench.parent, []
    for number, stage in enumerate(stages):
        phase = bench.phase(stage, checkpoint)
        keys.append(phase.key)
        put(bench.obtain(phase, f"home{number}"), tmp_path / f"out{number}")
        checkpoint = open_checkpoint(str(tmp_path / f"out{number}"))
    assert sorted(keys) == sorted(
        path.name for path in (tmp_path / "whole/checkpoints").iterdir() if path.is_dir()
    )
    assert checkpoint.weights == whole.weights
    assert differing(weights(whole), weights(checkpoint)) == []
    assert [told["key"] for told in whole.lineage] == [told["key"] for told in checkpoint.lineage] == keys
    assert {head.digest for head in whole.heads.values()} == {
        head.digest for head in checkpoint.heads.values()
    }


def test_what_is_there_is_not_trained_again(bench: Bench) -> None:
    stage, listener = Stage(tasks=("mnli",), hyper=FAST), Stopper()
    first = bench.obtain(bench.phase(stage), listener=listener)
    assert listener.began == [0]
    assert bench.obtain(bench.phase(stage), listener=listener) == first
    assert listener.began == [0]


# Interruption


class Stopper(Silent):
    """Raises KeyboardInterrupt after some steps or scores; remembers from where a training went on."""

    def __init__(self, steps: int = -1, scores: int = -1) -> None:
        self.left, self.scores, self.began = steps, scores, list[int]()

    def training(self, phase: Phase, steps: int, done: int) -> None:
        self.began.append(done)

    def trained(self, step: int, loss: float) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def selected(self, step: int, score: float) -> None:
        self.scores -= 1
        if self.scores == 0:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def undisturbed(catalog: Catalog, parent: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Three tasks with masked LM in one go."""
    bench = Bench(catalog, parent, tmp_path_factory.mktemp("undisturbed"))
    return bench.obtain(bench.phase(MIXED))


def test_realised_shares_are_told(undisturbed: Checkpoint) -> None:
    """What training.json says adds up, and every lesson had a turn, so that interruption below meets all of them."""
    told = facts(undisturbed)
    courses = {course["task"]: course for course in told["courses"]}
    assert list(courses) == ["hellaswag", "mnli", "squad_v1", "mlm"]
    assert sum(course["steps"] for course in courses.values()) == told["steps"] == 10
    assert all(course["steps"] > 0 for course in courses.values())
    assert all(course["share"] == course["steps"] / 10 for course in courses.values())
    assert courses["mlm"]["weight"] == 0.3
    sizes = {name: courses[name]["examples"] for name in ("hellaswag", "mnli", "squad_v1")}
    for name, size in sizes.items():
        assert courses[name]["weight"] == pytest.approx(0.7 * size / sum(sizes.values()))
    assert {name for point in told["curve"] for name in point["losses"]} == set(courses)
    assert [entry["step"] for entry in told["selection"]] == [3, 6, 9, 10]


@pytest.mark.parametrize("save_seconds", [pytest.param(300.0, marks=pytest.mark.full), 0.0])
@pytest.mark.parametrize(
    "stops",
    [
        [{"steps": 1}],
        [{"steps": 5}, {"steps": 1}, {"steps": 4}],
        [{"scores": 1}, {"scores": 1}, {"steps": 2}],
    ],
)
def test_an_interrupted_schedule_goes_on_to_the_same_weights(
    bench: Bench, undisturbed: Checkpoint, stops: list[dict[str, int]], save_seconds: float
) -> None:
    """With dropout, several heads, masked LM and selection; whether or not states were saved before."""
    phase = bench.phase(MIXED)
    done = 0
    for stop in stops:
        listener = Stopper(**stop)
        with pytest.raises(KeyboardInterrupt):
            bench.obtain(phase, listener=listener, save_seconds=save_seconds)
        assert listener.began == [done]
        (state,) = (bench.folder / f"home/checkpoints/{phase.key}.work").glob("state-*")
        done = int(state.name.partition("-")[2])
        assert done > 0
    torch.manual_seed(12345)  # another process would have other random numbers
    last = Stopper()
    checkpoint = bench.obtain(phase, listener=last)
    assert last.began == [done]
    assert differing(weights(checkpoint), weights(undisturbed)) == []
    assert checkpoint.weights == undisturbed.weights
    assert facts(checkpoint) == facts(undisturbed)
    assert not list((bench.folder / "home/checkpoints").glob("*.work"))


@pytest.mark.parametrize("way", ["micro-batches", "gradient checkpointing"])
def test_another_way_to_the_same_gradients_gives_nearly_equal_weights(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Without dropout, and with an epsilon that keeps Adam from blowing up what rounding leaves."""
    phase = bench.phase(MIXED)
    phase = replace(phase, schedule=replace(phase.schedule, dropout=0.0, adam_epsilon=1e-3))
    usual, start = weights(bench.obtain(phase)), weights(bench.parent)
    assert max(float((usual[name] - value).abs().max()) for name, value in start.items()) > 1e-4
    if way == "micro-batches":
        monkeypatch.setitem(MICRO_TOKENS, "cpu", 90)
    other = bench.obtain(phase, "other", gradient_checkpointing=way == "gradient checkpointing")
    assert (facts(other)["micro_tokens"] == 90) == (way == "micro-batches")
    for name, value in weights(other).items():
        torch.testing.assert_close(value, usual[name], atol=2e-6, rtol=1e-4, msg=name)


# Killed


def started(model: Path, home: Path) -> subprocess.Popen[str]:
    """``harness train`` in a process of its own, which saves its state after every step."""
    longer = {**HYPER, "max_steps": "10"}
    hyper = [f"--hyper={name}={value}" for name, value in longer.items()]
    command = [
        sys.executable,
        "-m",
        "harness",
        "train",
        "-m",
        str(model),
        "-t",
        "hellaswag,mnli,squad_v1",
        "--mlm-share",
        "0.3",
    ]
    command += [
        "--data",
        "sample",
        *hyper,
        "--device",
        "cpu",
        "-o",
        str(home / "out"),
    ]
    environment = {
        **os.environ,
        "HARNESS_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "HARNESS_SAVE_SECONDS": "0",
    }
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment, cwd=home
    )


def states(home: Path) -> set[str]:
    """Saved states below a cache folder."""
    return {path.name for path in home.glob("checkpoints/*.work/state-*")}


@pytest.mark.full
def test_a_killed_schedule_ends_in_the_same_folder(sample_model: Path, tmp_path: Path) -> None:
    """Killed -9 again and again, each time a few steps further."""
    homes = [tmp_path / "undisturbed", tmp_path / "killed"]
    for home in homes:
        home.mkdir()
    said = started(sample_model, homes[0]).communicate(timeout=600)[1]
    assert (homes[0] / "out").is_dir(), said
    kills = 0
    for _ in range(4):
        process = started(sample_model, homes[1])
        before, seen = states(homes[1]), set[str]()
        while process.poll() is None and len(seen - before) < 2:
            seen |= states(homes[1])
            time.sleep(0.005)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    said = started(sample_model, homes[1]).communicate(timeout=600)[1]
    assert kills >= 2
    whole, other = (open_checkpoint(str(home / "out")) for home in homes)
    assert differing(weights(whole), weights(other)) == [], said
    assert facts(whole) == facts(other)
    assert not list((homes[1] / "checkpoints").glob("*.work"))
    assert not list(homes[1].glob(".out-*"))
