"""The task ``weather-pairs``, the metric ``near_hit`` and the suite ``weather``. Knows forecast files; no model."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from harness import (
    DataError,
    Encoding,
    FilesSource,
    Json,
    Metric,
    MetricUse,
    Parts,
    Row,
    Suite,
    SuiteTask,
    TaskSpec,
    hookimpl,
)
from harness.formats.retrieval import Nearest, Retrieval, Sentence

LANGUAGES = ("de", "es")


def forecast_file(language: str, split: str) -> Mapping[str, str]:
    """``weather/en-xx.forecast``; there is one split."""
    return {"pairs": f"weather/en-{language}.forecast"}


def read_forecast(paths: Mapping[str, Path], language: str) -> Iterator[Row]:
    """Rows of a forecast file: blocks of an ``en:`` line and a line of the other language."""
    path = paths["pairs"]
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    block: dict[str, str] = {}
    number = 0
    for line, text in enumerate([*data.decode("utf-8").split("\n"), ""], start=1):
        code, colon, sentence = text.partition(":")
        if text.startswith("#"):
            continue
        if text.strip():
            if not colon or code not in ("en", language):
                raise DataError(
                    f"{path}, line {line}: {text[:40]!r} does not start with 'en:' or '{language}:'"
                )
            block[code] = sentence.strip()
        elif block:
            if len(block) != 2:
                raise DataError(f"{path}, line {line}: the block that ends here is not a pair")
            yield {
                "id": f"{language}-{number}",
                "side": "xx",
                "text": block[language],
                "gold": [f"en-{number}"],
            }
            yield {"id": f"en-{number}", "side": "en", "text": block["en"], "gold": [f"{language}-{number}"]}
            block, number = {}, number + 1


def sentence(row: Row) -> Sentence:
    """One row to one sentence."""
    return Sentence(id=row["id"], side=row["side"], text=row["text"], gold=tuple(row["gold"]))


def near(gold: Sequence[Json], predictions: Sequence[Json]) -> Parts:
    """Whether the answer stands at most one pair away from the right one."""
    right, found = (
        np.array([int(str(answer).rpartition("-")[2]) for answer in answers])
        for answers in (gold, predictions)
    )
    return {"near": (np.abs(right - found) <= 1).astype(np.float64)}


NEAR_HIT = Metric(
    name="near_hit",
    signature="near_hit|within1|v1",
    parts=near,
    combine=lambda means: means["near"],
    doc="Share of sentences whose answer stands at most one pair from the right one, in percent. "
    "Paper: none, made for this package. Official scorer: this function.",
)

WEATHER_PAIRS = TaskSpec(
    name="weather-pairs",
    version=2,
    title="Weather forecasts, two languages against English",
    format=Retrieval(searches=(Nearest(view="xx-en", queries="xx"),)),
    languages=LANGUAGES,
    splits=("test",),
    split="test",
    sources=(
        FilesSource(name="forecast", files=forecast_file, read=read_forecast, homepage="in this package"),
    ),
    sample="harness_weather:samples",
    example=sentence,
    metrics=(MetricUse(metric="near_hit", view="xx-en"), MetricUse(metric="accuracy", view="xx-en")),
    protocols={"weather": Encoding(layer="last")},
    licence="CC0",
    citation="@misc{weather, title = {Weather pairs}}",
    homepage="in this package",
)

WEATHER = Suite(
    name="weather",
    title="Weather: one task",
    tasks=(SuiteTask(task="weather-pairs", languages=LANGUAGES, group="retrieval"),),
    citation="@misc{weather, title = {Weather pairs}}",
)


@hookimpl
def harness_tasks() -> Iterable[TaskSpec]:
    """Weather pairs."""
    return (WEATHER_PAIRS,)


@hookimpl
def harness_metrics() -> Iterable[Metric]:
    """Near hits."""
    return (NEAR_HIT,)


@hookimpl
def harness_suites() -> Iterable[Suite]:
    """The suite of this package."""
    return (WEATHER,)
