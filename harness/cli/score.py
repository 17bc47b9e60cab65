"""``harness score``: a submission folder to scores, as a table or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from harness import submission
from harness.cli.options import json_option, plugin_options
from harness.errors import UnknownNameError
from harness.registry import load_catalog
from harness.submission import SuiteScores, TaskScores


@click.command()
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option(
    "--labels", type=click.Path(path_type=Path), required=True, help="Folder with the gold answers, likewise."
)
@click.option("--suite", "name", default="xtreme", show_default=True, help="Tasks, languages and averages.")
@click.option(
    "-l",
    "--languages",
    multiple=True,
    help="Codes, or 'available' for those that have labels. Default: all of the suite, without which no overall.",
)
@plugin_options
@json_option
def command(
    predictions: Path,
    labels: Path,
    name: str,
    languages: tuple[str, ...],
    plugins: tuple[str, ...],
    no_plugins: bool,
    as_json: bool,
) -> None:
    """Score the folder PREDICTIONS, which holds <task>/test-<language>.tsv or .json, as the benchmark does."""
    catalog = load_catalog(plugins, others=not no_plugins)
    if name not in catalog.suites:
        raise UnknownNameError("suite", name, catalog.suites)
    asked = [code.strip() for text in languages for code in text.split(",") if code.strip()]
    scores = submission.score_folder(predictions, labels, catalog.suites[name], catalog, asked)
    for line in (*scores.unanswered, *_lacks(scores)):
        click.echo(f"harness: {line}", err=True)
    if as_json:
        click.echo(json.dumps(scores.to_json(), ensure_ascii=False, indent=1))
    else:
        _print(scores)


def _lacks(scores: SuiteScores) -> Iterator[str]:
    """Why there is no overall score."""
    if scores.missing:
        yield f"no overall score of {scores.suite}: no folder in predictions and labels for {', '.join(scores.missing)}"
    partial = [
        f"{task} {found.languages} of {found.of}" for task, found in scores.tasks.items() if _partial(found)
    ]
    if partial:
        yield f"no overall score of {scores.suite}: not in all languages: {', '.join(partial)}"


def _partial(found: TaskScores) -> bool:
    return found.languages < found.of


def _print(scores: SuiteScores) -> None:
    click.echo(f"{'task':<16} {'score':>7}  {'languages':<17}  metrics")
    for task, found in scores.tasks.items():
        metrics = "  ".join(f"{name} {metric.average:.2f}" for name, metric in found.metrics.items())
        count = f"{found.languages}/{found.of}" + (", incomplete" if _partial(found) else "")
        click.echo(f"{task:<16} {found.score:7.2f}  {count:<17}  {metrics}")
    click.echo()
    for name, value in (*scores.groups.items(), (scores.suite, scores.overall)):
        click.echo(f"{name:<16} {'incomplete' if value is None else f'{value:7.2f}'}")
