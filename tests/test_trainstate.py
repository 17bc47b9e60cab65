"""The state of an unfinished training on disk: nothing of it is lost, and it is there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from harness import HarnessError, OutputError
from harness.engine import trainstate
from harness.engine.trainstate import Progress


class Tied(nn.Module):
    """A module with dropout and two names for one weight."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("seen", torch.tensor(3, dtype=torch.int64))

    def forward(self, values: Tensor) -> Tensor:
        scores: Tensor = self.dropout(self.second(self.first(values)))
        return scores


def optimizer_of(module: nn.Module) -> torch.optim.Optimizer:
    """Two groups, as the trainer has them."""
    weights, biases = (
        [value for name, value in module.named_parameters() if name.endswith("bias") == wanted]
        for wanted in (False, True)
    )
    groups = [{"params": weights, "weight_decay": 0.1}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=0.1, fused=True)


def learn(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    """So many steps on random numbers, with dropout."""
    for _ in range(steps):
        optimizer.zero_grad(set_to_none=True)
        module(torch.randn(3, 4)).square().sum().backward()
        optimizer.step()


def state_of(module: nn.Module) -> dict[str, list[Any]]:
    """All weights as numbers."""
    return {name: value.tolist() for name, value in module.state_dict().items()}


@pytest.fixture
def work() -> tuple[nn.Module, torch.optim.Optimizer]:
    """A training after two steps."""
    module = Tied()
    optimizer = optimizer_of(module)
    learn(module, optimizer, 2)
    return module, optimizer


PROGRESS: dict[str, Any] = {
    "step": 7,
    "micro_tokens": 512,
    "best_step": 5,
    "best_score": 100 / 3,
    "waited": 2,
    "seconds": 1.5,
    "tokens": 12345,
    "curve": [{"step": 4, "loss": 0.1, "learning_rate": 1e-05, "gradient_norm": 2 / 3}],
    "selection": [{"step": 5, "score": 100 / 3}],
    "loss_sum": 0.30000000000000004,
    "loss_steps": 3,
    "scaler": {"scale": 32768.0, "_growth_tracker": 12},
}


def test_everything_comes_back_bit_for_bit(
    tmp_path: Path, work: tuple[nn.Module, torch.optim.Optimizer]
) -> None:
    """Steps after a reload, with their random numbers, are the steps that would have followed."""
    module, optimizer = work
    trainstate.save_best(tmp_path, module, PROGRESS["best_step"])
    trainstate.save_state(tmp_path, module, optimizer, Progress(**PROGRESS))
    learn(module, optimizer, 3)
    torch.manual_seed(99)
    other = Tied(seed=5)
    again = optimizer_of(other)
    found = trainstate.load_state(tmp_path, other, again)
    assert found == Progress(**PROGRESS)
    saved = {path.name: path.read_bytes() for path in (tmp_path / "state-000000007").iterdir()}
    learn(other, again, 3)
    assert state_of(other) == state_of(module)
    assert [group["weight_decay"] for group in again.param_groups] == [0.1, 0.0]
    assert other.second.weight is other.first.weight
    assert {path.name: path.read_bytes() for path in (tmp_path / "state-000000007").iterdir()} == saved


def test_without_a_state_nothing_is_changed(
    tmp_path: Path, work: tuple[nn.Module, torch.optim.Optimizer]
) -> None:
    module, optimizer = work
    before, random = state_of(module), torch.get_rng_state()
    assert trainstate.load_state(tmp_path / "nowhere", module, optimizer) is None
    assert state_of(module) == before
    assert torch.equal(torch.get_rng_state(), random)


def test_the_newest_state_counts_and_older_ones_go(
    tmp_path: Path, work: tuple[nn.Module, torch.optim.Optimizer]
) -> None:
    """By number of step, not by name: 10 comes after 9."""
    module, optimizer = work
    for step in (9, 10):
        trainstate.save_state(tmp_path, module, optimizer, Progress(step=step))
        learn(module, optimizer, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["state-000000010"]
    found = trainstate.load_state(tmp_path, Tied(), optimizer)
    assert found is not None
    assert found.step == 10


def test_best_weights_stay_as_long_as_a_state_needs_them(
    tmp_path: Path, work: tuple[nn.Module, torch.optim.Optimizer]
) -> None:
    """A later best one does not displace the earlier one before a state names it."""
    module, optimizer = work
    best = state_of(module)
    trainstate.save_best(tmp_path, module, 2)
    trainstate.save_state(tmp_path, module, optimizer, Progress(step=3, best_step=2))
    learn(module, optimizer, 1)
    trainstate.save_best(tmp_path, module, 4)
    assert len(list(tmp_path.glob("best-*"))) == 2
    trainstate.load_best(tmp_path, module, 2)
    assert state_of(module) == best
    trainstate.save_state(tmp_path, module, optimizer, Progress(step=5, best_step=4))
    assert [path.name for path in tmp_path.glob("best-*")] == ["best-000000004.safetensors"]


def test_a_state_that_is_saved_again_knows_what_was_seen_since(
    tmp_path: Path, work: tuple[nn.Module, torch.optim.Optimizer]
) -> None:
    """Stopped while it looked at what is held out, gone on, stopped again behind it: the state names the best weights."""
    module, optimizer = work
    trainstate.save_best(tmp_path, module, 3)
    trainstate.save_state(tmp_path, module, optimizer, Progress(step=5, best_step=3))
    trainstate.save_best(tmp_path, module, 5)
    trainstate.save_state(tmp_path, module, optimizer, Progress(step=5, best_step=5))
    found = trainstate.load_state(tmp_path, Tied(), optimizer)
    assert found is not None
    assert found.best_step == 5
    trainstate.load_best(tmp_path, module, found.best_step)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best-000000005.safetensors",
        "state-000000005",
    ]


def test_nothing_is_pickled(tmp_path: Path, work: tuple[nn.Module, torch.optim.Optimizer]) -> None:
    module, optimizer = work
    trainstate.save_best(tmp_path, module, 1)
    trainstate.save_state(tmp_path, module, optimizer, Progress(step=1, best_step=1))
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    inside = ["model.safetensors", "optimizer.safetensors", "progress.json", "random.safetensors"]
    assert names == ["best-000000001.safetensors", *(f"state-000000001/{name}" for name in inside)]
    assert json.loads((tmp_path / "state-000000001" / "progress.json").read_text())["step"] == 1


def test_a_snapshot_of_the_random_numbers_brings_them_back() -> None:
    before = trainstate.random_snapshot()
    first = torch.rand(5)
    torch.rand(3)
    trainstate.random_restore(before)
    assert torch.equal(torch.rand(5), first)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")],
)
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_full_disk_is_told_and_the_older_state_stays(
    tmp_path: Path,
    work: tuple[nn.Module, torch.optim.Optimizer],
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
    error: Exception,
) -> None:
    """Whichever of the files does not fit, and whoever notices."""
    module, optimizer = work
    trainstate.save_state(tmp_path, module, optimizer, Progress(step=1))
    kept = state_of(module)
    learn(module, optimizer, 1)
    full_after(monkeypatch, writes, error)
    with pytest.raises(
        OutputError, match=r"the disk is full; free some space and run the same command again"
    ):
        trainstate.save_state(tmp_path, module, optimizer, Progress(step=2))
    assert [path.name for path in tmp_path.iterdir()] == ["state-000000001"]
    found = trainstate.load_state(tmp_path, module, optimizer)
    assert found is not None
    assert found.step == 1
    assert state_of(module) == kept


def full_after(monkeypatch: pytest.MonkeyPatch, writes: int, error: Exception) -> None:
    """The disk holds so many more files of tensors, and half of the next one."""
    done: list[Path] = []

    def scarce(tensors: dict[str, Tensor], path: Path) -> None:
        if len(done) == writes:
            path.write_bytes(b"half")
            raise error
        done.append(path)
        save_file(tensors, path)

    monkeypatch.setattr("harness.engine.trainstate.save_file", scarce)


def test_a_full_disk_leaves_no_half_of_the_best_weights(
    tmp_path: Path, work: tuple[nn.Module, torch.optim.Optimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    full_after(monkeypatch, 0, SafetensorError("I/O error: No space left on device (os error 28)"))
    with pytest.raises(OutputError, match="the disk is full"):
        trainstate.save_best(tmp_path, work[0], 3)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_with_the_cache_variable(
    tmp_path: Path, work: tuple[nn.Module, torch.optim.Optimizer]
) -> None:
    """The advice is for the cache, since states lie there and not in the run's folder."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot be written \(.*\); .*HARNESS_HOME"):
        trainstate.save_state(tmp_path / "file", *work, Progress(step=1))


def test_an_interrupted_save_leaves_the_older_state(
    tmp_path: Path, work: tuple[nn.Module, torch.optim.Optimizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no draft; a draft of a killed process is not taken for a state."""
    module, optimizer = work
    trainstate.save_state(tmp_path, module, optimizer, Progress(step=1))

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("harness.engine.trainstate.save_file", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainstate.save_state(tmp_path, module, optimizer, Progress(step=2))
    assert [path.name for path in tmp_path.iterdir()] == ["state-000000001"]
    (tmp_path / ".draft-killed").mkdir()
    found = trainstate.load_state(tmp_path, module, optimizer)
    assert found is not None
    assert found.step == 1


@pytest.mark.parametrize("file", ["model", "optimizer", "random"])
def test_a_damaged_state_is_an_error_that_names_it(
    tmp_path: Path, work: tuple[nn.Module, torch.optim.Optimizer], file: str
) -> None:
    """What a power failure may leave behind: one line, and what to do."""
    trainstate.save_state(tmp_path, *work, Progress(step=1))
    path = tmp_path / "state-000000001" / f"{file}.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(
        HarnessError, match=r"state-000000001.*(damaged|cut short|cannot be read).*(remove|delete)"
    ):
        trainstate.load_state(tmp_path, *work)


SAVER = """
import sys, torch
from pathlib import Path
from torch import nn
from harness.engine import trainstate
module = nn.Linear(200, 200)
optimizer = torch.optim.AdamW(module.parameters())
print("ready", flush=True)
for step in range(1, 100_000):
    for value in module.parameters():
        value.data.fill_(step)
    trainstate.save_best(Path(sys.argv[1]), module, step)
    trainstate.save_state(Path(sys.argv[1]), module, optimizer, trainstate.Progress(step=step, best_step=step))
"""


@pytest.mark.full
@pytest.mark.parametrize("trial", range(8))
def test_a_process_killed_while_it_saves_leaves_a_whole_state(tmp_path: Path, trial: int) -> None:
    """Weights, best weights and progress of one and the same step."""
    process = subprocess.Popen(
        [sys.executable, "-c", SAVER, str(tmp_path)], stdout=subprocess.PIPE, cwd=tmp_path, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    while not list(tmp_path.glob("state-*")):
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(0.05 + 0.0137 * trial)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    module = nn.Linear(200, 200)
    found = trainstate.load_state(tmp_path, module, torch.optim.AdamW(module.parameters()))
    assert found is not None
    assert {number for value in module.parameters() for number in set(value.flatten().tolist())} == {
        found.step
    }
    trainstate.load_best(tmp_path, module, found.best_step)
    assert {number for value in module.parameters() for number in set(value.flatten().tolist())} == {
        found.step
    }


def evaluation(model: Path, home: Path, *options: str) -> subprocess.Popen[str]:
    """Start fine-tuning and evaluation in a process of its own, which saves its state after every step."""
    command = [
        sys.executable,
        "-m",
        "harness",
        "eval",
        "-m",
        str(model),
        "-t",
        "panx,xnli",
        "--data",
        "sample",
    ]
    hyper = ["epochs=2", "batch_size=8", "learning_rate=5e-4", "warmup=0.1", "evaluate_every=3"]
    command += [part for text in hyper for part in ("--hyper", text)]
    environment = {
        **os.environ,
        "HARNESS_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "HARNESS_SAVE_SECONDS": "0",
    }
    return subprocess.Popen(
        [*command, "-o", str(home / "run"), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=home,
    )


def outcome(home: Path) -> dict[str, bytes]:
    """Weights of every checkpoint, records and predictions, byte for byte."""
    paths = [*home.glob("checkpoints/*/model.safetensors"), home / "run" / "records.jsonl"]
    paths += (home / "run" / "predictions").rglob("*.parquet")
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.full
def test_a_killed_evaluation_ends_in_the_same_checkpoints_and_records(
    sample_model: Path, tmp_path: Path
) -> None:
    """Killed during training again and again, each time a few steps further, with dropout and selection on."""
    homes = [tmp_path / "undisturbed", tmp_path / "killed"]
    for home in homes:
        home.mkdir()
    said = evaluation(sample_model, homes[0]).communicate(timeout=600)[1]
    whole = outcome(homes[0])
    assert sum(path.startswith("checkpoints/") for path in whole) == 2, said
    kills = 0
    for _ in range(6):
        process = evaluation(sample_model, homes[1])
        before, seen = states(homes[1]), set[str]()
        while process.poll() is None and len(seen - before) < 2:
            seen |= states(homes[1])
            time.sleep(0.005)
        kills += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    said = evaluation(sample_model, homes[1]).communicate(timeout=600)[1]
    assert kills >= 3
    assert outcome(homes[1]) == whole, said
    assert not list((homes[1] / "checkpoints").glob("*.work"))


def states(home: Path) -> set[str]:
    """Saved states below a cache folder."""
    return {path.as_posix() for path in home.glob("checkpoints/*.work/state-*")}
