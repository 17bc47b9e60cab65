"""The parts of a training step, and what can go wrong in one: no number, no memory, no room on the disk."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Trainer as TheirTrainer
from transformers import get_linear_schedule_with_warmup

from harness import ModelError, OutputError
from harness.engine import accumulation, gradients
from harness.engine.headed import Headed
from harness.engine.lessons import Examples, Step, total_steps
from harness.engine.optimizer import adamw, rate_factor
from harness.engine.train import Hooks, Trainer
from harness.formats.base import Head
from harness.formats.rows import Rows
from harness.spec import Schedule

SHORT = Schedule(epochs=3, batch_size=4, learning_rate=1e-3, warmup=0.2, weight_decay=0.01)


class Bag(nn.Module):
    """The mean of word vectors with dropout, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.words = nn.Embedding(20, 8)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(8, 3)

    def forward(self, ids: Tensor, mask: Tensor | None, segments: Tensor | None) -> Tensor:
        inside = (torch.ones_like(ids) if mask is None else mask)[:, :, None]
        mean = (self.words(ids) * inside).sum(dim=1) / inside.sum(dim=1)
        scores: Tensor = self.out(self.dropout(mean))
        return scores


class Bench:
    """Makes small models and trainers, always from the same beginning."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        random = np.random.default_rng(0)
        starts = np.concatenate([[0], np.cumsum(random.integers(3, 12, 10))])
        ids = random.integers(1, 20, starts[-1]).astype(np.int32)
        owner = np.arange(10)
        self.rows = Rows(ids=ids, segments=np.zeros(len(ids), dtype=np.uint8), starts=starts, owner=owner)
        self.targets = random.integers(0, 3, 10)

    def headed(self) -> Headed:
        tokenizer: Any = SimpleNamespace(padding=0, template=SimpleNamespace(segments=False))
        return Headed(
            module=Bag(),
            head=Head(kind="pooled", labels=("a", "b", "c")),
            tokenizer=tokenizer,
            device=torch.device("cpu"),
            dtype=torch.float32,
            name="bag",
        )

    def trainer(self, headed: Headed, folder: str = "work", **changes: Any) -> Trainer:
        given: dict[str, Any] = {"micro_tokens": 30, **changes}
        return Trainer(
            lessons=[lesson_of(headed, self.rows, self.targets)],
            schedule=SHORT,
            seed=5,
            dtype="float32",
            folder=self.folder / folder,
            **given,
        )


def lesson_of(headed: Headed, rows: Rows, targets: Any, schedule: Schedule = SHORT) -> Examples:
    """What is learned of rows."""
    return Examples(
        headed=headed, rows=rows, targets=targets, batch_size=schedule.batch_size, epochs=schedule.epochs
    )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A small training of nine steps."""
    return Bench(tmp_path)


def weights(headed: Headed) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: value.detach().clone() for name, value in headed.module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether weights agree bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def told(trainer: Trainer) -> dict[str, Any]:
    """Everything that progress says, save for time."""
    return {name: getattr(trainer.progress, name) for name in trainer.progress.__slots__ if name != "seconds"}


@settings(deadline=None)
@given(steps=st.integers(1, 400), warmup=st.integers(0, 500) | st.floats(0, 0.999))
def test_the_learning_rate_is_that_of_transformers(steps: int, warmup: float) -> None:
    schedule = Schedule(epochs=1, batch_size=1, learning_rate=1.0, warmup=warmup)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    count = int(warmup) if warmup >= 1 else int(np.ceil(warmup * steps))
    scheduled: Any = get_linear_schedule_with_warmup
    oracle = scheduled(optimizer, count, steps).lr_lambdas[0]
    of_interest = {0, 1, count - 1, count, count + 1, steps // 2, steps - 1, steps}
    for step in of_interest & set(range(steps + 1)):
        assert rate_factor(step, steps, schedule) == pytest.approx(oracle(step), abs=1e-12)


@pytest.mark.parametrize(
    ("rows", "epochs", "batch", "most", "expected"),
    [(10, 3, 4, None, 9), (8, 3, 4, None, 6), (10, 0.5, 4, None, 2), (10, 3, 4, 5, 5), (1, 1, 32, 100, 1)],
)
def test_steps_follow_from_rows_and_schedule(
    rows: int, epochs: float, batch: int, most: int | None, expected: int
) -> None:
    """A last batch that is not full is a step."""
    schedule = Schedule(epochs=epochs, batch_size=batch, learning_rate=1.0, max_steps=most)
    starts = np.arange(rows + 1)
    many = Rows(
        ids=np.zeros(rows, dtype=np.int32),
        segments=np.zeros(rows, dtype=np.uint8),
        starts=starts,
        owner=np.arange(rows),
    )
    lesson = lesson_of(cast("Headed", SimpleNamespace(head=Head(kind="pooled"))), many, None, schedule)
    assert total_steps([lesson], most) == expected


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=30), budget=st.integers(1, 300), data=st.data()
)
def test_micro_batches_part_the_rows_within_the_budget(lengths: list[int], budget: int, data: Any) -> None:
    """Padding included; a row that alone is longer has a micro-batch to itself."""
    rows = np.array(data.draw(st.permutations(range(len(lengths)))), dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    step = Step(
        ids=np.zeros(starts[-1], dtype=np.int32),
        segments=np.zeros(starts[-1], dtype=np.uint8),
        starts=starts,
        rows=rows,
        sizes=np.ones(len(rows), dtype=np.int64),
        targets=np.zeros(len(rows), dtype=np.int64),
        items=rows,
        scored=len(rows),
    )
    parts = [rows[places].tolist() for places in step.micro(budget)]
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    assert all(len(part) == 1 or max(lengths[row] for row in part) * len(part) <= budget for part in parts)
    longest = [lengths[part[0]] for part in parts]
    assert longest == sorted(longest, reverse=True)


@pytest.mark.parametrize("family", ["Bert", "XLMRoberta", "RemBert", "DebertaV2", "ModernBert"])
@pytest.mark.parametrize("stem", ["ForSequenceClassification", "ForTokenClassification"])
def test_weight_decay_spares_what_transformers_spares(family: str, stem: str) -> None:
    """Biases and LayerNorms; every parameter is in one group."""
    with torch.device("meta"):
        config = getattr(transformers, f"{family}Config")(num_hidden_layers=1)
        model: nn.Module = getattr(transformers, f"{family}{stem}")(config)
    oracle: Any = TheirTrainer.get_decay_parameter_names
    decayed, plain = adamw(model, replace(SHORT, weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.3, 0.0)
    names = {id(value): name for name, value in model.named_parameters()}
    assert {names[id(value)] for value in decayed["params"]} == set(oracle(None, model))
    assert len(decayed["params"]) + len(plain["params"]) == len(names)


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_no_number_ends_the_training_and_the_state_stays(bench: Bench, what: str) -> None:
    """Told with step, dtype and rate; from the state that is kept a healthy training goes on to the same end."""
    headed = bench.headed()
    bench.trainer(headed, folder="whole").run()
    whole, sick = weights(headed), bench.headed()
    trainer = bench.trainer(sick, save_seconds=0.0)
    nan = float("nan")
    if what == "loss":
        module: Any = sick.module
        module.register_forward_hook(lambda _, __, out: out * nan if trainer.progress.step == 3 else None)
    else:
        first: Any = next(sick.module.parameters())
        first.register_hook(lambda g: g * nan if trainer.progress.step == 3 else None)
    with pytest.raises(ModelError, match=rf"the {what} of step 4 of 9 is (nan|not finite) in float32"):
        trainer.run()
    assert [path.name for path in (bench.folder / "work").iterdir()] == ["state-000000003"]
    headed = bench.headed()
    bench.trainer(headed).run()
    assert same(weights(headed), whole)


def scarce(headed: Headed, room: int) -> None:
    """Let the module run out of memory where a micro-batch has more tokens than fit."""

    def check(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs[0].numel() > room:
            raise torch.OutOfMemoryError("made up")

    headed.module.register_forward_pre_hook(check)


def test_running_out_of_memory_halves_the_micro_batch(bench: Bench) -> None:
    """Dropout included, the result is that of a training that began with what fits."""
    room = 2 * int(bench.rows.lengths.max()) + 1
    poor, rich = bench.headed(), bench.headed()
    scarce(poor, room)
    first = bench.trainer(poor, micro_tokens=8 * room, folder="poor")
    first.run()
    second = bench.trainer(rich, micro_tokens=first.progress.micro_tokens, folder="rich")
    second.run()
    assert first.progress.micro_tokens == room
    assert same(weights(poor), weights(rich))
    assert told(first) == told(second)


def test_a_row_that_does_not_fit_is_an_error_with_advice(bench: Bench) -> None:
    headed = bench.headed()
    scarce(headed, 5)
    with pytest.raises(
        ModelError, match=r"one row of \d+ tokens does not fit the memory of cpu while training; use --g"
    ):
        bench.trainer(headed).run()


def test_no_room_for_the_optimizer_is_an_error_of_one_line(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AdamW takes its memory in the first step."""

    def step(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("made up")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    with pytest.raises(ModelError, match="does not fit the memory of cpu"):
        bench.trainer(bench.headed()).run()


def made_up(*_: Any, **__: Any) -> Any:
    """Run out of memory."""
    raise torch.OutOfMemoryError("made up")


def test_no_room_for_adding_up_gradients_is_an_error_of_one_line(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was saved before is there, and with more room the training ends as it would have."""
    whole = bench.headed()
    bench.trainer(whole, folder="whole").run()
    with monkeypatch.context() as patched:
        real, calls = gradients.sum_gradients, list[int]()

        def scarce_later(*arguments: Any) -> float:
            calls.append(len(calls))
            return made_up() if len(calls) == 5 else real(*arguments)

        patched.setattr(accumulation, "sum_gradients", scarce_later)
        with pytest.raises(
            ModelError, match=r"gradients of all processes do not fit the memory of cpu.*lora_rank"
        ):
            bench.trainer(bench.headed(), save_seconds=0.0).run()
    assert [path.name for path in (bench.folder / "work").iterdir()] == ["state-000000004"]
    again = bench.headed()
    bench.trainer(again).run()
    assert same(weights(again), weights(whole))


def test_no_room_for_what_is_held_out_is_an_error_of_one_line(bench: Bench) -> None:
    with pytest.raises(ModelError, match=r"held-out texts do not fit the memory of cpu.*mlm\.max_length"):
        bench.trainer(bench.headed(), hooks=Hooks(watch=made_up)).run()


def test_a_full_disk_keeps_the_older_state_and_the_training_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    headed = bench.headed()
    bench.trainer(headed, folder="whole").run()
    saves: list[Path] = []

    def full(tensors: dict[str, Tensor], path: Path) -> None:
        saves.append(path)
        if len(saves) > 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(tensors, path)

    with monkeypatch.context() as patched:
        patched.setattr("harness.engine.trainstate.save_file", full)
        with pytest.raises(OutputError, match="the disk is full"):
            bench.trainer(bench.headed(), save_seconds=0.0).run()
    assert [path.name for path in (bench.folder / "work").iterdir()] == ["state-000000002"]
    again, started = bench.headed(), list[tuple[int, int]]()
    bench.trainer(again, hooks=Hooks(started=lambda steps, done: started.append((steps, done)))).run()
    assert started == [(9, 2)]
    assert same(weights(again), weights(headed))
