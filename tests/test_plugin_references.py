"""What a plugin's task names and nobody brings: shown by ``tasks show``, told with the task when it is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from told import assert_one_line

Cli = Callable[..., Any]
PLUGIN = """
from harness import Encoding, FilesSource, MetricUse, Schedule, TaskSpec, Training, hookimpl
from harness.formats.classification import Classification, text_pair

def read(paths, language):
    for number, line in enumerate(paths["main"].read_text(encoding="utf-8").splitlines()):
        text, _, label = line.partition("\t")
        yield {"id": str(number), "text": text, "label": label}

MOOD = TaskSpec(
    name="mood", version=1, title="Mood", format=Classification(labels=("good", "bad")),
    languages=("en", "de"), splits=("train", "test"), split="test",
    sources=(FilesSource(name="mood", files=lambda language, split: {"main": f"{split}-{language}.tsv"}, read=read, homepage=""),),
    example=text_pair, metrics=(MetricUse(metric="METRIC"),), protocols={"mine": Encoding(max_length=64)},
    training={"mine": Training(task="TRAINING", schedule=Schedule(epochs=1, batch_size=8, learning_rate=1e-3))},
    licence="CC0", citation="", homepage="",
)

@hookimpl
def harness_tasks():
    return (MOOD,)
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[..., Path]:
    """Writes the plugin and data for it."""
    data = tmp_path / "data"
    data.mkdir()
    for split in ("train", "test"):
        for language in ("en", "de"):
            (data / f"{split}-{language}.tsv").write_text("fine\tgood\nawful\tbad\n", encoding="utf-8")

    def write(metric: str = "accuracy", training: str = "mood") -> Path:
        path = tmp_path / "mood.py"
        path.write_text(PLUGIN.replace("METRIC", metric).replace("TRAINING", training), encoding="utf-8")
        return path

    return write


def asked(cli: Cli, plugin: Path, *more: object) -> Any:
    folder = plugin.parent
    return cli(
        "eval",
        "-m",
        "sample",
        "-t",
        "mood",
        "--data",
        folder / "data",
        "-p",
        plugin,
        "-o",
        folder / "run",
        *more,
    )


def test_a_training_task_that_nobody_brings(cli: Cli, plugin: Callable[..., Path]) -> None:
    path = plugin(training="moot")
    shown = cli("tasks", "show", "mood", "-p", path)
    assert "moot/train (en): no loaded plugin brings this task" in shown.out
    assert_one_line(asked(cli, path), ["training of task 'mood': unknown task 'moot'", "did you mean mood?"])


def test_a_metric_that_nobody_brings(cli: Cli, plugin: Callable[..., Path]) -> None:
    path = plugin(metric="acuracy")
    shown = cli("tasks", "show", "mood", "-p", path)
    assert "no loaded plugin brings this metric" in shown.out
    assert_one_line(asked(cli, path), ["task 'mood' of plugin mood", "unknown metric 'acuracy'"])


@pytest.mark.parametrize("languages", ["", ",,", " , "])
def test_languages_that_name_none_are_not_all_of_them(
    cli: Cli, plugin: Callable[..., Path], languages: str
) -> None:
    """A script may have a variable that nobody set."""
    assert_one_line(
        asked(cli, plugin(), "-l", languages), ["--languages names no language", "leave it out"], 5
    )
