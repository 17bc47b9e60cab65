"""Everything that a report shows as one JSON value with stable keys. Knows tables; computes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from harness import languages, typology
from harness.report.cells import Cell
from harness.report.facts import facts
from harness.report.suites import SuiteTable, TaskScore, Total
from harness.report.summary import Average, TaskTable
from harness.report.tables import Tables, summarise
from harness.report.transfer import Group, Transfer
from harness.run import Run
from harness.suite import Suite

SCHEMA_VERSION = 1


def tables_as_json(run: Run, suites: Mapping[str, Suite]) -> dict[str, Any]:
    """All tables of a run as plain dictionaries, lists, strings and numbers; keys do not change within a schema version.

    A *score* is ``{"value", "stderr", "seeds", "deviation"}``: percent, standard error over items in points, number of
    seeds and standard deviation over them (null with one), or null where there is no number. ``reasons`` say why a number
    is not the suite's; an empty list is the suite's own number, and ``is_suite_number`` says so.

    * ``schema``, ``model`` (name), ``run``, ``status``
    * ``suites``: list of ``{"name", "title", "overall", "groups", "tasks"}``; ``overall`` and each of ``groups`` is
      ``{"name", "score", "tasks", "of", "reasons", "is_suite_number"}``, each of ``tasks`` is ``{"task", "group",
      "metrics", "score", "languages", "of", "reasons", "is_suite_number"}``
    * ``tasks``: list of ``{"task", "encoding", "main", "caveats", "columns", "averages", "languages", "transfer"}``;
      ``columns`` of ``{"view", "metric"}``, main one first; ``averages`` of ``{"name", "languages", "of", "reasons",
      "scores"}``; ``languages`` by code ``{"name", "n", "counted", "scores", "marks", "health", "typology"}``, where
      ``scores`` has one score per column, in order, and ``counted`` the suites that count the language;
      ``transfer`` (or null) ``{"basis", "metrics", "average", "english", "others", "gap", "worst", "groups",
      "unplaced"}`` with ``worst`` ``{"language", "score"}`` and ``groups`` by ``family``, ``script`` and ``resources``
      a list of ``{"name", "score", "languages"}``
    * ``facts``: list of ``[name, value]``
    * ``failures``: list of error messages
    """
    tables = summarise(run.records, suites)
    return {
        "schema": SCHEMA_VERSION,
        "model": run.manifest["model"]["name"],
        "run": run.manifest["run"],
        "status": run.manifest["status"],
        "suites": [_suite(suite) for suite in tables.suites],
        "tasks": [_task(table, tables) for table in tables.tasks],
        "facts": [list(fact) for fact in facts(run)],
        "failures": list(run.failures.values()),
    }


def _score(cell: Cell | None) -> dict[str, Any] | None:
    if cell is None:
        return None
    return {
        "value": cell.value,
        "stderr": cell.stderr,
        "seeds": cell.seeds,
        "deviation": cell.deviation,
    }


def _suite(suite: SuiteTable) -> dict[str, Any]:
    return {
        "name": suite.name,
        "title": suite.title,
        "overall": _total(suite.overall),
        "groups": [_total(group) for group in suite.groups],
        "tasks": [_task_score(score) for score in suite.scores],
    }


def _total(total: Total) -> dict[str, Any]:
    return {
        "name": total.name,
        "score": _score(total.score),
        "tasks": list(total.tasks),
        "of": total.of,
        "reasons": list(total.reasons),
        "is_suite_number": total.score is not None and not total.reasons,
    }


def _task_score(score: TaskScore) -> dict[str, Any]:
    return {
        "task": score.task,
        "group": score.group,
        "metrics": list(score.metrics),
        "score": _score(score.score),
        "languages": list(score.languages),
        "of": score.of,
        "reasons": list(score.reasons),
        "is_suite_number": score.counts,
    }


def _task(table: TaskTable, tables: Tables) -> dict[str, Any]:
    found = tables.transfer.get((table.task, table.encoding))
    return {
        "task": table.task,
        "encoding": table.encoding,
        "main": table.main,
        "caveats": list(table.caveats),
        "columns": [{"view": view, "metric": metric} for view, metric in table.columns],
        "averages": [_average(average, table) for average in table.averages],
        "languages": {language: _language(language, table) for language in table.rows},
        "transfer": None if found is None else _transfer(found),
    }


def _average(average: Average, table: TaskTable) -> dict[str, Any]:
    return {
        "name": average.name,
        "languages": list(average.languages),
        "of": average.of,
        "reasons": list(average.marks),
        "scores": [_score(average.values.get(column)) for column in table.columns],
    }


def _language(language: str, table: TaskTable) -> dict[str, Any]:
    row = table.rows[language]
    entry = typology.find(language)
    first = row.get(table.first)
    return {
        "name": languages.name(language),
        "n": None if first is None else first.n,
        "counted": [name for name, codes in table.counted.items() if language in codes],
        "scores": [_score(row.get(column)) for column in table.columns],
        "marks": [] if first is None else list(first.marks),
        "health": asdict(table.health[language]),
        "typology": None if entry is None else asdict(entry),
    }


def _transfer(found: Transfer) -> dict[str, Any]:
    return {
        "basis": found.basis,
        "metrics": list(found.metrics),
        "average": _score(found.average),
        "english": _score(found.english),
        "others": _score(found.others),
        "gap": _score(found.gap),
        "worst": {"language": found.worst, "score": _score(found.scores[found.worst])},
        "groups": {name: [_group(group) for group in groups] for name, groups in found.groups.items()},
        "unplaced": list(found.unplaced),
    }


def _group(group: Group) -> dict[str, Any]:
    return {"name": group.name, "score": _score(group.score), "languages": list(group.languages)}
