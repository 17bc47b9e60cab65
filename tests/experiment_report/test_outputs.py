"""A whole experiment as Markdown, page, tables, JSON and on the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from experiments import Answers, Folder, first, languages_right, number_of, phase_of
from hypothesis import given
from hypothesis import strategies as st

from harness.catalog import Catalog
from harness.report.experiment import (
    as_json,
    find,
    html,
    markdown,
    terminal,
    write_experiment_report,
)
from harness.report.experiment.document import signed
from harness.report.experiment.kinds import SOURCES
from harness.report.experiment.layout import MANIFEST
from harness.report.experiment.plots import Series, plot
from harness.report.experiment.sections import sections
from harness.report.experiment.tidy import COLUMNS, as_csv, tidy

GOLDEN = Path(__file__).parents[1] / "golden" / "experiment.md"

# Every metric, families, and which sections


def test_every_metric_has_its_means_and_models_their_families(folder: Folder, catalog: Catalog) -> None:
    def answers(right: int, f1: float) -> list[Answers]:
        other = {"metric": "macro_f1", "signature": "macro_f1|x|v1", "main": False, "value": f1}
        return [
            *(first(right, language=code) for code in ("en", "de")),
            *(first(right, language=code, record=other) for code in ("en", "de")),
            first(40, language="en", split="dev", record=other),
        ]

    for model, more in (("one", 0), ("two", 8)):
        for seed in range(2):
            folder.cell("baseline", answers(10, 20.0 + more), model=model, seed=seed)
            folder.cell("mnli", answers(20 + 2 * seed, 40.0 + more + seed), model=model, seed=seed)
    models = [{"name": "one", "family": "dense"}, {"name": "two", "family": "mixture of experts"}]
    found = find(folder.write(models=models), catalog)
    means = {(one.model, one.setting, one.metric): (one.score, one.delta) for one in found.metrics}
    assert means["one", "mnli", "macro_f1"] == pytest.approx((40.5, 20.5))
    assert means["two", "baseline", "macro_f1"][0] == pytest.approx(28.0)
    assert means["two", "baseline", "macro_f1"][1] is None
    assert means["two", "mnli", "accuracy"] == pytest.approx((52.5, 27.5))
    text = markdown.render(found).replace("\\", "")
    assert "| target | metric | model | family | baseline | mnli |" in text
    rows = re.findall(r"\| xnli \| (accuracy|macro_f1) \| (one|two) \|", text)
    assert rows == [("accuracy", "one"), ("accuracy", "two"), ("macro_f1", "one"), ("macro_f1", "two")]
    assert "| xnli | macro_f1 | two | mixture of experts | 28.00 | 48.50<br>+20.50 |" in text
    row = next(row for row in tidy(found)["metrics"] if row["metric"] == "macro_f1")
    assert (row["model"], row["family"], row["baseline"], row["seeds"]) == ("one", "dense", True, 2)


@pytest.mark.parametrize(
    ("named", "anchors"),
    [
        (None, {"best", "orders", "sizes", "forgetting", "kinds"}),
        (["transfer"], set()),
        (["transfer", "order", "forgetting"], {"orders", "forgetting"}),
        (["best_intermediate", "sizes", "typology", "baselines"], {"best", "sizes", "kinds", "published"}),
    ],
)
def test_the_recipe_chooses_the_sections(
    folder: Folder, catalog: Catalog, named: list[str] | None, anchors: set[str]
) -> None:
    if named is not None:
        folder.recipe["analyses"] = named
    numbers = [number_of()] if named else []
    shown = {section.anchor for section in sections(find(_whole(folder), catalog, numbers))}
    always = {"matrix", "missing", "languages", "metrics", "training", "ours", "cells"}
    assert shown == always | anchors


def test_what_was_written_from_knowledge_says_so() -> None:
    for name in ("word order", "distance from English"):
        assert "written from knowledge" in SOURCES[name]


# Outputs


def _whole(folder: Folder, name: str = "mnli") -> Path:
    """An experiment with something of everything."""
    for seed in range(2):
        folder.cell(
            "baseline",
            [*languages_right(en=30, de=20, sw=10), *languages_right("tatoeba", de=10, ja=5)],
            seed=seed,
        )
    curve = [{"step": step, "loss": 2.0 / step} for step in range(1, 6)]
    facts = {"curve": curve, "ours": ["epochs"], "schedule": {"epochs": 3}}
    one = phase_of(name, [(name, 80.0)], **facts)
    two = phase_of("qqp", [(name, 70.0), ("qqp", 90.0)], **facts)
    for setting, axes, lineage, more in (
        (f"{name} > qqp", {"order": f"{name} > qqp"}, [one, two], 12),
        (f"qqp > {name}", {"order": f"qqp > {name}"}, [two, one], 2),
        (f"{name} 10%", {"size": "0.1"}, [one], 4),
    ):
        folder.setting(setting, **axes)
        for seed in range(2):
            right = [
                *languages_right(en=30 + seed, de=20 + more, sw=10 + more),
                *languages_right("tatoeba", de=10 + more, ja=5),
            ]
            folder.cell(setting, right, seed=seed, lineage=lineage)
    folder.cells.append(
        {
            "id": "x",
            "model": "enc",
            "setting": "baseline",
            "seed": 2,
            "status": "failed",
            "error": f"{name} <failed>",
        }
    )
    return folder.write()


def test_the_markdown_of_a_small_experiment(folder: Folder, catalog: Catalog) -> None:
    """To renew it, write what this test renders to the file and read the difference."""
    assert markdown.render(find(_whole(folder), catalog)) == GOLDEN.read_text(encoding="utf-8")


class _Page(HTMLParser):
    """Which elements a page has, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.anchors: set[str] = set()
        self.links: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        values = dict(attrs)
        if "id" in values:
            self.anchors.add(f"#{values['id']}")
        if tag == "a":
            self.links.add(values["href"] or "")
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(folder: Folder, catalog: Catalog) -> None:
    text = html.render(find(_whole(folder), catalog))
    page = _Page(text)
    assert page.open == []
    assert page.links == page.anchors
    assert page.links >= {
        "#matrix",
        "#missing",
        "#best",
        "#orders",
        "#sizes",
        "#forgetting",
        "#kinds",
        "#cells",
    }
    assert {"script", "img", "link"}.isdisjoint(page.seen)
    assert not re.findall(r"@import|url\(|https?:|src=", text)
    # Orders of two targets, the loss of two phases; one size makes no curve.
    assert page.seen.count("svg") == 2 + 2


def test_names_that_others_wrote_are_escaped(folder: Folder, catalog: Catalog) -> None:
    evil = '<script>alert("1")</script>|x'
    folder.recipe["title"] = folder.recipe["question"] = evil
    folder.recipe["notes"] = [evil]
    found = find(_whole(folder, evil), catalog)
    page = _Page(html.render(found))
    assert "script" not in page.seen
    assert "&lt;script&gt;" in html.render(found)
    text = markdown.render(found)
    assert "<script>" not in text.replace("\\<script\\>", "")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "script" in line]
    assert rows
    table = [re.sub(r"\\.", "", row).count("|") for row in rows if row.startswith("| target")]
    assert set(table) == {6, 9}, "a bar in a name is not a column"


def test_the_files_are_written_and_the_tables_can_be_read_again(folder: Folder, catalog: Catalog) -> None:
    path = _whole(folder)
    page = write_experiment_report(path, catalog)
    assert page == path / "report.html"
    names = {"matrix", "languages", "forgetting", "sizes", "orders", "best", "metrics"}
    assert (
        {file.name for file in path.glob("*.csv")}
        == {f"{name}.csv" for name in names}
        == {f"{name}.csv" for name in COLUMNS}
    )
    rows = list(csv.DictReader(io.StringIO((path / "matrix.csv").read_text(encoding="utf-8"))))
    (row,) = [one for one in rows if one["setting"] == "mnli > qqp" and one["target"] == "xnli"]
    assert float(row["score"]) == pytest.approx((75 + 1.25 + 80 + 55) / 3)
    assert float(row["delta"]) == pytest.approx((1.25 + 30 + 30) / 3)
    assert (row["test"], row["seeds"], row["items"]) == ("bootstrap", "2", "120")
    assert float(row["p_holm"]) == pytest.approx(min(1.0, float(row["p_holm"])))
    languages = list(csv.DictReader(io.StringIO((path / "languages.csv").read_text(encoding="utf-8"))))
    (swahili,) = [one for one in languages if one["setting"] == "mnli > qqp" and one["language"] == "sw"]
    assert (swahili["family"], swahili["word_order"], swahili["distance_from_english"]) == (
        "Niger-Congo",
        "SVO",
        "2",
    )
    assert float(swahili["gain"]) == pytest.approx(30.0)


def test_every_row_has_the_columns_of_its_table(folder: Folder, catalog: Catalog) -> None:
    for name, rows in tidy(find(_whole(folder), catalog)).items():
        assert rows
        assert {tuple(row) for row in rows} == {tuple(COLUMNS[name])}
        assert len(list(csv.reader(io.StringIO(as_csv(name, rows))))) == len(rows) + 1


def test_everything_is_json(folder: Folder, catalog: Catalog) -> None:
    value = as_json(find(_whole(folder), catalog))
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    assert (value["kind"], value["baseline"], value["tests"]) == ("experiment", "baseline", 6)
    assert value["problems"] == ["enc, baseline, seed 2: failed: mnli <failed>"]


def test_the_command_knows_an_experiment(folder: Folder, cli: Callable[..., Any]) -> None:
    path = _whole(folder)
    shown = cli("report", path)
    assert shown.code == 0, shown.err
    assert "transfer matrix: enc" in shown.out
    assert "9 cells: 8 done, 1 failed" in shown.out
    assert (path / "report.html").is_file()
    told = json.loads(cli("report", path, "--json").out)
    assert {row["setting"] for row in told["matrix"]} == {"baseline", "mnli > qqp", "qqp > mnli", "mnli 10%"}
    (path / MANIFEST).write_text("{", encoding="utf-8")
    broken = cli("report", path)
    assert (broken.code, "not readable" in broken.complaint) == (2, True)


def test_the_terminal_takes_names_as_they_are(folder: Folder, catalog: Catalog) -> None:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=200).print(terminal.render(find(_whole(folder, "[bold]x[/bold]"), catalog)))
    assert "[bold]x[/bold] > qqp" in out.getvalue()


# Parts


@given(
    st.lists(st.tuples(st.floats(1, 1e6), st.floats(-1e3, 1e3)), min_size=1, max_size=20),
    st.booleans(),
)
def test_points_lie_on_the_plot(points: list[tuple[float, float]], log: bool) -> None:
    drawn = plot("t", [Series(name="s", points=points)], x="x", y="y", log=log)
    (line,) = drawn.lines
    assert len(line.dots) == len(points)
    assert all(0 <= x <= drawn.width and 0 <= y <= drawn.bottom for x, y in line.dots)
    assert 2 <= len(drawn.y_ticks) <= 12


def test_points_that_are_no_numbers_are_left_out() -> None:
    drawn = plot(
        "t", [Series(name="s", points=[(0.0, 1.0), (1.0, math.nan), (2.0, 3.0)])], x="x", y="y", log=True
    )
    assert [len(line.dots) for line in drawn.lines] == [1]


@pytest.mark.parametrize(
    ("value", "text"), [(0.004, "+0.00"), (-0.004, "+0.00"), (-1.006, "-1.01"), (None, "–")]
)
def test_differences_have_a_sign(value: float | None, text: str) -> None:
    assert signed(value) == text
