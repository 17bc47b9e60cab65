"""Records that nothing was computed for."""

from __future__ import annotations

from typing import Any

from harness.records import Record


def record(**changes: Any) -> Record:
    """A record with what a test says of it and plain values for the rest; each task's and language's items are its own."""
    usual: dict[str, Any] = {
        "run": "run",
        "task": "xnli",
        "task_version": 1,
        "variant": "xtreme.head",
        "view": "",
        "language": "en",
        "split": "test",
        "metric": "accuracy",
        "signature": "accuracy|exact|v1",
        "value": 50.0,
        "stderr": 1.0,
        "n": 100,
        "higher_is_better": True,
        "main": True,
        "limited": None,
        "caveats": (),
        "facts": {},
        "inputs": {},
        "trained": {},
        "model": "small",
        "revision": None,
        "weights": "w",
        "dtype": "float32",
        "recipe": "recipe",
        "seed": None,
        "source": "files",
        "data": "data",
        "plugin": "plugin",
        "distribution": "distribution",
        "version": "0",
        **changes,
    }
    return Record(**{"items": f"{usual['task']}/{usual['language']}", **usual})
