"""The training engine: the same numbers as a plain PyTorch loop, whatever the memory and however often it is stopped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    get_linear_schedule_with_warmup,
)

from harness import ModelError, sources
from harness.checkpoints import Checkpoint, open_checkpoint
from harness.engine import trainstate
from harness.engine.headed import Headed, new_headed, save_headed
from harness.engine.lessons import Examples
from harness.engine.optimizer import rate_factor
from harness.engine.predict import Asked, Predictor
from harness.engine.train import Hooks, Trainer
from harness.engine.trainstate import Progress
from harness.formats.base import HeadFormat
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.spec import Schedule

KINDS = {"pooled": "mnli", "token": "panx", "span": "squad_v1"}
CLASSES: dict[str, Any] = {
    "pooled": AutoModelForSequenceClassification,
    "token": AutoModelForTokenClassification,
    "span": AutoModelForQuestionAnswering,
}
SHORT = Schedule(epochs=3, batch_size=4, learning_rate=1e-3, warmup=0.2, weight_decay=0.01)


@pytest.fixture(scope="module")
def checkpoint(sample_model: Path) -> Checkpoint:
    """The built-in model."""
    return open_checkpoint(str(sample_model))


def examples_of(kind: str, count: int) -> tuple[HeadFormat, list[Any]]:
    """Built-in training data of a head's format; questions of two tasks, since neither has many."""
    catalog = load_catalog(others=False)
    task = catalog.task(KINDS[kind])
    found = [
        example
        for name in (task.name, *(("tydiqa",) if kind == "span" else ()))
        for example in sources.read(catalog.task(name), "en", "train", DataLocation(kind="sample")).examples
    ][:count]
    assert len(found) == count
    assert isinstance(task.format, HeadFormat)
    return task.format, found


class Bench:
    """Makes models and trainers of one head kind, always from the same beginning."""

    def __init__(
        self, checkpoint: Checkpoint, kind: str, folder: Path, *, count: int = 10, length: int = 40
    ) -> None:
        self.checkpoint, self.folder = checkpoint, folder
        self.format, self.examples = examples_of(kind, count)
        tokenizer = new_headed(checkpoint, self.format.head, seed=0, device="cpu").tokenizer
        self.rows = self.format.encode(self.examples, tokenizer, length)
        self.targets = self.format.targets(self.examples, self.rows)

    def headed(self, dropout: float | None = None) -> Headed:
        return new_headed(self.checkpoint, self.format.head, seed=1, device="cpu", dropout=dropout)

    def trainer(
        self, headed: Headed, schedule: Schedule = SHORT, folder: str = "work", **changes: Any
    ) -> Trainer:
        given: dict[str, Any] = {"seed": 5, "dtype": "float32", "micro_tokens": 100, **changes}
        lesson = Examples(
            headed=headed,
            rows=self.rows,
            targets=self.targets,
            batch_size=schedule.batch_size,
            epochs=schedule.epochs,
        )
        return Trainer(lessons=[lesson], schedule=schedule, folder=self.folder / folder, **given)


@pytest.fixture(params=sorted(KINDS))
def bench(request: pytest.FixtureRequest, checkpoint: Checkpoint, tmp_path: Path) -> Bench:
    """Each head in turn."""
    return Bench(checkpoint, request.param, tmp_path)


@pytest.fixture
def pooled(checkpoint: Checkpoint, tmp_path: Path) -> Bench:
    """One head, where it does not matter which."""
    return Bench(checkpoint, "pooled", tmp_path)


def weights(headed: Headed) -> dict[str, Tensor]:
    """A copy of all weights."""
    return {name: value.detach().clone() for name, value in headed.module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether weights agree bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def told(trainer: Trainer) -> dict[str, Any]:
    """Everything that progress says, save for time."""
    return {name: getattr(trainer.progress, name) for name in trainer.progress.__slots__ if name != "seconds"}


def test_gradients_do_not_depend_on_the_micro_batches(bench: Bench) -> None:
    """Nor does the loss, which is that of one batch with all rows."""
    found = []
    for micro_tokens in (1, 90, 10**6):
        trainer = bench.trainer(bench.headed(0.0), progress=Progress(micro_tokens=micro_tokens))
        module, lesson = trainer.module, trainer.lessons[0]
        whole = replace(cast("Examples", lesson), batch_size=len(bench.rows.lengths)).draw(0, 0)
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        value = trainer._accumulation.gradient(lesson, whole, scaler)
        grads = {name: part.grad for name, part in module.named_parameters() if part.grad is not None}
        found.append((value, grads))
    assert found[0][1].keys() == found[1][1].keys() == found[2][1].keys()
    for value, grads in found[:2]:
        assert value == pytest.approx(found[2][0], abs=2e-6)
        for name, grad in grads.items():
            torch.testing.assert_close(grad, found[2][1][name], atol=1e-6, rtol=1e-4, msg=name)


def span_loss(output: Any, mask: Tensor, targets: Any) -> Tensor:
    """Mean over rows and both ends, without padding."""
    ends = zip((output.start_logits, output.end_logits), torch.tensor(targets).T, strict=True)
    parts = [
        nn.functional.cross_entropy(scores.masked_fill(mask == 0, -1e9), places) for scores, places in ends
    ]
    return torch.stack(parts).mean()


def plain_loop(bench: Bench, kind: str, model: Any, trainer: Trainer) -> list[float]:
    """What anybody would write: a model class with its own loss, torch's AdamW, transformers' schedule."""
    schedule, steps = trainer.schedule, trainer.steps
    spared = ("bias", "LayerNorm.weight")
    groups = [
        {"params": [v for n, v in model.named_parameters() if not n.endswith(spared)], "weight_decay": 0.01},
        {"params": [v for n, v in model.named_parameters() if n.endswith(spared)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=schedule.learning_rate, eps=schedule.adam_epsilon)
    scheduled: Any = get_linear_schedule_with_warmup
    rates = scheduled(optimizer, int(np.ceil(0.2 * steps)), steps)
    starts, losses = bench.rows.starts, []
    for step in range(steps):
        rows = trainer.lessons[0].draw(step, trainer.seed).rows.tolist()
        stretches = [slice(starts[row], starts[row + 1]) for row in rows]

        def padded(values: Any, filling: int, stretches: list[slice] = stretches) -> Tensor:
            parts = [torch.tensor(values[part].astype(np.int64)) for part in stretches]
            return nn.utils.rnn.pad_sequence(parts, batch_first=True, padding_value=filling)

        inputs = {
            "input_ids": padded(bench.rows.ids, 1),
            "attention_mask": padded(np.ones_like(bench.rows.ids), 0),
        }
        if kind == "token":
            inputs["labels"] = padded(bench.targets, -100)
        elif kind == "pooled":
            inputs["labels"] = torch.tensor(bench.targets[rows])
        optimizer.zero_grad()
        output = model(**inputs)
        # Their own loss of spans lets padding compete for the ends, so that it depends on how rows are batched.
        value = (
            span_loss(output, inputs["attention_mask"], bench.targets[rows])
            if kind == "span"
            else output.loss
        )
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), schedule.clip)
        optimizer.step()
        rates.step()
        losses.append(float(value.detach()))
    return losses


def test_training_is_a_plain_loop(bench: Bench) -> None:
    """Losses and final weights, over three epochs in micro-batches; a large epsilon keeps Adam from blowing up noise."""
    kind = bench.format.head.kind
    schedule = replace(SHORT, adam_epsilon=1e-3)
    headed, losses = bench.headed(0.0), list[float]()
    (bench.folder / "start").mkdir()
    save_headed(headed, bench.checkpoint, bench.folder / "start")
    trainer = bench.trainer(headed, schedule, hooks=Hooks(stepped=lambda step, value: losses.append(value)))
    progress = trainer.run()
    model = CLASSES[kind].from_pretrained(bench.folder / "start").train()
    expected = plain_loop(bench, kind, model, trainer)
    assert losses == pytest.approx(expected, abs=1e-5)
    assert len(losses) == trainer.steps == progress.step
    state = weights(headed)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(state[f"model.{name}"], value, atol=1e-6, rtol=1e-4, msg=name)
    assert [entry["loss"] for entry in progress.curve] == pytest.approx(losses)
    rates = [1e-3 * rate_factor(step, trainer.steps, schedule) for step in range(trainer.steps)]
    assert [entry["learning_rate"] for entry in progress.curve] == pytest.approx(rates)
    assert progress.tokens == 3 * int(bench.rows.lengths.sum())


def test_chance_follows_from_the_seed_alone(pooled: Bench) -> None:
    """Dropout and the order of rows; not from where torch's generator stands."""
    found = []
    for number, seed in enumerate((5, 5, 6)):
        torch.manual_seed(number)
        headed = pooled.headed()
        pooled.trainer(headed, folder=f"work{number}", seed=seed).run()
        found.append(weights(headed))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])
    orders = [pooled.trainer(pooled.headed()).lessons[0].draw(step, 5).items.tolist() for step in range(6)]
    epochs = [[row for rows in part for row in rows] for part in (orders[:3], orders[3:])]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(10))
    assert epochs[0] != epochs[1]


class Stopper:
    """Raises KeyboardInterrupt at a certain one of the events that it is told of."""

    def __init__(self) -> None:
        self.left = -1

    def __call__(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def score_of(headed: Headed) -> float:
    """A made-up selection score that rises and falls with the weights."""
    return float(next(headed.module.parameters()).detach()[7].sum().mul(1e4).remainder(17))


def disturbed(bench: Bench, where: str, stop: Stopper, folder: str, **changes: Any) -> tuple[Headed, Trainer]:
    """A fresh process, as far as that can be had here: new model, new trainer, other random numbers."""
    torch.manual_seed(torch.seed() % 2**31)
    headed = bench.headed()

    def select() -> float:
        if where == "select":
            stop()
        return score_of(headed)

    hooks: dict[str, Any] = {"select": select}
    if where in ("stepped", "selected"):
        hooks[where] = stop
    if where == "forward":
        headed.module.register_forward_hook(lambda *_: stop() if headed.module.training else None)
    trainer = bench.trainer(
        headed, replace(SHORT, evaluate_every=2), folder, hooks=Hooks(**hooks), micro_tokens=60, **changes
    )
    return headed, trainer


@pytest.mark.parametrize(
    ("where", "dtype"),
    [
        *((where, "float32") for where in ("stepped", "optimizer", "select")),
        *(
            pytest.param(where, dtype, marks=pytest.mark.full)
            for where, dtype in (
                ("forward", "float32"),
                ("selected", "float32"),
                ("stepped", "bfloat16"),
                ("stepped", "float16"),
            )
        ),
    ],
)
def test_an_interrupted_training_goes_on_as_if_nothing_had_been(
    pooled: Bench, monkeypatch: pytest.MonkeyPatch, where: str, dtype: str
) -> None:
    """Interrupted at random moments again and again, with dropout and selection: the same bits in the end."""
    quiet = Stopper()
    headed, trainer = disturbed(pooled, "", quiet, "whole", dtype=dtype)
    trainer.run()
    whole, expected = weights(headed), told(trainer)
    assert len(expected["selection"]) == 5
    stop, random, stops = Stopper(), np.random.default_rng(3), 0
    real = torch.optim.AdamW.step

    def step(optimizer: Any, closure: Any = None) -> Any:
        done = real(optimizer, closure)
        stop()
        return done

    if where == "optimizer":
        monkeypatch.setattr(torch.optim.AdamW, "step", step)
    while True:
        headed, trainer = disturbed(pooled, where, stop, "work", dtype=dtype, save_seconds=0.0)
        stop.left = int(random.integers(1, 3 if "select" in where else 8 if where == "forward" else 4))
        try:
            trainer.run()
            break
        except KeyboardInterrupt:
            stops += 1
            assert stops < 50
    assert stops >= 2
    assert same(weights(headed), whole)
    assert told(trainer) == expected


def test_after_the_last_step_nothing_is_trained_again(pooled: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes then, up to the finished checkpoint, may be stopped too."""
    headed, trainer = disturbed(pooled, "", Stopper(), "whole", save_seconds=0.0)
    trainer.run()
    whole = weights(headed)
    again, other = disturbed(pooled, "", Stopper(), "whole", save_seconds=0.0)
    monkeypatch.setattr(Trainer, "_step", lambda *_: pytest.fail("a step was trained again"))
    other.run()
    assert same(weights(again), whole)
    assert told(other) == told(trainer)


def test_a_state_is_written_even_if_the_writing_is_interrupted(
    pooled: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = trainstate.save_state, list[int]()

    def interrupted(*arguments: Any) -> None:
        calls.append(arguments[3].step)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(*arguments)

    monkeypatch.setattr(trainstate, "save_state", interrupted)
    _, trainer = disturbed(pooled, "", Stopper(), "work", save_seconds=0.0)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert calls == [1, 2, 3, 3]
    assert [path.name for path in (pooled.folder / "work").glob("state-*")] == ["state-000000003"]


@pytest.mark.parametrize("left", [None, 40])
def test_best_weights_that_are_damaged_are_told_before_more_is_trained(
    pooled: Bench, monkeypatch: pytest.MonkeyPatch, left: int | None
) -> None:
    stop = Stopper()
    _, trainer = disturbed(pooled, "stepped", stop, "work", save_seconds=0.0)
    stop.left = 5
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    (best,) = (pooled.folder / "work").glob("best-*")
    if left is None:
        best.unlink()
    else:
        best.write_bytes(best.read_bytes()[:left])
    _, again = disturbed(pooled, "", Stopper(), "work")
    monkeypatch.setattr(Trainer, "_step", lambda *_: pytest.fail("a step was trained"))
    with pytest.raises(ModelError, match=r"unfinished training is damaged.* remove .*work"):
        again.run()


@pytest.mark.parametrize(
    ("scores", "patience", "best", "steps"),
    [
        ([10, 30, 20, 25], None, 2, 8),
        ([10, 30, 30, 30], None, 2, 8),
        ([10, 30, 20, 25, 40], 2, 2, 8),
        ([10, 9, 30, 29, 28, 50], 2, 3, 10),
        ([-50, -40.5, -41], None, 2, 6),
        ([0, 0, 0], 1, 1, 4),
    ],
)
def test_the_best_weights_are_left(
    pooled: Bench, scores: list[float], patience: int | None, best: int, steps: int
) -> None:
    """Of equal scores the earlier; patience counts scores without improvement."""
    headed, seen, seen_steps = pooled.headed(), list[dict[str, Tensor]](), list[int]()

    def select() -> float:
        assert not headed.module.training
        seen.append(weights(headed))
        return scores[len(seen) - 1]

    schedule = replace(SHORT, epochs=10, max_steps=2 * len(scores), evaluate_every=2, patience=patience)
    hooks = Hooks(select=select, stepped=lambda step, _: seen_steps.append(step))
    progress = pooled.trainer(headed, schedule, hooks=hooks).run()
    assert (progress.step, progress.best_step, progress.best_score) == (steps, 2 * best, scores[best - 1])
    assert seen_steps == list(range(1, steps + 1))
    assert same(weights(headed), seen[best - 1])
    assert not headed.module.training


def right(gold: Any, value: Any) -> bool:
    """Whether an answer is a gold one."""
    return value["text"] in gold["answers"] if isinstance(value, dict) else value == gold


@pytest.mark.full
@pytest.mark.parametrize(("kind", "epochs", "batch"), [("pooled", 60, 8), ("token", 40, 8), ("span", 120, 4)])
def test_every_head_learns_32_examples_by_heart(
    checkpoint: Checkpoint, tmp_path: Path, kind: str, epochs: int, batch: int
) -> None:
    """Every word, every label, every answer."""
    bench = Bench(checkpoint, kind, tmp_path, count=32, length=128)
    headed = bench.headed(0.0)
    schedule = Schedule(epochs=epochs, batch_size=batch, learning_rate=1e-3, warmup=0.1)
    trainer = bench.trainer(headed, schedule, micro_tokens=2048)
    trainer.run()
    reader = bench.format.reader(bench.examples, bench.rows)
    Predictor(headed=headed, batch_tokens=2048).run([Asked(rows=bench.rows, reader=reader)])
    found = reader.predictions()[0]
    wrong = [pair for pair in zip(found.gold, found.values, strict=True) if not right(*pair)]
    assert wrong == []
    assert len(found.ids) == 32
    losses = [entry["loss"] for entry in trainer.progress.curve]
    assert losses[-1] < 0.2
    assert losses[0] > 0.8
