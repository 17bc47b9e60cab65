"""A run as one self-contained HTML page with charts. Knows tables; computes nothing."""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from harness import languages
from harness.report.charts import Chart, Item, chart
from harness.report.facts import facts
from harness.report.health import warnings
from harness.report.markdown import cell_text, health_columns, language_rows, language_sources
from harness.report.suites import SuiteTable, brief_line, title_of, total_label
from harness.report.summary import TaskTable, label
from harness.report.tables import Tables
from harness.report.transfer import NO_ENGLISH, TITLES, Transfer
from harness.run import Run

_GROUP_LABELS = 190
_GROUP_SCALE = 190


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPart:
    """One task and encoding on the page."""

    table: TaskTable
    chart: Chart
    transfer: Transfer | None
    groups: Sequence[Chart]
    health: Sequence[tuple[str, Sequence[str]]]
    warnings: Sequence[str]


def render(run: Run, tables: Tables) -> str:
    """The whole report as HTML; no file, script or font from elsewhere."""
    template = (importlib.resources.files("harness.report") / "report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(
        label=label,
        name=languages.name,
        cell=cell_text,
        total_label=total_label,
        title_of=title_of,
        brief_line=brief_line,
        no_english=NO_ENGLISH,
    )
    return environment.from_string(template).render(
        run=run,
        tables=tables,
        suites=[(suite, None if suite.brief else suite_chart(suite)) for suite in tables.suites],
        gaps=gap_chart(tables.main_transfer),
        parts=[_part(table, tables) for table in tables.tasks],
        entries=language_rows(tables),
        sources=language_sources(),
        facts=facts(run),
    )


def _part(table: TaskTable, tables: Tables) -> TaskPart:
    found = tables.transfer.get((table.task, table.encoding)) if table.main else None
    columns = health_columns(list(table.health.values())) if table.main else []
    return TaskPart(
        table=table,
        chart=language_chart(table),
        transfer=found,
        groups=group_charts(found) if found else (),
        health=[(title, cells) for title, cells in columns if any(cells)],
        warnings=warnings(table.health) if table.main else (),
    )


def suite_chart(suite: SuiteTable) -> Chart:
    """A bar per task that has a score; dark where it is the suite's own number."""
    items = [
        Item(label=score.task, score=score.score, strong=score.counts)
        for score in suite.scores
        if score.score is not None
    ]
    return chart(f"Scores in {suite.name} by task", items)


def gap_chart(found: Sequence[Transfer]) -> Chart | None:
    """A bar per task that has English and other languages: how many points the others lose."""
    items = [Item(label=entry.task, score=entry.gap) for entry in found if entry.gap is not None]
    return chart("Transfer gap by task, in points", items, percent=False) if items else None


def language_chart(table: TaskTable) -> Chart:
    """A bar per language, best first; dark where a suite counts it."""
    scored = [(language, row[table.first]) for language, row in table.rows.items() if table.first in row]
    scored.sort(key=lambda item: (-item[1].value, item[0]))
    counted = frozenset[str]().union(*table.counted.values())
    items = [
        Item(label=f"{language} {languages.name(language)}", score=cell, strong=language in counted)
        for language, cell in scored
    ]
    return chart(f"{table.header(table.first)} by language", items)


def group_charts(found: Transfer) -> list[Chart]:
    """Means by family, script and resource class, with the number of languages of each."""
    return [
        chart(
            f"Mean by {TITLES[dimension]}",
            [Item(label=f"{group.name} ({len(group.languages)})", score=group.score) for group in groups],
            left=_GROUP_LABELS,
            scale=_GROUP_SCALE,
        )
        for dimension, groups in found.groups.items()
        if groups
    ]
