"""A run as Markdown. Knows tables; computes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from harness import languages
from harness.report.summary import TaskTable, label
from harness.run import Run


def render(run: Run, tables: Sequence[TaskTable]) -> str:
    """The whole report as Markdown."""
    model = run.manifest["model"]
    lines = [
        f"# Scores of {model['name']}",
        "",
        f"Status: {run.manifest['status']}. Values are percent, ± one standard error over items.",
        "",
    ]
    for table in tables:
        lines += [*_table(table), ""]
    if run.failures:
        lines += ["## Failed", ""]
        lines += [f"- {error}" for error in run.failures.values()] + [""]
    lines += ["## Facts", "", *[f"- {name}: {value}" for name, value in facts(run)], ""]
    return "\n".join(lines)


def _table(table: TaskTable) -> list[str]:
    lines = [f"## {table.task} ({table.encoding})", ""]
    lines += [f"> Not comparable with published scores: {caveat}." for caveat in table.caveats]
    lines += [""] if table.caveats else []
    lines.append("| language | n | " + " | ".join(table.header(column) for column in table.columns) + " |")
    lines.append("|---|---:|" + "---:|" * len(table.columns))
    for average in table.averages:
        cells = [
            _cell(*average.values[column]) if column in average.values else "" for column in table.columns
        ]
        lines.append(f"| **{label(average)}** | | " + " | ".join(f"**{cell}**" for cell in cells) + " |")
    for language, row in table.rows.items():
        cells = [
            _cell(row[column].value, row[column].stderr) if column in row else "" for column in table.columns
        ]
        n = row[table.first].n if table.first in row else ""
        lines.append(f"| {language} {languages.name(language)} | {n} | " + " | ".join(cells) + " |")
    return lines


def _cell(value: float, stderr: float) -> str:
    return f"{value:.2f} ± {stderr:.2f}"


def facts(run: Run) -> list[tuple[str, str]]:
    """What a reader needs to know to trust the numbers."""
    manifest = run.manifest
    model = manifest["model"]
    inputs = [record.inputs for record in run.records]
    truncated = sorted(
        {f"{r.task}/{r.language} {r.inputs['truncated']}" for r in run.records if r.inputs.get("truncated")}
    )
    empty = sorted(
        {f"{r.task}/{r.language} {r.inputs['empty']}" for r in run.records if r.inputs.get("empty")}
    )
    found = [
        ("model", f"{model['name']} ({model['family']}, {model['depth']} blocks, {model['dtype']})"),
        ("revision", model["revision"] or "local folder"),
        ("weights", model["weights"]),
        ("tokenizer", model["tokenizer"]),
        ("vectors", "; ".join(model["vectors"])),
        ("data", manifest["data"]),
        ("sources", ", ".join(sorted({f"{record.task}: {record.source}" for record in run.records}))),
        ("run", manifest["run"]),
        ("texts cut at the length limit", ", ".join(truncated) if truncated else "none" if inputs else ""),
        ("empty texts", ", ".join(empty) if empty else "none" if inputs else ""),
        ("versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())),
        ("hardware", f"{manifest['hardware']['cores']} cores, {manifest['hardware']['device']}"),
    ]
    signatures = sorted({f"{record.metric}: {record.signature}" for record in run.records})
    return [*found, ("metric signatures", ", ".join(signatures))]
