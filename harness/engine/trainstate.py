"""The state of an unfinished training on disk: weights, optimizer, random numbers, position. Never pickled.

A state is a folder that appears by one rename; the newest whole one counts. Knows tensors and JSON; knows no data.
"""

from __future__ import annotations

import errno
import json
import math
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness import files
from harness.engine.hardware import TROUBLES, device_error
from harness.errors import ModelError, OutputError
from harness.home import ADVICE
from harness.modelfolder import check_safetensors

_DRAFT = ".draft-"
_CPU = torch.device("cpu")
_ROOM = "it stays; use another --device and run the same command again"


@dataclass(slots=True, kw_only=True)
class Progress:
    """Where a training stands.

    Attributes:
        step: Optimizer steps done; with the seed it says which rows come next and what the learning rate is.
        micro_tokens: Tokens per micro-batch, halved when memory did not suffice.
        best_step: Step of the best selection score, 0 before the first one; ``best_score`` in percent.
        waited: Selection scores since then.
        seconds: Time spent so far.
        tokens: Real tokens that went through the model.
        curve: ``{"step", "loss", "learning_rate", "gradient_norm"}``, the loss averaged since the entry before, the norm
            None where it was not finite; with several lessons also ``losses`` by name.
        selection: ``{"step", "score"}``.
        watched: ``{"step", "losses"}``, held-out losses by name.
        loss_sum: Of the steps since the last entry of the curve; ``loss_steps`` their number; ``losses`` sum and number
            for each lesson, where there are several.
        scaler: State of the gradient scaler, for float16.
        ranks: ``[step, processes]``: how many processes train together from which step on; empty where always one.
    """

    step: int = 0
    micro_tokens: int = 0
    best_step: int = 0
    best_score: float = 0.0
    waited: int = 0
    seconds: float = 0.0
    tokens: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
    selection: list[dict[str, float]] = field(default_factory=list)
    watched: list[dict[str, Any]] = field(default_factory=list)
    loss_sum: float = 0.0
    loss_steps: int = 0
    losses: dict[str, list[float]] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    ranks: list[list[int]] = field(default_factory=list)

    def note(self, loss: float, norm: float, rate: float, *, lesson: str, ends_point: bool) -> None:
        """Write down the loss of the step that was made.

        Args:
            loss: Of the step; ``norm`` its gradient's before clipping, ``rate`` its learning rate.
            lesson: Which was learned, ``""`` where there is but one.
            ends_point: Whether this step is the last one of a point of the curve.
        """
        self.loss_sum += loss
        self.loss_steps += 1
        if lesson:
            total, count = self.losses.get(lesson, [0.0, 0])
            self.losses[lesson] = [total + loss, count + 1]
        if not ends_point:
            return
        mean = self.loss_sum / self.loss_steps
        point: dict[str, Any] = {
            "step": self.step,
            "loss": mean,
            "learning_rate": rate,
            # JSON has no word for infinity, to which a step in float16 may run over.
            "gradient_norm": norm if math.isfinite(norm) else None,
        }
        if self.losses:
            point["losses"] = {name: total / count for name, (total, count) in self.losses.items()}
        self.curve.append(point)
        self.loss_sum, self.loss_steps, self.losses = 0.0, 0, {}


def save_state(
    folder: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    device: torch.device = _CPU,
) -> None:
    """Write the whole state below a work folder, then remove the older ones.

    Raises:
        OutputError: The disk is full or cannot be written; the older state stays.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=folder, prefix=_DRAFT))
        try:
            save_file(_plain(module.state_dict()), draft / "model.safetensors")
            save_file(_optimizer_tensors(optimizer), draft / "optimizer.safetensors")
            save_file(random_snapshot(device), draft / "random.safetensors")
            (draft / "progress.json").write_text(json.dumps(asdict(progress)) + "\n", encoding="utf-8")
            # The older state goes when this one is there, so it must be on the disk.
            files.settle(draft)
            target = folder / f"state-{progress.step:09d}"
            if target.exists():  # the same weights, but what is held out may have been looked at since
                (draft / "progress.json").replace(target / "progress.json")
            else:
                draft.replace(target)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise files.output_error(folder, error, ADVICE) from error
    except SafetensorError as error:
        raise unwritten(folder, error) from error
    for older in _states(folder)[:-1]:
        shutil.rmtree(older, ignore_errors=True)
    for weights in folder.glob("best-*.safetensors"):
        if weights.name != _best(progress.best_step):
            weights.unlink(missing_ok=True)


def load_state(
    folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device = _CPU
) -> Progress | None:
    """Bring module, optimizer and random numbers back to the newest state; None where there is none.

    Raises:
        ModelError: The state is damaged; a DeviceError where only the device has no room for it.
    """
    found = _states(folder)
    if not found:
        return None
    state = found[-1]
    try:
        _restore(module, load_file(state / "model.safetensors"))
        _restore_optimizer(optimizer, load_file(state / "optimizer.safetensors"))
        random_restore(load_file(state / "random.safetensors"), device)
        told: dict[str, Any] = json.loads((state / "progress.json").read_text(encoding="utf-8"))
        progress = Progress(**told)
        if progress.best_step:
            check_safetensors(folder / _best(progress.best_step))
        return progress
    except TROUBLES as error:
        raise device_error(f"the state of the training below {folder}", error, advice=_ROOM) from error
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, SafetensorError, ModelError) as error:
        raise _damaged(folder, state, error) from error


def sweep(folder: Path) -> None:
    """Remove what a killed process had half written of a state; the folder must be nobody else's."""
    for draft in folder.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)
    for left in folder.glob(".*.tmp"):
        left.unlink(missing_ok=True)


def save_best(folder: Path, module: nn.Module, step: int) -> None:
    """Keep the weights of a selection score beside the earlier ones; :func:`save_state` removes what no state needs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with files.atomic(folder / _best(step)) as temporary:
            save_file(_plain(module.state_dict()), temporary)
    except OSError as error:
        raise files.output_error(folder, error, ADVICE) from error
    except SafetensorError as error:
        raise unwritten(folder, error) from error


def load_best(folder: Path, module: nn.Module, step: int) -> None:
    """Bring the module back to the weights of the best step; raises ModelError where they are damaged."""
    try:
        _restore(module, load_file(folder / _best(step)))
    except TROUBLES as error:
        raise device_error(f"{folder / _best(step)}", error, advice=_ROOM) from error
    except (OSError, RuntimeError, SafetensorError) as error:
        raise _damaged(folder, folder / _best(step), error) from error


def _damaged(folder: Path, part: Path, error: Exception) -> ModelError:
    return ModelError(
        f"{part}: the saved state of an unfinished training is damaged ({type(error).__name__}); remove {folder}, and the "
        "same command trains from the start"
    )


def _best(step: int) -> str:
    return f"best-{step:09d}.safetensors"


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*"))


def _plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor once, on the CPU: what several heads share, or is tied, stands under its first name."""
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in _once(state).items()}


def _once(state: dict[str, Tensor]) -> dict[str, Tensor]:
    first: dict[Any, str] = {}
    for name, value in state.items():
        first.setdefault((value.data_ptr(), value.shape, value.stride()) if value.numel() else name, name)
    return {name: state[name] for name in first.values()}


def _restore(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put tensors back where :func:`_plain` took them from; raises RuntimeError where they are not the module's."""
    odd = set(tensors) ^ set(_once(module.state_dict()))
    if odd:
        raise RuntimeError(f"tensors {', '.join(sorted(odd)[:5])} do not fit")
    module.load_state_dict(tensors, strict=False)


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value).detach().to("cpu", copy=True).contiguous()
        for number, entries in state.items()
        for name, value in entries.items()
    }


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def unwritten(folder: Path, error: SafetensorError) -> OutputError:
    """The one-line form of a failed write of tensors; safetensors tells a full disk only in words."""
    full = any(
        word in str(error)
        for word in ("No space left", "os error 28", "File too large", "quota", "os error 122")
    )
    return files.output_error(folder, OSError(errno.ENOSPC if full else errno.EIO, str(error)), ADVICE)


def random_snapshot(device: torch.device = _CPU) -> dict[str, Tensor]:
    """The random states of the CPU and of the device now."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def random_restore(states: dict[str, Tensor], device: torch.device = _CPU) -> None:
    """Go back to a snapshot."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
