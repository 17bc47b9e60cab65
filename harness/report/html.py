"""A run as one self-contained HTML page with a chart per task. Knows tables; computes nothing."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from harness import languages
from harness.report.markdown import facts
from harness.report.summary import TaskTable, label
from harness.run import Run

_BAR_HEIGHT = 16
_BAR_GAP = 4
_LABEL_WIDTH = 150
_CHART_WIDTH = 620


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of a chart, in pixels."""

    label: str
    y: int
    width: float
    low: float
    high: float
    text: str
    counted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Scores per language, best first, as horizontal bars with whiskers of one standard error."""

    title: str
    bars: Sequence[Bar]
    height: int
    left: int = _LABEL_WIDTH
    width: int = _LABEL_WIDTH + _CHART_WIDTH + 60
    scale: int = _CHART_WIDTH
    bar_height: int = _BAR_HEIGHT


def render(run: Run, tables: Sequence[TaskTable]) -> str:
    """The whole report as HTML; no file, script or font from elsewhere."""
    template = (importlib.resources.files("harness.report") / "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(label=label, name=languages.name)
    return environment.from_string(template).render(
        run=run, tables=[(table, _chart(table)) for table in tables], facts=facts(run)
    )


def _chart(table: TaskTable) -> Chart:
    scored = [(language, row[table.first]) for language, row in table.rows.items() if table.first in row]
    scored.sort(key=lambda item: (-item[1].value, item[0]))
    counted = frozenset().union(*table.counted.values())
    unit = _CHART_WIDTH / 100
    bars = [
        Bar(
            label=f"{language} {languages.name(language)}",
            y=place * (_BAR_HEIGHT + _BAR_GAP),
            width=record.value * unit,
            low=max(0.0, record.value - record.stderr) * unit,
            high=min(100.0, record.value + record.stderr) * unit,
            text=f"{record.value:.1f}",
            counted=language in counted,
        )
        for place, (language, record) in enumerate(scored)
    ]
    return Chart(title=table.header(table.first), bars=bars, height=len(bars) * (_BAR_HEIGHT + _BAR_GAP) + 24)
