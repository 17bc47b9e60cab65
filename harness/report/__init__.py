"""What is shown of a run: terminal tables, Markdown, HTML, JSON. Knows records and suites; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from harness import files
from harness.report import html, markdown
from harness.report.tables import Tables, summarise
from harness.report.values import tables_as_json
from harness.run import Run
from harness.suite import Suite

__all__ = ["Tables", "summarise", "tables_as_json", "write"]


def write(run: Run, suites: Mapping[str, Suite]) -> None:
    """Write ``report.html`` and ``report.md`` into the run folder, each whole.

    Raises:
        OutputError: The folder cannot be written.
    """
    tables = summarise(run.records, suites)
    files.write_text(run.folder / "report.html", html.render(run, tables))
    files.write_text(run.folder / "report.md", markdown.render(run, tables))
