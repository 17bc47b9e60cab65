"""Several processes that train and predict together: what they tell each other, and that they compute what one does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from harness.engine.gradients import dropout_seed, sum_gradients
from harness.engine.lessons import Step
from harness.engine.meeting import leave, own_device
from harness.engine.ranks import ALONE, Ranks
from harness.errors import UsageError
from harness.place import Place, is_first, place

PROGRAMS = Path(__file__).parent / "programs"
LAUNCHED = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "here", "MASTER_PORT": "1"}
Together = Callable[..., Any]


# Which process this is


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Place()),
        ({"WORLD_SIZE": "2"}, Place()),
        ({"RANK": "0", "WORLD_SIZE": "1"}, Place()),
        (LAUNCHED, Place(rank=1, size=4, local=1)),
        ({**LAUNCHED, "RANK": "3"}, Place(rank=3, size=4, local=1)),
    ],
)
def test_a_launcher_says_which_process_this_is(environment: dict[str, str], expected: Place) -> None:
    assert place(environment) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RANK": "4"}, "RANK=4 WORLD_SIZE=4 LOCAL_RANK=1: a rank is at least 0 and below WORLD_SIZE"),
        ({"RANK": "-1"}, "RANK=-1"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK at most RANK"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two LOCAL_RANK=1: give whole numbers, as torchrun does"),
        ({"LOCAL_RANK": None, "MASTER_PORT": None}, "LOCAL_RANK, MASTER_PORT not; start with torchrun"),
    ],
)
def test_a_contradiction_is_told(
    changes: dict[str, str | None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {name: value for name, value in {**LAUNCHED, **changes}.items() if value is not None}
    with pytest.raises(UsageError, match=message):
        place(environment)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert is_first()


def test_each_process_has_a_device_of_its_own() -> None:
    assert own_device("cuda:1", Place()) == "cuda:1"
    assert own_device("cpu", Place(rank=1, size=2, local=1)) == "cpu"
    with pytest.raises(
        UsageError, match="--device cuda:0: each of the 2 processes takes a device of its own"
    ):
        own_device("cuda:0", Place(rank=1, size=2, local=1))
    count = torch.cuda.device_count()
    with pytest.raises(
        UsageError, match=f"process 99 of this machine has no CUDA device, for torch sees {count}"
    ):
        own_device("cuda", Place(rank=99, size=100, local=99))


# What they tell each other


def test_alone_everything_is_done_here_and_now() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    items = [
        (item, array.tolist())
        for item, array in ALONE.in_turn([1, 2], lambda item: np.full(1, item, np.float32))
    ]
    assert items == [(1, [1.0]), (2, [2.0])]
    assert list(ALONE.in_step([1, 2])) == [1, 2]
    assert sum_gradients(ALONE, [parameter], 0.5) == 0.5
    assert parameter.grad is None
    assert ALONE.from_first(lambda: object) is ALONE.each(lambda: object)
    assert ALONE.exchange("x", b"y") == [b"y"]
    assert leave(ALONE, 2, wait=1.0) is None


@pytest.fixture(scope="module")
def told(together: Together) -> list[dict[str, Any]]:
    """What three processes said, in which one thing after the other was tried."""
    done = together(PROGRAMS / "exchanges.py", size=3)
    assert [entry.code for entry in done] == [0, 0, 0], "".join(entry.err for entry in done)
    return [json.loads(entry.out) for entry in done]


def sums(count: int) -> list[list[float]]:
    """What the first process is to be given for so many items."""
    return [[item, item * 2 * (item + 0.5)] for item in range(count)]


def test_three_processes_stay_in_step_whatever_fails(told: list[dict[str, Any]]) -> None:
    """One after the other in the same processes: after each error they go on as if nothing had been."""
    first, second, third = told
    assert [entry["rank"] for entry in told] == [entry["each"] for entry in told] == [0, 1, 2]
    expected: dict[str, Any] = {
        "exchange": ["", "-", "--"],
        "first": [0, 0.1 + 0.2],
        "known": ["UnknownNameError", "unknown task 'a'; there are: b"],
        "memory": ["OutOfMemoryError", "full"],
        "interrupt": ["KeyboardInterrupt", ""],
        "first fails": ["DataError", "gone"],
        "agree": [],
        "summed": {"a": 3, "b": 3},
        "steps": [0, 1, 2, 3],
    }
    for name, value in expected.items():
        assert [entry[name] for entry in told] == [value] * 3, name
    assert third["strange"] == ["RuntimeError", "odd"]
    assert first["strange"] == second["strange"] == ["ModelError", "RuntimeError in process 2: odd"]
    for entry in told:
        assert entry["disagree"][0] == "UsageError"
        assert "3 processes of this run do not have the same plan" in entry["disagree"][1]
    assert [entry["stopped"] for entry in told] == [[0, 1], [0, 1], [0, 1]]


def test_items_are_divided_by_number_and_come_in_order(told: list[dict[str, Any]]) -> None:
    first, *others = told
    for name, count in (("all", 11), ("few", 2), ("none", 0)):
        assert first[name] == [sums(count), []]
        assert [entry[name] for entry in others] == [[[], []]] * 2
    assert first["elsewhere"] == [sums(4), ["DataError", "item 4"]]
    assert first["here"] == [sums(6), ["DataError", "item 6"]]
    assert first["reader"] == [sums(4), ["DataError", "reader 4"]]
    for name in ("elsewhere", "here", "reader"):
        assert [entry[name] for entry in others] == [[[], first[name][1]]] * 2


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=12),
    budget=st.integers(1, 60),
    ranks=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_every_item_of_a_step_is_learned_by_one_process(
    sizes: list[int], budget: int, ranks: int, seed: int
) -> None:
    lengths = np.random.default_rng(seed).integers(1, 20, sum(sizes))
    step = Step(
        ids=np.zeros(lengths.sum(), np.int32),
        segments=np.zeros(lengths.sum(), np.uint8),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        rows=np.arange(len(lengths)),
        sizes=np.array(sizes),
        targets=np.zeros(len(sizes), np.int64),
        items=np.arange(len(sizes)),
        scored=len(sizes),
    )
    shares = [np.concatenate([*step.micro(budget, rank, ranks), []]) for rank in range(ranks)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(len(sizes)))
    counts = [len(share) for share in shares]
    assert max(counts) - min(counts) <= 1
    if ranks == 1:
        assert [part.tolist() for part in step.micro(budget)] == [
            p.tolist() for p in step.micro(budget, 0, 1)
        ]


def test_gradients_are_the_sum_over_all_processes(told: list[dict[str, Any]]) -> None:
    """The same bits everywhere and each time; without one where nobody has one."""
    value, total, bits = told[0]["gradients"]
    assert [entry["gradients"] for entry in told] == [[value, total, bits]] * 3
    assert told[0]["gradients again"] == [value, total, bits]
    assert value == pytest.approx(0.6)
    expected = [0.0] * 4
    for rank in range(3):
        generator = torch.Generator().manual_seed(rank)
        for number, size in enumerate([(300, 300), (3,), (2, 5), (4,)]):
            if number < 3 or rank == 1:
                expected[number] += torch.randn(size, generator=generator).double().sum().item()
    assert total[:4] == pytest.approx(expected, abs=1e-3)
    assert total[4] is None


def test_dropout_is_another_one_in_each_process_and_step(told: list[dict[str, Any]]) -> None:
    """It follows from seed, step and rank, which are not mixed up."""
    seeds = [seed for entry in told for seed in entry["seeds"]]
    assert len(set(seeds)) == 9
    assert seeds[3:6] == [dropout_seed(Ranks(place=Place(rank=1, size=2)), 5, step) for step in range(3)]
    assert dropout_seed(Ranks(place=Place(rank=1, size=2)), 6, 0) not in seeds


# What they learn


def asked(folder: Path, name: str, task: str = "mnli", **changes: Any) -> dict[str, Any]:
    """A training of nine items in batches of 4, 4 and 1: in the last one the second process has nothing to do."""
    return {
        "task": task,
        "count": 9,
        "folder": str(folder / name),
        "weights": str(folder / f"{name}.safetensors"),
        "dropout": 0.0,
        **changes,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """Trainings in one process and in two.

    Attributes:
        one: Name to what came of it in one process; ``two`` likewise in each of two.
        folder: Where their weights are.
    """

    one: dict[str, dict[str, Any]]
    two: dict[str, list[dict[str, Any]]]
    folder: Path


ONE = ("mnli", "panx", "stopped")
TWO = ("mnli 2", "panx 2", "dropout", "again", "full", "interrupt", "dropout after", "stopped")


@pytest.fixture(scope="module")
def learned(together: Together, tmp_path_factory: pytest.TempPathFactory) -> Learned:
    """Nine trainings, some of which go on where another one was stopped."""
    folder = tmp_path_factory.mktemp("learned")
    dropout: dict[str, Any] = {"dropout": 0.1}
    work = str(folder / "stopped")
    ones = [
        asked(folder, "mnli"),
        asked(folder, "panx", "panx"),
        asked(folder, "stopped", interrupt=[0, 5], **dropout),
    ]
    twos = [
        asked(folder, "mnli 2"),
        asked(folder, "panx 2", "panx"),
        asked(folder, "dropout", **dropout),
        asked(folder, "again", **dropout),
        asked(folder, "full", full=1),
        asked(folder, "interrupt", interrupt=[1, 5], **dropout),
        {**asked(folder, "dropout after", **dropout), "folder": str(folder / "interrupt")},
        {**asked(folder, "stopped after", **dropout), "folder": work},
    ]
    (alone,) = together(PROGRAMS / "learning.py", json.dumps(ones), size=1)
    assert alone.code == 0, alone.err
    both = together(PROGRAMS / "learning.py", json.dumps(twos))
    assert [entry.code for entry in both] == [0, 0], both[0].err + both[1].err
    each = [json.loads(entry.out) for entry in both]
    return Learned(
        one=dict(zip(ONE, json.loads(alone.out), strict=True)),
        two={name: [part[number] for part in each] for number, name in enumerate(TWO)},
        folder=folder,
    )


@pytest.mark.full
@pytest.mark.parametrize("task", ["mnli", "panx"])
def test_two_processes_learn_what_one_does(learned: Learned, task: str) -> None:
    """Up to how sums are rounded: losses, gradients' norms, selection, weights."""
    one, two = learned.one[task], learned.two[f"{task} 2"][0]
    for name in ("step", "tokens", "best_step", "selection", "micro_tokens"):
        assert two[name] == one[name], name
    for name in ("loss", "gradient_norm", "learning_rate"):
        assert [point[name] for point in two["curve"]] == pytest.approx(
            [point[name] for point in one["curve"]], rel=1e-5
        )
    first, second = (load_file(learned.folder / f"{name}.safetensors") for name in (task, f"{task} 2"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-6, rtol=1e-4, msg=name)
    assert one["digest"] != two["digest"], "nothing was divided"


@pytest.mark.full
def test_all_processes_have_the_same_weights_each_time(learned: Learned) -> None:
    for name, parts in learned.two.items():
        assert parts[0] == parts[1], name
    assert learned.two["dropout"] == learned.two["again"]
    assert learned.two["dropout"][0]["digest"] != learned.two["mnli 2"][0]["digest"]


@pytest.mark.full
def test_memory_that_does_not_suffice_in_one_halves_the_batches_of_all(learned: Learned) -> None:
    full, plain = learned.two["full"][0], learned.two["mnli 2"][0]
    assert (full["micro_tokens"], plain["micro_tokens"]) == (50, 100)
    assert full["tokens"] == plain["tokens"]
    first, second = (load_file(learned.folder / f"{name}.safetensors") for name in ("full", "mnli 2"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.full
def test_an_interrupt_of_one_stops_all_and_they_go_on_to_the_same_bits(learned: Learned) -> None:
    stopped = learned.two["interrupt"]
    assert [entry["error"] for entry in stopped] == ["KeyboardInterrupt"] * 2
    assert 0 < stopped[0]["step"] < 9
    assert learned.two["dropout after"] == learned.two["dropout"]


@pytest.mark.full
def test_a_training_of_one_process_goes_on_in_two(learned: Learned) -> None:
    """It says from which step on how many processes were at it."""
    begun, done = learned.one["stopped"], learned.two["stopped"][0]
    assert begun["error"] == "KeyboardInterrupt"
    assert begun["ranks"] == []
    assert done["ranks"] == [[begun["step"], 2]]
    assert done["step"] == 9
    assert done["curve"][: begun["step"]] == begun["curve"]
    assert learned.two["dropout"][0]["ranks"] == [[0, 2]]


@pytest.mark.full
def test_where_one_is_killed_the_other_ends_and_nothing_is_lost(together: Together, tmp_path: Path) -> None:
    """It saves the state in which it is left alone, and one process goes on from there."""
    plan = asked(tmp_path, "killed", kill=[1, 5], dropout=0.1)
    first, second = together(PROGRAMS / "learning.py", json.dumps([plan]))
    assert second.code == -9
    assert first.code == 4, first.err
    (left,) = json.loads(first.out)
    assert left["error"] == "LostRank"
    assert 0 < left["step"] < 9
    assert [path.name for path in sorted((tmp_path / "killed").glob("state-*"))] == [
        f"state-{left['step']:09d}"
    ]
    (alone,) = together(PROGRAMS / "learning.py", json.dumps([{**plan, "kill": None}]), size=1)
    (done,) = json.loads(alone.out)
    assert done["step"] == 9
    assert done["ranks"] == [[0, 2], [left["step"], 1]]
    assert done["curve"][: left["step"]] == left["curve"]
