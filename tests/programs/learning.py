"""Run by tests/test_ranks.py in several processes: trains the built-in model a little and tells what came of it.

Its one argument is a JSON array of trainings, one after the other. Each is an object: a head's ``task``, ``count`` of its examples, where weights are written (``weights``),
a work ``folder``, ``dropout``, and what is to happen on the way: ``full`` (the process whose memory does not suffice),
``interrupt`` and ``kill`` (process and number of the forward pass).
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from harness import sources
from harness.checkpoints import open_checkpoint
from harness.engine import train
from harness.engine.headed import new_headed
from harness.engine.lessons import Examples
from harness.engine.meeting import end, here
from harness.engine.predict import Asked, Predictor
from harness.engine.ranks import Ranks
from harness.engine.sample import sample_checkpoint
from harness.formats.base import HeadFormat
from harness.home import home
from harness.place import LostRank
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.spec import Schedule


def disturb(module: torch.nn.Module, asked: dict[str, Any], ranks: Ranks) -> None:
    """Have something happen in a forward pass."""
    passes = 0

    def hook(*_: object) -> None:
        nonlocal passes
        if not module.training:
            return
        passes += 1
        if asked.get("full") == ranks.rank and passes == 3:
            passes += 1
            raise torch.OutOfMemoryError("full")
        if asked.get("interrupt") == [ranks.rank, passes]:
            raise KeyboardInterrupt
        if asked.get("kill") == [ranks.rank, passes]:
            os.kill(os.getpid(), signal.SIGKILL)

    module.register_forward_hook(hook)


def trainer_of(asked: dict[str, Any], ranks: Ranks) -> train.Trainer:
    """A training that follows from what is asked alone."""
    task = load_catalog(others=False).task(asked["task"])
    task_format = task.format
    assert isinstance(task_format, HeadFormat)
    examples = sources.read(task, "en", "train", DataLocation(kind="sample")).examples[: asked["count"]]
    assert len(examples) == asked["count"]
    checkpoint = open_checkpoint(str(sample_checkpoint(home())))
    headed = new_headed(checkpoint, task.format.head, seed=1, device="cpu", dropout=asked["dropout"])
    rows = task_format.encode(examples, headed.tokenizer, 40)
    lesson = Examples(
        headed=headed,
        rows=rows,
        targets=task_format.targets(examples, rows),
        batch_size=4,
        epochs=3,
    )
    predictor = Predictor(headed=headed, batch_tokens=64, ranks=ranks)

    def select() -> float:
        reader = task_format.reader(examples, rows)
        predictor.run([Asked(rows=rows, reader=reader)])
        return ranks.from_first(lambda: float(len({str(v) for v in reader.predictions()[0].values})))

    disturb(headed.module, asked, ranks)
    schedule = Schedule(
        epochs=3, batch_size=4, learning_rate=1e-3, warmup=0.2, adam_epsilon=1e-3, evaluate_every=4
    )
    return train.Trainer(
        lessons=[lesson],
        schedule=schedule,
        seed=5,
        dtype="float32",
        folder=Path(asked["folder"]),
        micro_tokens=100,
        save_seconds=0.0,
        hooks=train.Hooks(select=select),
        ranks=ranks,
    )


def main() -> None:
    ranks = here()
    print(json.dumps([trained(asked, ranks) for asked in json.loads(sys.argv[1])]))
    end(ranks)


def trained(asked: dict[str, Any], ranks: Ranks) -> dict[str, Any]:
    """What came of one training."""
    trainer = trainer_of(asked, ranks)
    found: dict[str, Any] = {"error": ""}
    try:
        trainer.run()
    except (KeyboardInterrupt, LostRank) as error:
        found["error"] = type(error).__name__
    state = {name: value.detach().clone() for name, value in trainer.module.state_dict().items()}
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + state[name].numpy().tobytes())
    progress = trainer.progress
    kept = ("step", "micro_tokens", "best_step", "best_score", "tokens", "selection", "ranks", "curve")
    found.update({"digest": digest.hexdigest(), **{name: getattr(progress, name) for name in kept}})
    if ranks.first and "weights" in asked:
        save_file({name: value.contiguous() for name, value in state.items()}, asked["weights"])
    if found["error"] == "LostRank":
        print(json.dumps([found]))
        sys.exit(4)
    return found


if __name__ == "__main__":
    main()
