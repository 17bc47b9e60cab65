"""``harness tasks``: what can be evaluated, and all that is known of one task."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from harness import languages
from harness.catalog import Catalog
from harness.cli.options import json_option, plugin_options
from harness.registry import load_catalog
from harness.spec import FilesSource, Source, TaskSpec, Training


@click.group()
def command() -> None:
    """List tasks, or show one."""


@command.command("list")
@plugin_options
@json_option
def list_tasks(plugins: tuple[str, ...], no_plugins: bool, as_json: bool) -> None:
    """Every task and suite, one line each."""
    catalog = load_catalog(plugins, others=not no_plugins)
    if as_json:
        click.echo(json.dumps([describe(task, catalog) for task in catalog.tasks.values()], indent=1))
        return
    width = max(map(len, [*catalog.tasks, *catalog.suites]), default=0)
    for name in sorted(catalog.tasks):
        task = catalog.tasks[name]
        click.echo(f"{name:<{width}} {task.format.name:<14} {len(task.languages):>3} languages  {task.title}")
    for name in sorted(catalog.suites):
        suite = catalog.suites[name]
        click.echo(f"{name:<{width}} {'suite':<14} {len(suite.tasks):>3} tasks      {suite.title}")


@command.command("show")
@click.argument("name")
@plugin_options
@json_option
def show_task(name: str, plugins: tuple[str, ...], no_plugins: bool, as_json: bool) -> None:
    """All that is known of one task."""
    catalog = load_catalog(plugins, others=not no_plugins)
    facts = describe(catalog.task(name), catalog)
    if as_json:
        click.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    for key, value in facts.items():
        for number, text in enumerate(_texts(value)):
            click.echo(f"{key if number == 0 else '':<13} {text}")


def describe(task: TaskSpec, catalog: Catalog) -> dict[str, Any]:
    """A task as a JSON value."""
    owner = catalog.owner(task.name)
    return {
        "name": task.name,
        "version": task.version,
        "title": task.title,
        "format": task.format.name,
        "plugin": f"{owner.name} of {owner.distribution} {owner.version}",
        "languages": list(task.languages),
        "suites": {
            s.name: list(e.languages) for s in catalog.suites.values() for e in s.tasks if e.task == task.name
        },
        "splits": list(task.splits),
        "split": task.split,
        "tuning_split": task.tuning_split,
        "sizes": {split: dict(sizes) for split, sizes in task.sizes.items()},
        "metrics": [_metric(use.metric, use.view, catalog) for use in task.metrics],
        "protocols": {name: f"{value}" for name, value in task.protocols.items()},
        "training": {name: _training(training, catalog) for name, training in task.training.items()},
        "sources": [_source(source, task) for source in task.sources],
        "licence": task.licence,
        "homepage": task.homepage,
        "notes": list(task.notes),
        "citation": task.citation,
    }


def _metric(name: str, view: str, catalog: Catalog) -> dict[str, Any]:
    if name not in catalog.metrics:
        return {"metric": name, "view": view, "signature": None, "doc": "no loaded plugin brings this metric"}
    metric = catalog.metric(name)
    better = "higher" if metric.higher_is_better else "lower"
    return {"metric": name, "view": view, "signature": metric.signature, "better": better, "doc": metric.doc}


def _training(training: Training, catalog: Catalog) -> dict[str, Any]:
    schedule = asdict(training.schedule)
    chosen = "last checkpoint" if training.select is None else "best on " + "/".join(training.select)
    return {
        "learned": f"{training.task}/{training.split} ({training.language})"
        + ("" if training.task in catalog.tasks else ": no loaded plugin brings this task"),
        "chosen": chosen,
        **{name: value for name, value in schedule.items() if value not in (None, ()) and name != "ours"},
        "ours": list(schedule["ours"]),
    }


def _source(source: Source, task: TaskSpec) -> dict[str, Any]:
    if isinstance(source, FilesSource):
        files = list(source.files(task.languages[0], task.split).values())
        return {"name": source.name, "kind": "files", "files": files, "homepage": source.homepage}
    return {"name": source.name, "kind": "hub", "repository": source.repository, "revision": source.revision}


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}: {', '.join(_texts(inner))}" for key, inner in value.items()]
    if isinstance(value, list):
        if all(isinstance(item, str) and languages.is_canonical(item) for item in value) and value:
            return [f"{len(value)}: {' '.join(value)}"]
        return [", ".join(_texts(item)) if isinstance(item, dict) else str(item) for item in value] or [
            "none"
        ]
    return str(value).split("\n")
