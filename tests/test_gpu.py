"""On a card: scores, neighbours, training and whole evaluations, held against the CPU's. Without one all of it is skipped.

    python -m pytest -m gpu tests/test_gpu.py

Speed is benchmarks/gpu.py's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from cardmodels import TINY, Kept, headed, rows_of, targets_of
from numpy.typing import NDArray

from harness import search
from harness.checkpoints import Checkpoint, open_checkpoint
from harness.engine.headed import Headed, new_headed, open_headed, save_headed
from harness.engine.knn import torch_knn
from harness.engine.lessons import Examples
from harness.engine.predict import Asked, Predictor
from harness.engine.sweep import sweep
from harness.engine.train import Hooks, Trainer
from harness.formats.base import Head
from harness.formats.rows import Rows
from harness.heads import label_order
from harness.spec import Schedule

pytestmark = pytest.mark.gpu
CARD = "cuda"
# Windows of attention, heads that share keys, positions that are counted from the padding, a decoder.
FAMILIES = ("bert", "xlm-roberta", "modernbert", "eurobert", "qwen3")
NEAR = {"float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}


@pytest.fixture(autouse=True)
def _card() -> Iterator[None]:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here; the GPU path is tested only as far as a CPU goes")
    yield
    torch.cuda.empty_cache()


def scores_of(model: Headed, rows: Rows, budget: int) -> tuple[NDArray[np.float32], Predictor]:
    """Of each row's first token, or of the row."""
    kept = Kept(len(rows.lengths))
    predictor = Predictor(headed=model, batch_tokens=budget)
    predictor.run([Asked(rows=rows, reader=kept)])
    return np.stack(kept.scores), predictor


def distance(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Relative to the second."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize("dtype", list(NEAR))
@pytest.mark.parametrize("kind", ["pooled", "token", "span"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_scores_are_those_of_single_rows_on_the_cpu(
    tiny_model: Callable[[str], Checkpoint], tmp_path: Path, family: str, kind: str, dtype: str
) -> None:
    head = Head(kind="span") if kind == "span" else Head(kind=kind, labels=("a", "b", "c"))  # type: ignore[arg-type]
    checkpoint = tiny_model(family)
    save_headed(new_headed(checkpoint, head, seed=1, device="cpu"), checkpoint, tmp_path)
    saved = open_checkpoint(str(tmp_path))
    order = label_order(saved.head, head.kind, head.labels)
    assert not isinstance(order, str)
    plain, card = (
        open_headed(saved, head, order, device=device, dtype=precision)
        for device, precision in (("cpu", "float32"), (CARD, dtype))
    )
    # EuroBERT's class for sequences pools over a row in its own way, so it is padded everywhere.
    assert (card.packer is None) == (plain.packer is None)
    rows = rows_of("classification", 40, 3_000)
    found, _ = scores_of(card, rows, 4_096)
    expected, _ = scores_of(plain, rows, 1)
    assert distance(found, expected) < NEAR[dtype]
    again, _ = scores_of(card, rows, 4_096)
    assert np.array_equal(again, found)


def test_a_batch_without_room_is_halved_and_gives_the_same() -> None:
    """The process is allowed little more than the model takes."""
    device = torch.device(CARD)
    model = headed("classification", {**TINY, "intermediate_size": 8_192}, device, "float32")
    rows = rows_of("classification", 4_000, TINY["vocab_size"])
    expected, _ = scores_of(model, rows, 4_096)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(
        (torch.cuda.memory_reserved(device) + 1_500 * 2**20) / total, device
    )
    try:
        found, predictor = scores_of(model, rows, 10**6)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, device)
    assert predictor.work.halved > 0
    assert distance(found, expected) < NEAR["float32"]


def test_neighbours_are_the_cpus_to_the_last_one() -> None:
    """Both ways, with vectors that are equal and such as differ in the last places."""
    random = np.random.default_rng(0)
    one, other = (random.standard_normal((count, 96), dtype=np.float32) for count in (3_000, 5_000))
    other[100:200] = other[:100]
    other[200:300] = other[:100] * np.float32(1 + 2**-22)
    one[:50] = other[:50]
    raw = partial(torch_knn, device=CARD)
    card = search.ExactSearch(sweep=partial(sweep, device=CARD), raw=raw)
    expected = search.ExactSearch().both(one, other, 4)
    for found in (card.both(one, other, 4), search.ExactSearch(raw=raw).both(one, other, 4)):
        for mine, theirs in zip(found, expected, strict=True):
            assert np.array_equal(mine.rows, theirs.rows)
            np.testing.assert_allclose(mine.scores, theirs.scores, rtol=0, atol=1e-12)


class Stopped(Exception):
    """Ends a training in the middle."""


@dataclass(frozen=True, kw_only=True)
class School:
    """Trains the same small model on the same rows, eight steps."""

    folder: Path

    def trainer(self, name: str, device: str, dtype: str, dropout: float, **more: Any) -> Trainer:
        rows = rows_of("tagging", 256, TINY["vocab_size"])
        model = headed("tagging", TINY, torch.device(device), "float32", dropout=dropout)
        lesson = Examples(
            headed=model, rows=rows, targets=targets_of("tagging", rows), batch_size=32, epochs=1.0
        )
        return Trainer(
            lessons=[lesson],
            schedule=Schedule(epochs=1.0, batch_size=32, learning_rate=1e-3, warmup=0.1),
            seed=0,
            dtype=dtype,
            folder=self.folder / name,
            micro_tokens=2_048,
            save_seconds=0.0,
            **more,
        )

    def moved(self, name: str, device: str, dtype: str, dropout: float) -> NDArray[np.float32]:
        """How far all weights went, one after the other; from where an earlier training of that name was stopped."""
        # Drawn on the device, so that another one's model begins elsewhere; the CPU's is the same everywhere.
        trainer = self.trainer(name, device, dtype, dropout)
        begin = headed("tagging", TINY, torch.device("cpu"), "float32").module.state_dict()
        trainer.module.load_state_dict(begin)
        trainer.run()
        assert trainer.progress.step == 8
        return np.concatenate(
            [
                (value.detach().cpu() - begin[key]).flatten().numpy()
                for key, value in trainer.module.state_dict().items()
                if value.is_floating_point()
            ]
        )


@pytest.mark.parametrize("dtype", list(NEAR))
def test_weights_go_where_they_go_on_the_cpu(tmp_path: Path, dtype: str) -> None:
    school = School(folder=tmp_path)
    card, plain = school.moved("card", CARD, dtype, 0.0), school.moved("plain", "cpu", "float32", 0.0)
    # Adam divides by the size of gradients, so of the smallest ones little but the sign is left.
    assert distance(card, plain) < {"float32": 0.05, "float16": 0.3, "bfloat16": 0.5}[dtype]


@pytest.mark.parametrize("dtype", list(NEAR))
def test_a_training_goes_on_where_it_was_stopped(tmp_path: Path, dtype: str) -> None:
    """With its optimizer, its scaler, and the card's random numbers for dropout."""

    def stop(step: int, _: float) -> None:
        if step == 5:
            raise Stopped

    school = School(folder=tmp_path)
    half = school.trainer("half", CARD, dtype, 0.2, hooks=Hooks(stepped=stop))
    half.module.load_state_dict(headed("tagging", TINY, torch.device("cpu"), "float32").module.state_dict())
    with pytest.raises(Stopped):
        half.run()
    whole = school.moved("whole", CARD, dtype, 0.2)
    assert distance(school.moved("half", CARD, dtype, 0.2), whole) < 1e-3
    assert distance(school.moved("other", CARD, dtype, 0.1), whole) > 1e-2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_evaluation_gives_what_it_gives_on_the_cpu(
    cli: Callable[..., Any], tmp_path: Path, dtype: str
) -> None:
    """Heads are trained once, on the CPU, for both; after so few steps answers to questions hang on the last digits."""
    tasks = "tatoeba,xnli,panx,xquad" if dtype == "float32" else "tatoeba,xnli,panx"
    command = ["eval", "-m", "sample", "-t", tasks, "-l", "en,de,zh", "--data", "sample"]
    command += ["--hyper", "max_steps=4", "--hyper", "warmup=0"]
    for folder, device, precision in (("plain", "cpu", "float32"), ("card", CARD, dtype)):
        done = cli(*command, "--device", device, "--dtype", precision, "-o", tmp_path / folder)
        assert done.code == 0, done.err
    paths = [path.relative_to(tmp_path / "plain") for path in (tmp_path / "plain").rglob("*.parquet")]
    assert len(paths) > 8
    for path in paths:
        plain, card = (pq.read_table(tmp_path / folder / path).to_pydict() for folder in ("plain", "card"))
        assert card["id"] == plain["id"]
        same = np.mean([one == two for one, two in zip(plain["prediction"], card["prediction"], strict=True)])
        assert same >= (0.98 if dtype == "float32" else 0.8), path
    told = json.loads((tmp_path / "card" / "run.json").read_text(encoding="utf-8"))
    assert told["hardware"]["device"] == CARD
