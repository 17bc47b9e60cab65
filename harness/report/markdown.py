"""A run as Markdown. Knows tables; computes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness import languages, typology
from harness.report.cells import Cell
from harness.report.facts import facts
from harness.report.health import Health, warnings
from harness.report.suites import SuiteTable, brief_line, title_of, total_label
from harness.report.summary import TaskTable, label
from harness.report.tables import Tables
from harness.report.transfer import NO_ENGLISH, TITLES, Transfer
from harness.run import Run


def render(run: Run, tables: Tables) -> str:
    """The whole report as Markdown."""
    lines = [
        f"# Scores of {run.manifest['model']['name']}",
        "",
        f"Status: {run.manifest['status']}. Values are percent, ± one standard error over items.",
        *([f"Values are {tables.seed_note}."] if tables.seed_note else []),
        *([f"{tables.error_note}."] if tables.error_note else []),
        "",
    ]
    for suite in tables.suites:
        lines += [*_suite(suite), ""]
    if tables.main_transfer:
        lines += ["## Transfer", "", *_transfers(tables), ""]
    for table in tables.tasks:
        lines += [*_table(table), ""]
        if table.main:
            lines += [*_groups(tables.transfer.get((table.task, table.encoding))), *_health(table)]
    lines += _languages(tables)
    if run.failures:
        lines += ["## Failed", ""]
        lines += [f"- {error}" for error in run.failures.values()] + [""]
    lines += ["## Facts", "", *[f"- {name}: {value}" for name, value in facts(run)], ""]
    return "\n".join(lines)


def _suite(suite: SuiteTable) -> Iterable[str]:
    yield f"## {suite.name}"
    yield ""
    if suite.brief:
        yield f"Only in part: {brief_line(suite)}."
        return
    if suite.overall.reasons:
        yield f"> {title_of(suite)}."
        yield ""
    yield from _header(("task", "group", "metric", "score", "languages", "note"), right=(3, 4))
    for score in suite.scores:
        metric = " and ".join(score.metrics)
        yield _row(
            score.task,
            score.group,
            metric,
            cell_text(score.score),
            f"{len(score.languages)} of {score.of}",
            "; ".join(score.reasons),
        )
    for total in (*suite.groups, suite.overall):
        yield _row(
            f"**{total_label(suite, total)}**",
            "",
            "",
            f"**{cell_text(total.score)}**",
            "",
            "; ".join(total.reasons),
        )
    for note in suite.notes:
        yield ""
        yield note


def _transfers(tables: Tables) -> Iterable[str]:
    found = tables.main_transfer
    yield from _header(("task", "average", "English", "others", "gap", "worst", "of"), right=(1, 2, 3, 4, 5))
    for entry in found:
        cells = [cell_text(cell) for cell in (entry.average, entry.english, entry.others, entry.gap)]
        worst = f"{entry.worst} {entry.scores[entry.worst].value:.2f}"
        yield _row(entry.task + _star(entry), *cells, worst, entry.over)
    yield ""
    if tables.transfer_marks:
        yield f"\\*: not comparable with published scores: {'; '.join(tables.transfer_marks)}."
    yield "The gap is English minus the average of the others, in points; languages are taken as independent."
    if any(entry.english is None for entry in found):
        yield f"–: {NO_ENGLISH}."


def _star(entry: Transfer) -> str:
    return "\\*" if entry.average.marks else ""


def _table(table: TaskTable) -> Iterable[str]:
    yield f"## {table.task} ({table.encoding})"
    yield ""
    for caveat in table.caveats:
        yield f"> Not comparable with published scores: {caveat}."
    if table.caveats:
        yield ""
    columns = [table.header(column) for column in table.columns]
    yield from _header(("language", "n", *columns), right=range(1, len(columns) + 2))
    for average in table.averages:
        cells = [cell_text(average.values.get(column), none="") for column in table.columns]
        yield _row(f"**{label(average)}**", "", *[f"**{cell}**" if cell else "" for cell in cells])
    for language, row in table.rows.items():
        cells = [cell_text(row.get(column), none="") for column in table.columns]
        n = str(row[table.first].n) if table.first in row else ""
        yield _row(f"{language} {languages.name(language)}", n, *cells)


def _groups(found: Transfer | None) -> Iterable[str]:
    if found is None or not any(found.groups.values()):
        return
    yield f"### {found.task} by kind of language"
    yield ""
    yield f"{found.over[0].upper()}{found.over[1:]}, English left out."
    if found.unplaced:
        yield f"In no group, because the table of languages has no entry: {', '.join(found.unplaced)}."
    yield ""
    yield from _header(("kind", "group", "mean", "languages", "which"), right=(2, 3))
    for dimension, groups in found.groups.items():
        for group in groups:
            count = str(len(group.languages))
            yield _row(
                TITLES[dimension], group.name, cell_text(group.score), count, " ".join(group.languages)
            )
    yield ""


def _health(table: TaskTable) -> Iterable[str]:
    columns = [
        (title, cells)
        for title, cells in health_columns(list(table.health.values()))
        if any(cell for cell in cells)
    ]
    if not columns:
        return
    yield f"### {table.task}: what the model could read"
    yield ""
    for text in warnings(table.health):
        yield f"> Warning: {text}."
        yield ""
    yield from _header(("language", *[title for title, _ in columns]), right=range(1, len(columns) + 1))
    for place, language in enumerate(table.health):
        yield _row(f"{language} {languages.name(language)}", *[cells[place] for _, cells in columns])
    yield ""


def health_columns(found: Sequence[Health]) -> list[tuple[str, list[str]]]:
    """Titles and texts of the counts, one text per language, empty where it was not counted."""
    return [
        ("examples", [_number(entry.examples, "d") for entry in found]),
        ("% truncated", [_number(entry.truncated, ".1f") for entry in found]),
        ("empty", [_number(entry.empty, "d") for entry in found]),
        ("% unknown", [_number(entry.unknown, ".2f") for entry in found]),
        ("sub-words per word", [_number(entry.pieces_per_word, ".2f") for entry in found]),
        ("lost", [_number(entry.lost, "d") for entry in found]),
        ("max. length", [_number(entry.max_length, "d") for entry in found]),
    ]


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _languages(tables: Tables) -> Iterable[str]:
    entries = language_rows(tables)
    if not entries:
        return
    yield "## Languages"
    yield ""
    yield from _header(("language", "family", "genus", "script", "resource class"), right=(4,))
    for entry in entries:
        yield _row(*entry)
    yield ""
    yield f"Sources: {language_sources()}."
    yield ""


def language_rows(tables: Tables) -> list[tuple[str, str, str, str, str]]:
    """Language, family, genus, script and resource class of what is shown, as far as the table of languages has it."""
    shown = sorted({language for table in tables.tasks for language in table.rows})
    return [
        (
            f"{code} {languages.name(code)}",
            entry.family,
            entry.genus,
            entry.script_name,
            str(entry.resources),
        )
        for code in shown
        if (entry := typology.find(code)) is not None
    ]


def language_sources() -> str:
    """Where the table of languages comes from, in one sentence."""
    return "; ".join(f"{name}: {source}" for name, source in typology.SOURCES.items())


def _header(titles: Sequence[str], right: Sequence[int]) -> Iterable[str]:
    yield _row(*titles)
    yield "|" + "|".join("---:" if place in right else "---" for place in range(len(titles))) + "|"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def cell_text(cell: Cell | None, none: str = "–") -> str:
    """A number with its error, and its deviation over seeds where there are several."""
    if cell is None:
        return none
    deviation = "" if cell.deviation is None else f" (sd {cell.deviation:.2f})"
    return f"{cell.value:.2f} ± {cell.stderr:.2f}{deviation}"
