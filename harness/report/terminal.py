"""A run as tables on a terminal. Knows tables; computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from harness import languages
from harness.report.summary import TaskTable, label


def render(tables: Sequence[TaskTable]) -> RenderableType:
    """One table per task and encoding, averages first."""
    parts: list[RenderableType] = []
    for table in tables:
        parts.append(_table(table))
        parts += [
            Text(f"  not comparable with published scores: {caveat}", style="yellow")
            for caveat in table.caveats
        ]
    return Group(*parts)


def _table(table: TaskTable) -> Table:
    shown = Table(
        title=f"{table.task}  {table.encoding}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    shown.add_column("language", overflow="fold")
    shown.add_column("n", justify="right")
    for column in table.columns:
        shown.add_column(table.header(column), justify="right")
    for average in table.averages:
        cells = [
            _cell(*average.values[column]) if column in average.values else "" for column in table.columns
        ]
        shown.add_row(label(average), "", *cells, style="bold")
    shown.add_section()
    for language, row in table.rows.items():
        counted = [name for name, codes in table.counted.items() if language in codes]
        mark = "" if counted or not table.counted else " ·"
        cells = [
            _cell(row[column].value, row[column].stderr) if column in row else "" for column in table.columns
        ]
        n = str(row[table.first].n) if table.first in row else ""
        shown.add_row(f"{language} {languages.name(language)}{mark}", n, *cells)
    suites = " and ".join(table.counted)
    if any(language not in codes for language in table.rows for codes in table.counted.values()):
        shown.caption = f"· not among the languages that {suites} counts"
        shown.caption_justify = "left"
    return shown


def _cell(value: float, stderr: float) -> str:
    return f"{value:.2f} ±{stderr:.2f}"
