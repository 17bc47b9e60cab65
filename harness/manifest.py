"""``run.json``: what was asked for, what answered, on what machine, and how each unit ended. Knows no score."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.catalog import Catalog
from harness.checkpoints import Checkpoint
from harness.curriculum import Phase
from harness.pipeline import Outcome, pending_units
from harness.plan import Plan
from harness.records import SCHEMA_VERSION
from harness.request import Prepared, Request
from harness.run import RunWriter
from harness.version import DISTRIBUTION, __version__

_VERSIONS = ("torch", "transformers", "tokenizers", "datasets", "faiss-cpu", "numpy", "pluggy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Writes ``run.json`` of a run, whenever its status changes."""

    prepared: Prepared
    catalog: Catalog
    writer: RunWriter
    started: float

    def write(self, status: str, outcome: Outcome) -> None:
        """Write it as of now; ``status`` is running, complete, partial, interrupted or failed."""
        plan, request = self.prepared.plan, self.prepared.request
        self.writer.write_manifest(
            {
                "schema": SCHEMA_VERSION,
                "run": plan.run,
                "status": status,
                "identity": dict(plan.identity),
                "command": _command(),
                "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
                "seconds": round(time.time() - self.started, 3),
                "model": _model_facts(plan, request),
                "data": str(plan.location),
                "limit": plan.limit,
                "missing_languages": {
                    e.task.name: list(e.missing) for e in self.prepared.selected if e.missing
                },
                "trainings": [_phase_facts(phase) for phase in plan.phases],
                "units": self._units(outcome),
                "work": dict(outcome.work),
                "plugins": [
                    {"name": p.name, "distribution": p.distribution, "version": p.version, "status": p.status}
                    for p in self.catalog.plugins
                ],
                "versions": _versions(),
                "hardware": {
                    "machine": platform.machine(),
                    "cores": os.cpu_count(),
                    "device": request.device,
                    "processes": self.prepared.compute.ranks.size,
                    "system": platform.system(),
                },
            }
        )

    def _units(self, outcome: Outcome) -> list[Mapping[str, Any]]:
        """This plan's units, and after them those of earlier selections in the same folder."""
        scored = {record.unit for record in self.writer.records}
        waiting = {
            self.prepared.plan.units[number].key
            for number in pending_units(self.prepared.plan, self.catalog, self.writer, again=False)
        }
        entries: dict[tuple[str, str, int | None], Mapping[str, Any]] = {}
        for unit in self.prepared.plan.units:
            key = unit.key
            error = outcome.failures.get(key, "")
            entries[key] = {
                "task": unit.task.name,
                "language": unit.language,
                "seed": unit.seed,
                "split": unit.split,
                "status": "failed" if error else "missing" if key in waiting else "done",
                "error": error,
                "seconds": round(outcome.seconds.get(key, 0.0), 3),
            }
        for entry in self.writer.earlier_units(scored):
            entries.setdefault((entry["task"], entry["language"], entry["seed"]), entry)
        return list(entries.values())


def _command() -> list[str]:
    """Arguments of ``harness`` or ``python -m harness``; none where Python called."""
    program = Path(sys.argv[0]) if sys.argv else Path()
    ours = program.name.startswith("harness") or program.parts[-2:] == ("harness", "__main__.py")
    return sys.argv[1:] if ours else []


def _phase_facts(phase: Phase) -> Mapping[str, Any]:
    return {
        "checkpoint": phase.key,
        "parent": phase.parent.weights,
        "learned": phase.learn.name,
        "language": phase.learn.language,
        "examples": phase.learn.examples,
        "selected_on": None if phase.select is None else phase.select.name,
        "seed": phase.seed,
    }


def _model_facts(plan: Plan, request: Request) -> Mapping[str, Any]:
    first, *others = [_facts_of(plan, checkpoint, request) for checkpoint in plan.checkpoints]
    tasks = {unit.task.name: unit.checkpoint.weights for unit in plan.units}
    return {**first, "others": others, "tasks": tasks}


def _facts_of(plan: Plan, checkpoint: Checkpoint, request: Request) -> dict[str, Any]:
    depth = checkpoint.depth
    return {
        "name": checkpoint.name,
        "revision": checkpoint.revision,
        "family": checkpoint.family,
        "depth": depth,
        "weights": checkpoint.weights,
        "tokenizer": checkpoint.tokenizer,
        "dtype": request.dtype,
        "vectors": [
            f"hidden_states[{space.layer}] of {depth + 1}, {space.pooling} pooling"
            for space in plan.spaces(checkpoint)
        ],
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), DISTRIBUTION: __version__}
    for name in _VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
