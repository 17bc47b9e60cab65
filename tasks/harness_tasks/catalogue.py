"""Brings the suites of this package to the harness. Knows how a suite file is written; holds no number itself."""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Iterable
from typing import Any

from harness import SpecError, Suite, SuiteTask, hookimpl


def read_suite(text: str, where: str) -> Suite:
    """A suite from its TOML file.

    Raises:
        SpecError: The file is not TOML, or a key is missing or of another type.
    """
    try:
        data: dict[str, Any] = tomllib.loads(text)
        tasks = tuple(
            SuiteTask(task=entry["task"], languages=tuple(entry["languages"].split()), group=entry["group"])
            for entry in data["tasks"]
        )
        return Suite(
            name=data["name"],
            title=data["title"],
            tasks=tasks,
            citation=data["citation"],
            notes=tuple(data.get("notes", ())),
        )
    except (tomllib.TOMLDecodeError, KeyError, AttributeError, TypeError) as error:
        raise SpecError(f"suite file {where}: {type(error).__name__}: {error}") from error


@hookimpl
def harness_suites() -> Iterable[Suite]:
    """Every ``suites/*.toml``."""
    folder = importlib.resources.files("harness_tasks") / "suites"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".toml"))
    return [read_suite((folder / name).read_text(encoding="utf-8"), name) for name in names]
