"""What ``harness train`` does: stages to checkpoints, one after the other, and the last one where the user wants it.

Knows the steps of intermediate training; prints nothing.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import files, tuning
from harness.catalog import Catalog
from harness.checkpoints import FACTS, Checkpoint, open_checkpoint
from harness.curriculum import Phase
from harness.engine import load
from harness.engine.session import Compute
from harness.errors import OutputError
from harness.intermediate import StagePlanner
from harness.making import model_of
from harness.progress import Listener, Silent
from harness.registry import load_catalog
from harness.sources import DataLocation
from harness.stageoptions import StageOptions, stages_of
from harness.stages import PROTOCOL, Stage
from harness.teaching import learned_with
from harness.unused import check_stage_options
from harness.workplace import compute_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A model and the stages that it goes through.

    Attributes:
        base: The model that is trained first.
        stages: In order; none leaves the model as it is.
        location: Where the data is.
        protocol: Whose training values are taken.
        seed: Of all stages.
        dtype: In which training computes.
    """

    base: Checkpoint
    stages: Sequence[Stage]
    location: DataLocation
    protocol: str
    seed: int
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A phase of a chain before it is carried out.

    Attributes:
        phase: What will be done. Its parent is not yet there where ``known`` is false; it is then planned on the nearest
            one that is, so examples and steps are right and the key is not.
        known: Whether the parent is there.
        done: Whether its checkpoint is there too.
    """

    phase: Phase
    known: bool
    done: bool


def planned(chain: Chain, catalog: Catalog, home: Path) -> Iterator[Planned]:
    """The phases of a chain, each on the checkpoint that the one before made, as far as they are made already.

    Raises:
        DataError: A training set is not to be had.
        UsageError: A stage cannot be carried out.
    """
    parent, known = chain.base, True
    for stage in chain.stages:
        phase = _planner(chain, catalog).phase(stage, parent)
        folder = tuning.folder_of(phase, home)
        done = known and folder.is_dir()
        yield Planned(phase=phase, known=known, done=done)
        known = done
        if done:
            parent = replace(open_checkpoint(str(folder)), name=parent.name)


def trained(chain: Chain, catalog: Catalog, compute: Compute, listener: Listener) -> Checkpoint:
    """The checkpoint at the end of a chain; what the cache has of it is not trained again.

    Raises:
        DataError: A training set cannot be read.
        ModelError: A training fails; the earlier ones are kept.
        OutputError: The cache cannot be written.
        UsageError: A setting is not allowed, or a stage cannot be carried out.
    """
    if compute.deterministic:
        load.be_deterministic()
    checkpoint = chain.base
    # Told before anything is trained; what else a later stage may lack, its data says.
    for task, settings in (pair for stage in chain.stages for pair in stage.settings.items()):
        learned_with(catalog.task(task), settings)
    for stage in chain.stages:
        # A planner holds training sets; each goes before the training begins.
        phase = _planner(chain, catalog).phase(stage, checkpoint)
        checkpoint = tuning.obtain(phase, catalog, chain.location, compute, listener).checkpoint
    return checkpoint


def _planner(chain: Chain, catalog: Catalog) -> StagePlanner:
    return StagePlanner(
        catalog=catalog,
        location=chain.location,
        protocol=chain.protocol,
        seed=chain.seed,
        dtype=chain.dtype,
    )


def train(
    *,
    model: str | Path,
    tasks: Sequence[str] | str,
    output: str | Path | None = None,
    data: str = "hub",
    protocol: str = PROTOCOL,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    revision: str | None = None,
    offline: bool = False,
    overwrite: bool = False,
    gradient_checkpointing: bool = False,
    deterministic: bool = False,
    plugins: Sequence[str] = (),
    **options: Any,
) -> Path:
    """Train a model on intermediate tasks and return the checkpoint's folder, as ``harness train`` does.

    Args:
        model: A folder, a hub id, ``sample``, or a new encoder (see :mod:`harness.newmodels`).
        tasks: What is learned.
        output: Where the checkpoint is put; None leaves it in the cache.
        options: Those of :class:`harness.stageoptions.StageOptions`, by name.

    Raises:
        HarnessError: It could not be trained.
    """
    catalog = load_catalog(plugins)
    compute = compute_of(
        device=device,
        dtype=dtype,
        gradient_checkpointing=gradient_checkpointing,
        deterministic=deterministic,
    )
    named = (tasks,) if isinstance(tasks, str) else tasks
    location = DataLocation.parse(data, offline=offline)
    staged = StageOptions(tasks=named, **options)
    stages = stages_of(staged)
    check_stage_options(staged, stages, catalog)
    chain = Chain(
        base=model_of(str(model), catalog, location, revision=revision, offline=offline),
        stages=stages,
        location=location,
        protocol=protocol,
        seed=seed,
        dtype=compute.dtype,
    )
    target = Path(output) if output is not None else None
    return carried_out(chain, catalog, compute, Silent(), target, overwrite=overwrite)


def carried_out(
    chain: Chain,
    catalog: Catalog,
    compute: Compute,
    listener: Listener,
    output: Path | None,
    *,
    overwrite: bool = False,
) -> Path:
    """Train a chain and put its last checkpoint where it is wanted; the folder.

    Of several processes the first one writes; the others compute their part and return when it is done.

    Raises:
        HarnessError: As :func:`trained`, or the output folder is another one's.
    """
    ranks = compute.ranks
    if output is not None:
        known = not overwrite and ranks.from_first(
            lambda: _holds_result(output, chain, catalog, compute.home)
        )
        if known:
            return output
        ranks.from_first(lambda: check_free(output, overwrite=overwrite))
    checkpoint = trained(chain, catalog, compute, listener)
    if output is None:
        return checkpoint.folder
    ranks.from_first(lambda: put(checkpoint, output))
    return output


def _holds_result(folder: Path, chain: Chain, catalog: Catalog, home: Path) -> bool:
    """Whether an earlier process put the very checkpoint there that this chain makes; then all is done."""
    try:
        told: Any = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    *_, last = planned(chain, catalog, home)
    return isinstance(told, dict) and last.done and told.get("key") == last.phase.key


def check_free(folder: Path, *, overwrite: bool) -> None:
    """Find out before anything is trained that the output folder cannot be taken.

    Raises:
        OutputError: It is something else than a checkpoint of this harness, or one that is not to be replaced, or it
            cannot be written.
    """
    try:
        empty = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if not empty and not (folder / FACTS).is_file():
            raise OutputError(
                f"{folder} is there and is no checkpoint of this harness; choose another --output"
            )
        if not empty and not overwrite:
            raise OutputError(
                f"{folder} holds a checkpoint already; choose another --output, or give --overwrite"
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder.parent):
            pass
    except OSError as error:
        raise files.output_error(folder, error) from error


def put(checkpoint: Checkpoint, folder: Path) -> None:
    """Copy a checkpoint so that the folder appears whole, in place of an earlier one.

    Raises:
        OutputError: The folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Names of their own, so that what a killed process left is replaced and does not pile up.
        draft, aside = (folder.with_name(f".{folder.name}.harness-{part}") for part in ("new", "before"))
        for left in (draft, aside):
            shutil.rmtree(left, ignore_errors=True)
        try:
            files.copy_folder(checkpoint.folder, draft)
            draft.chmod(0o755)
            files.settle(draft)
            # The earlier one goes only when the new one is in its place.
            if folder.exists():
                folder.replace(aside)
            try:
                draft.replace(folder)
            except OSError:
                if aside.exists():
                    aside.replace(folder)
                raise
            shutil.rmtree(aside, ignore_errors=True)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise files.output_error(folder, error) from error
