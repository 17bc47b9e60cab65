"""``harness gate``: table, JSON, options, exit codes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gated import damaged, labels, write_run

from harness import UsageError
from harness.catalog import Catalog
from harness.gate import gate

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """``harness gate ARGUMENTS`` in this process: exit code, standard output, standard error."""
    from harness.cli.main import _run

    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = _run(["gate", *(str(argument) for argument in arguments)], debug=False)
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def three(tmp_path: Path) -> tuple[Path, Path]:
    """A baseline and a run that is worse in two of three languages."""
    cells = [labels(language=language, seed=seed) for seed, language in enumerate(("de", "sw", "ur"))]
    bad = [cells[0], damaged(cells[1], 0.3), damaged(cells[2], 0.3)]
    return write_run(tmp_path / "baseline", cells), write_run(tmp_path / "run", bad)


def test_the_table_has_failures_first_and_ends_with_the_verdict(told: Cli, three: tuple[Path, Path]) -> None:
    code, out, err = told(three[1], "--baseline", three[0])
    assert (code, err) == (1, "")
    lines = out.splitlines()
    rows = [line for line in lines if " xnli " in line and "regression in" not in line]
    assert [line.split()[1] for line in rows] == ["sw", "ur", "de"]
    assert [line.split()[-1] for line in rows] == ["regression", "regression", "pass"]
    assert lines[-1] == "verdict: regression in 2 of 3 tested cells: xnli (sw, ur)"
    for column in ("baseline", "drop", "95 % interval", "adjusted p", "detectable"):
        assert column in out


def test_the_table_of_runs_that_cannot_be_compared_says_why(told: Cli, tmp_path: Path) -> None:
    before = write_run(tmp_path / "baseline", [labels(), labels(language="sw")])
    after = write_run(tmp_path / "run", [labels(record={"split": "dev"})])
    code, out, _ = told(after, "--baseline", before)
    assert code == 4
    assert "xnli/de: split: test in the baseline, dev in the run" in out
    assert "xnli/sw: it is not in the run" in out
    assert out.splitlines()[-1].startswith(
        "verdict: cannot decide: the run lacks xnli (sw); not comparable: xnli"
    )


def test_json_has_every_number_and_the_verdict(told: Cli, three: tuple[Path, Path]) -> None:
    code, out, err = told(three[1], "--baseline", three[0], "--json", "--max-drop", "1", "--alpha", "0.01")
    value = json.loads(out)
    assert (code, value["exit_code"], value["verdict"]) == (1, 1, "regression")
    assert err == f"harness: {value['sentence']}\n"
    assert (value["max_drop"], value["alpha"], value["min_items"]) == (1.0, 0.01, 30)
    assert (value["run"], value["baseline"]) == (str(three[1]), str(three[0]))
    cell = value["cells"][0]
    assert set(cell) == {
        *("task", "language", "status", "reason", "signature", "variant", "notes", "test", "n", "baseline"),
        *("value", "drop", "low", "high", "stderr", "p", "adjusted_p", "detectable", "detectable_adjusted"),
    }
    assert (cell["task"], cell["language"], cell["status"]) == ("xnli", "sw", "regression")
    assert cell["low"] < cell["drop"] < cell["high"]
    assert cell["drop"] == pytest.approx(cell["baseline"] - cell["value"])


def test_json_is_there_when_there_is_no_baseline(told: Cli, three: tuple[Path, Path], tmp_path: Path) -> None:
    code, out, _ = told(three[1], "--baseline", tmp_path / "none", "--json")
    value = json.loads(out)
    assert (code, value["exit_code"], value["verdict"], value["cells"]) == (4, 4, "undecided", [])
    assert "no such folder" in value["sentence"]


@pytest.mark.parametrize(
    "options",
    [
        ("--max-drop", "-1"),
        ("--max-drop", "nan"),
        ("--max-drop", "101"),
        ("--max-drop", "much"),
        ("--alpha", "0"),
        ("--alpha", "nan"),
        ("--alpha", "0.6"),
        ("--min-items", "1"),
        ("--surprise",),
    ],
    ids=" ".join,
)
def test_a_bad_option_is_bad_usage(told: Cli, three: tuple[Path, Path], options: tuple[str, ...]) -> None:
    code, out, err = told(three[1], "--baseline", three[0], *options)
    assert (code, out) == (2, "")
    assert err


def test_without_a_baseline_or_a_run_there_is_nothing_to_compare(
    told: Cli, three: tuple[Path, Path], tmp_path: Path
) -> None:
    assert told(three[1])[0] == 2
    code, out, err = told(tmp_path / "none", "--baseline", three[0])
    assert (code, out) == (2, "")
    assert f"{tmp_path / 'none'}: no such folder" in err


def test_the_job_summary_gets_the_table(
    told: Cli, three: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert told(three[1], "--baseline", three[0], "--json")[0] == 1
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n## Gate: regression\n")
    rows = [line for line in text.splitlines() if line.startswith("| xnli |")]
    assert [row.split(" | ")[1] for row in rows] == ["sw", "ur", "de"]
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    code, _, err = told(three[1], "--baseline", three[0])
    assert code == 1
    assert "cannot be written" in err


@pytest.mark.parametrize(
    "options",
    [{"max_drop": math.inf}, {"alpha": 0.0001}, {"min_items": 0}],
    ids=lambda options: next(iter(options)),
)
def test_numbers_out_of_range_are_refused(good: Path, catalog: Catalog, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        gate(good, good, catalog, **options)
