"""On what a command runs: the model that a name stands for, device and dtype, caches. Knows the environment, no task."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from harness import checkpoints, files
from harness.builtin import is_built_in
from harness.checkpoints import Checkpoint
from harness.engine import load
from harness.engine.meeting import here, own_device
from harness.engine.sample import sample_checkpoint
from harness.engine.session import Compute
from harness.errors import UsageError
from harness.home import ADVICE, home

_ALLOWED = "a folder, a hub id (owner/name), 'sample' or new:NAME=VALUE,…"


def checkpoint_of(name: str, *, revision: str | None = None, offline: bool = False) -> Checkpoint:
    """The checkpoint that a value of ``--model`` names: a folder, a hub id, or a built-in one; raises ModelError."""
    plain, _ = checkpoints.asked_of(name)
    if not is_built_in(plain):
        return checkpoints.open_checkpoint(name, revision=revision, offline=offline, allowed=_ALLOWED)
    folder = f"{sample_checkpoint(home(), plain)}{name.removeprefix(plain)}"
    return replace(checkpoints.open_checkpoint(folder), name=name)


def compute_of(
    *,
    device: str,
    dtype: str,
    batch_tokens: int | None = None,
    gradient_checkpointing: bool = False,
    deterministic: bool = False,
) -> Compute:
    """What models run on, with ``auto`` settled; where a launcher started several processes, with the others of them.

    Raises:
        UsageError: Device, dtype, batch size or an environment variable is not allowed here.
    """
    if batch_tokens is not None and batch_tokens < 1:
        raise UsageError(f"--batch-tokens {batch_tokens}: must be at least 1")
    ranks = here()
    device = own_device(load.resolve_device(device), ranks.place)
    return Compute(
        device=device,
        dtype=load.resolve_dtype(dtype, device),
        given_tokens=batch_tokens,
        home=home(),
        gradient_checkpointing=gradient_checkpointing,
        deterministic=deterministic,
        save_seconds=_save_seconds(),
        ranks=ranks,
    )


def _save_seconds() -> float:
    text = os.environ.get("HARNESS_SAVE_SECONDS", "300")
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(
            f"environment variable HARNESS_SAVE_SECONDS={text}: give a number of seconds"
        ) from error


def check_cache(folder: Path) -> None:
    """Find out before anything is computed that a cache folder could not be written; raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise files.output_error(folder, error, ADVICE) from error
