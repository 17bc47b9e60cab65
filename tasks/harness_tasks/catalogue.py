"""Brings the suites of this package to the harness. Knows how a suite file is written; holds no number itself."""

from __future__ import annotations

import importlib.resources
import tomllib
from collections.abc import Iterable, Iterator
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
            SuiteTask(
                task=entry["task"],
                languages=tuple(entry["languages"].split()),
                group=entry["group"],
                metrics=tuple(entry.get("metrics", "").split()),
            )
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


def groups(suite: Suite) -> Iterator[Suite]:
    """One suite for each group of a suite of several, named ``SUITE-GROUP``."""
    names = list(dict.fromkeys(entry.group for entry in suite.tasks))
    for name in names if len(names) > 1 else ():
        yield Suite(
            name=f"{suite.name}-{name}",
            title=f"{suite.name}: its group {name}",
            tasks=tuple(entry for entry in suite.tasks if entry.group == name),
            citation=suite.citation,
        )


@hookimpl
def harness_suites() -> Iterable[Suite]:
    """Every ``suites/*.toml``, each followed by its groups."""
    folder = importlib.resources.files("harness_tasks") / "suites"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".toml"))
    suites = [read_suite((folder / name).read_text(encoding="utf-8"), name) for name in names]
    return [one for suite in suites for one in (suite, *groups(suite))]
