"""A device without room, or one that fails: nothing is said against files that are good, and nothing is held on to."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from harness.checkpoints import open_checkpoint
from harness.engine import load, proving, trainstate
from harness.engine.accumulation import Accumulation
from harness.engine.ranks import Ranks
from harness.engine.session import Compute, Session
from harness.engine.trainstate import Progress
from harness.errors import DeviceError
from harness.place import Place

Cli = Callable[..., Any]

FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
BROKEN = torch.AcceleratorError("CUDA error: an illegal memory access was encountered")
PART = "does not fit the device's memory; use another --device, --dtype bfloat16 or a smaller model"


def raising(error: Exception) -> Callable[..., Any]:
    """A function that only raises."""

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize("place", ["model.to", "the probe", "the proof"])
@pytest.mark.parametrize(
    ("error", "told"), [(FULL, PART), (BROKEN, "the device failed (AcceleratorError: CUDA")]
)
def test_opening_a_model_says_that_it_was_the_device(
    place: str, error: Exception, told: str, sample_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(str(sample_model))
    if place == "model.to":
        monkeypatch.setattr(nn.Module, "to", raising(error))
    elif place == "the probe":
        monkeypatch.setattr(load, "_probe_input", raising(error))
    else:
        monkeypatch.setattr(proving._Trial, "together", raising(error))
    with pytest.raises(DeviceError) as caught:
        load.load_encoder(checkpoint, device="cpu", dtype="float32")
    assert str(caught.value).startswith(str(checkpoint.folder))
    assert told in str(caught.value)
    assert "cannot be opened" not in str(caught.value)
    assert "does not run" not in str(caught.value)


def test_a_head_just_trained_is_not_called_damaged(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on with it once there is room."""
    command = ["eval", "-m", "sample", "-t", "pawsx", "-l", "en", "--data", "sample", "-o", tmp_path / "run"]
    command += ["--device", "cpu", "--hyper", "max_steps=2", "--hyper", "warmup=0"]
    with monkeypatch.context() as patched:
        patched.setattr("harness.headanswers.open_answering", raising(DeviceError(f"folder: {PART}")))
        said = cli(*command)
    assert said.code == 3, said.err
    assert PART in said.err
    assert "damaged" not in said.err
    assert "remove" not in said.err
    monkeypatch.setattr("harness.tuning._train", raising(AssertionError("it was trained again")))
    again = cli(*command)
    assert again.code == 0, again.err


def test_a_state_for_which_there_is_no_room_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    trainstate.save_state(tmp_path, module, optimizer, Progress(step=1))
    with monkeypatch.context() as patched:
        patched.setattr(optimizer, "load_state_dict", raising(FULL))
        with pytest.raises(DeviceError, match="does not fit the device's memory") as caught:
            trainstate.load_state(tmp_path, module, optimizer)
    assert "remove" not in str(caught.value)
    found = trainstate.load_state(tmp_path, module, optimizer)
    assert found is not None
    assert found.step == 1


@pytest.fixture
def counted() -> Iterator[None]:
    """Without the collector of cycles: what is still held on to stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Large:
    """Stands for what lies on a device."""


@pytest.mark.usefixtures("counted")
def test_a_model_that_did_not_open_leaves_nothing_behind(
    sample_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says the same as often as it is asked for."""
    made: list[weakref.ref[Large]] = []

    def half_opened(*_: Any, **__: Any) -> Any:
        large = Large()
        made.append(weakref.ref(large))
        raise DeviceError("no room for it")

    monkeypatch.setattr(load, "load_encoder", half_opened)
    compute = Compute(
        device="cpu",
        dtype="float32",
        given_tokens=None,
        gradient_checkpointing=False,
        deterministic=False,
        save_seconds=300.0,
        home=tmp_path,
    )
    session = Session(checkpoint=open_checkpoint(str(sample_model)), spaces=(), compute=compute)
    for _ in range(2):
        with pytest.raises(DeviceError, match="no room for it") as caught:
            session.open()
        del caught
    assert len(made) == 1, "opening was tried once"
    assert made[0]() is None


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("ask", ["each", "from_first"])
@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_several_processes_lets_go_of_what_they_were_computing(
    rank: int, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that memory is there for the smaller batch that is tried next, in whichever process; all of them ran out of it."""
    ranks = Ranks(place=Place(rank=rank, size=2))
    failed = b'{"kind": "OutOfMemoryError", "text": "made up"}'
    monkeypatch.setattr(Ranks, "exchange", lambda self, label, told: [failed, failed])
    made: list[weakref.ref[Large]] = []

    def compute() -> None:
        large = Large()
        made.append(weakref.ref(large))
        raise torch.OutOfMemoryError("made up")

    try:
        getattr(ranks, ask)(compute)
    except torch.OutOfMemoryError:
        pass
    else:
        pytest.fail("the error was lost")
    assert [large() for large in made] == ([None] if ask == "each" or rank == 0 else [])


def test_in_float16_a_process_without_items_knows_the_scale() -> None:
    """The scaler asks for it before the first step's gradients, which come from the others."""
    module = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", enabled=True)
    ranks = Ranks(place=Place(rank=1, size=2))
    mine = Accumulation(
        module=module, device=torch.device("cpu"), dtype="float16", ranks=ranks, progress=Progress()
    )
    nothing: Any = SimpleNamespace(micro=lambda *_: [], lengths=torch.zeros(0))
    assert mine._accumulate(cast("Any", None), nothing, scaler) == 0.0
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter)
    scaler.unscale_(optimizer)
    assert scaler.get_scale() == 65536.0
    for parameter in module.parameters():
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, torch.full_like(parameter, 1 / 65536))


def test_a_gradient_without_end_is_written_as_json() -> None:
    progress = Progress(step=1)
    progress.note(0.5, float("inf"), 1e-5, lesson="", ends_point=True)
    (point,) = json.loads(json.dumps(progress.curve, allow_nan=False))
    assert point == {"step": 1, "loss": 0.5, "learning_rate": 1e-5, "gradient_norm": None}
