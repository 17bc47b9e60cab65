"""The report of an experiment, from its folder alone. Knows records, lineages and suites; imports no torch.

``find`` computes, ``write`` and ``write_experiment_report`` write, ``as_json`` and ``terminal`` show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness import files
from harness.catalog import Catalog
from harness.report.experiment import html, markdown
from harness.report.experiment.findings import Findings, find
from harness.report.experiment.on_cells import facts, missing_section, status_line
from harness.report.experiment.tidy import as_csv, tidy

__all__ = ["Findings", "as_json", "find", "write", "write_experiment_report"]

SCHEMA_VERSION = 1


def write_experiment_report(
    folder: Path, catalog: Catalog, baselines: Iterable[Mapping[str, Any]] | None = None
) -> Path:
    """Write ``report.html``, ``report.md`` and a CSV per table into an experiment folder, each whole.

    Args:
        folder: With ``experiment.json``.
        catalog: Has suites and metrics.
        baselines: Published numbers: ``model``, ``task``, ``metric``, ``value`` (percent) and ``source`` each,
            ``language`` and ``over`` where they apply; None for those that the recipe names and the catalog has.

    Returns:
        The HTML page.

    Raises:
        OutputError: The folder is no experiment, or cannot be written.
    """
    return write(find(folder, catalog, baselines))


def write(found: Findings) -> Path:
    """Write what was found into its experiment folder; see :func:`write_experiment_report`."""
    folder = found.experiment.folder
    page = folder / "report.html"
    files.write_text(page, html.render(found))
    files.write_text(folder / "report.md", markdown.render(found))
    for name, rows in tidy(found).items():
        files.write_text(folder / f"{name}.csv", as_csv(name, rows))
    return page


def as_json(found: Findings) -> dict[str, Any]:
    """Everything as plain values; keys do not change within a schema version.

    ``schema``, ``kind`` (``"experiment"``), ``recipe``, ``status`` (a sentence), ``baseline``, ``tests`` (how many cells
    Holm adjusts for over items) and ``seed_tests`` (over items and seeds), ``problems`` (one line each), ``facts``
    (``[name, value]``), ``published`` (scores, then gains, which have an ``over``), and the tables of
    :func:`harness.report.experiment.tidy.tidy` as lists of rows.
    """
    return {
        "schema": SCHEMA_VERSION,
        "kind": "experiment",
        "recipe": dict(found.experiment.recipe),
        "status": status_line(found),
        "baseline": found.matrix.baseline,
        "tests": found.matrix.tests,
        "seed_tests": found.matrix.seed_tests,
        "problems": list(missing_section(found).lists),
        "facts": [list(fact) for fact in facts(found)],
        "published": [
            {
                "model": entry.published.model,
                "task": entry.published.task,
                "metric": entry.published.metric,
                "value": entry.published.value,
                "source": entry.published.source,
                "language": entry.published.language,
                "over": entry.published.over,
                "ours": [
                    {"model": model, "setting": setting, "value": value}
                    for (model, setting), value in entry.ours.items()
                ],
                "marks": list(entry.marks),
            }
            for entry in [*found.published, *found.gains]
        ],
        **{name: [dict(row) for row in rows] for name, rows in tidy(found).items()},
    }
