"""What a machine and an installation can do, and how steady a model's scores are on it. Prints nothing."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any

from harness import sources
from harness.catalog import Catalog
from harness.checkpoints import Checkpoint, adapted, check_length
from harness.engine import hardware, load
from harness.engine.embed import BATCH_TOKENS
from harness.engine.headed import Headed, new_headed, open_headed, with_packer
from harness.engine.invariance import batch_invariance
from harness.engine.load import DTYPES
from harness.errors import UsageError
from harness.formats.base import HeadFormat
from harness.heads import label_order
from harness.home import home
from harness.sources import DataLocation
from harness.spec import TaskSpec
from harness.version import DISTRIBUTION
from harness.workplace import checkpoint_of

_PACKAGES = (DISTRIBUTION, "torch", "transformers", "tokenizers", "datasets", "faiss-cpu", "numpy", "pluggy")
# The default budget of the device, and what lies well below and above it.
_SHARES = (0.25, 1.0, 4.0)


def environment(catalog: Catalog) -> dict[str, Any]:
    """Versions, devices, the cache folder and the plugins, as a JSON value."""
    folder = home()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        **hardware.facts(),
        "cache": {
            "folder": str(folder),
            "writable": os.access(there, os.W_OK),
            "free_gigabytes": round(shutil.disk_usage(there).free / 1e9, 1),
        },
        "plugins": [
            {"name": plugin.name, "status": plugin.status, "error": plugin.error}
            for plugin in catalog.plugins
        ],
        "tasks": len(catalog.tasks),
    }


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def steadiness(
    catalog: Catalog,
    *,
    model: str,
    tasks: Sequence[str],
    data: str,
    limit: int,
    device: str,
    dtype: str,
    offline: bool = False,
) -> list[dict[str, Any]]:
    """Largest score difference and label flips between batch plans, for a model on each task, as JSON values.

    Raises:
        UsageError: A task has no head, so that there are no scores to compare; no task, or no item of one, is asked for.
        HarnessError: Model or data are not to be had.
    """
    if limit < 1:
        raise UsageError(f"--limit {limit}: must be at least 1")
    if not tasks:
        raise UsageError("--tasks names no task; name one that is scored and has a head, e.g. xnli")
    device = load.resolve_device(device)
    dtype = load.resolve_dtype(dtype, device)
    location = DataLocation.parse(data, offline=offline)
    kind = device.split(":", maxsplit=1)[0]
    budgets = [max(1, int(BATCH_TOKENS[kind] * share)) for share in _SHARES]
    found = []
    for name in tasks:
        task = catalog.task(name)
        if not isinstance(task.format, HeadFormat) or not task.format.views:
            raise UsageError(
                f"task '{name}' has no scores to compare: batch invariance is about those of a head that predicts; name a "
                "task that is scored and has one"
            )
        language = next(iter(sources.available(task, task.split, location)), task.languages[0])
        checkpoint = checkpoint_of(model, offline=offline)
        checkpoint = adapted(checkpoint, catalog.encoder(checkpoint.family))
        headed = _headed(task, checkpoint, device=device, dtype=dtype)
        length = check_length(checkpoint, None, task.encoded_under(None).max_length)
        examples = sources.read(task, language, task.split, location, limit).examples
        rows = task.format.encode(examples, headed.tokenizer, length)
        for difference in batch_invariance(headed, rows, budgets):
            asked = {"task": name, "language": language, "rows": len(rows.lengths)}
            found.append({**asked, "packed": headed.packer is not None, **asdict(difference)})
    return found


def _headed(task: TaskSpec, checkpoint: Checkpoint, *, device: str, dtype: str) -> Headed:
    """The model with its own head where that fits, else with a new one, which is good enough for differences."""
    head = task.format.head
    order = label_order(checkpoint.head, head.kind, head.labels)
    if not isinstance(order, str):
        return open_headed(checkpoint, head, order, device=device, dtype=dtype)
    headed = new_headed(checkpoint, head, seed=0, device=device)
    headed.module.to(DTYPES[dtype]).eval()
    return with_packer(headed)
