"""The HTML report: well-formed, alone, escaped, with charts whose bars are as long as the numbers say; and the command."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import made
import pytest
from click.testing import CliRunner

from harness import Record, Run, Suite, SuiteTask, report
from harness.report import html, summarise
from harness.report.cells import Cell
from harness.report.charts import Item, chart
from harness.run import open_run

VALUES = {"en": 80.0, "de": 70.0, "sw": 40.0, "zh": 50.0}
MANIFEST: dict[str, Any] = {
    "schema": 1,
    "run": "run",
    "identity": {},
    "status": "done",
    "started": "2020-01-01T00:00:00Z",
    "model": {
        "name": "<script>alert(1)</script>",
        "family": "bert",
        "depth": 2,
        "dtype": "float32",
        "revision": None,
        "weights": "w",
        "tokenizer": "t",
        "vectors": ["last_hidden_state"],
    },
    "versions": {"harness": "0"},
    "hardware": {"cores": 2, "device": "cpu"},
    "data": "files",
    "units": [],
}
SUITES = {
    "small": Suite(
        name="small",
        title="Small & fine",
        tasks=tuple(
            SuiteTask(task=task, languages=tuple(VALUES), group="pair") for task in ("xnli", "pawsx", "other")
        ),
        citation="@misc{small}",
    )
}
VOID = {"meta", "br", "hr", "line", "rect", "img", "link", "input"}


def _records(tasks: Sequence[str] = ("xnli", "pawsx", "own")) -> list[Record]:
    return [
        made.record(
            task=task,
            language=language,
            value=value - 5 * place,
            seed=0,
            inputs={"examples": 100, "truncated": 10},
        )
        for place, task in enumerate(tasks)
        for language, value in VALUES.items()
    ]


def _run(records: Sequence[Record], failures: dict[Any, str] | None = None) -> Run:
    return Run(folder=Path("run"), manifest=MANIFEST, records=records, failures=failures or {})


def _page(records: Sequence[Record], **changes: Any) -> str:
    return html.render(_run(records, **changes), summarise(records, SUITES))


class _Page(HTMLParser):
    """Checks that every element is closed in turn, and gathers elements, ids and links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.count: Counter[str] = Counter()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] += 1
        given = {name: value or "" for name, value in attrs}
        self.attributes.update(given)
        if "id" in given:
            assert given["id"] not in self.ids, given["id"]
            self.ids.add(given["id"])
        if "href" in given:
            self.links.add(given["href"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()


def test_every_element_is_closed_and_every_link_leads_somewhere() -> None:
    page = _Page(_page(_records()))
    assert page.open == []
    assert page.links == {"#xnli", "#pawsx", "#own"}
    assert {link.removeprefix("#") for link in page.links} <= page.ids
    # A suite, the gaps, and for each of three tasks the languages and three kinds of language.
    assert page.count["svg"] == 1 + 1 + 3 * 4
    # A suite, transfer, and for each task languages and health; the table of languages.
    assert page.count["table"] == 2 + 3 * 2 + 1


def test_the_checker_sees_an_element_that_is_not_closed() -> None:
    with pytest.raises(AssertionError):
        _Page("<p><b>text</p>")


def test_the_page_needs_nothing_from_elsewhere() -> None:
    text = _page(_records())
    page = _Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.count)
    assert not {"src", "srcset", "xlink:href"} & page.attributes
    assert not re.findall(r"@import|url\(|https?:", text)


def test_what_others_wrote_is_escaped() -> None:
    caveat = '"><img src=x onerror=alert(2)>'
    records = [dataclasses.replace(record, caveats=(caveat,)) for record in _records()]
    text = _page(records, failures={("xnli", "fr"): "a <b> & c"})
    page = _Page(text)
    assert not {"script", "img", "b"} & set(page.count)
    assert "&lt;script&gt;alert(1)" in text
    assert "a &lt;b&gt; &amp; c" in text
    assert "Small &amp; fine" in text


def test_numbers_that_do_not_count_are_light_and_titled_so() -> None:
    text = _page(_records())
    assert "overall, not small&#39;s number: mean of 2 of 3 tasks" in text
    assert "small, incomplete: 2 of 3 tasks" in text
    limited = [
        dataclasses.replace(record, limited=9 if record.task == "xnli" else None) for record in _records()
    ]
    suite = summarise(limited, SUITES).suites[0]
    assert [(bar.label, bar.strong) for bar in html.suite_chart(suite).bars] == [
        ("xnli", False),
        ("pawsx", True),
    ]


def test_a_few_tasks_are_open_and_many_are_folded() -> None:
    assert "<details open>" in _page(_records(("xnli", "pawsx")))
    assert "<details open>" not in _page(_records())


def test_nothing_scored_is_still_a_page() -> None:
    page = _Page(_page([]))
    assert page.open == []
    assert page.count["svg"] == 0


def _cell(value: float, stderr: float = 0.0) -> Cell:
    return Cell(value=value, stderr=stderr, by_seed={None: value})


def test_bars_are_as_long_as_the_numbers_say() -> None:
    drawn = chart(
        "title", [Item(label="a", score=_cell(25.0, 5.0)), Item(label="b", score=_cell(100.0))], scale=400
    )
    assert [(bar.x, bar.width, bar.low, bar.high) for bar in drawn.bars] == [
        (150, 100, 230, 270),
        (150, 400, 550, 550),
    ]
    assert [(tick.x, tick.text) for tick in drawn.ticks] == [
        (150, "0"),
        (250, "25"),
        (350, "50"),
        (450, "75"),
        (550, "100"),
    ]
    assert drawn.bars[1].y > drawn.bars[0].y + drawn.bar_height


def test_a_negative_gap_goes_to_the_left_of_zero() -> None:
    items = [Item(label="a", score=_cell(-4.0, 1.0)), Item(label="b", score=_cell(8.0, 1.0))]
    drawn = chart("gaps", items, percent=False)
    zero = next(tick.x for tick in drawn.ticks if tick.text == "0")
    below, above = drawn.bars
    assert below.x + below.width == pytest.approx(zero)
    assert above.x == pytest.approx(zero)
    assert above.width == pytest.approx(2 * below.width)
    assert drawn.ticks[0].x <= below.low < below.x < below.high
    assert above.high <= drawn.ticks[-1].x
    assert len(drawn.ticks) <= 9


def test_a_gap_of_nothing_has_an_axis() -> None:
    drawn = chart("gaps", [Item(label="a", score=_cell(0.0))], percent=False)
    assert len(drawn.ticks) >= 2
    assert drawn.bars[0].width == 0.0


def test_whiskers_stay_on_the_axis() -> None:
    (bar,) = chart("title", [Item(label="a", score=_cell(99.0, 5.0))], scale=400).bars
    assert (bar.low, bar.high) == (150 + 4 * 94, 550)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder as it lies on disk."""
    from harness.records import write_records

    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text(json.dumps(MANIFEST), encoding="utf-8")
    write_records(run / "records.jsonl", _records())
    return run


def test_both_files_are_written_and_the_same_again(folder: Path) -> None:
    report.write(open_run(folder), SUITES)
    first = {name: (folder / name).read_bytes() for name in ("report.html", "report.md")}
    report.write(open_run(folder), SUITES)
    assert {name: (folder / name).read_bytes() for name in first} == first
    assert all(first.values())


def test_the_command_prints_tables_or_json(folder: Path) -> None:
    from harness.cli.report import command

    told = CliRunner().invoke(command, [str(folder), "--json", "--no-plugins"])
    assert told.exit_code == 0, told.output
    value = json.loads(told.stdout)
    assert [task["task"] for task in value["tasks"]] == ["own", "pawsx", "xnli"]
    assert (folder / "report.html").is_file()
    short = CliRunner().invoke(command, [str(folder), "--no-plugins"])
    long = CliRunner().invoke(command, [str(folder), "--no-plugins", "--by-language"])
    assert (short.exit_code, long.exit_code) == (0, 0)
    assert "zh Chinese" not in short.stdout
    assert "zh Chinese" in long.stdout
    assert "report.html" in short.stdout


def test_a_report_imports_no_torch(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from harness import report; from harness.report import terminal;"
        "from harness.run import open_run; run = open_run(Path(sys.argv[1])); report.write(run, {});"
        "terminal.render(report.summarise(run.records, {})); report.tables_as_json(run, {});"
        "print(sorted({'torch', 'transformers', 'datasets', 'faiss'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
