"""Output folders that cannot be used, and disks that fill up: nothing that was computed before is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from badruns import SAMPLE, Cli, full_disk, scored, status
from filelock import FileLock
from told import assert_one_line


@pytest.fixture
def done(cli: Cli, tmp_path: Path) -> Path:
    """A finished run."""
    said = cli(*SAMPLE, "-o", tmp_path / "run")
    assert said.code == 0, said.err
    return tmp_path / "run"


def test_a_file_in_the_way_of_the_run_folder_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine\n")
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        assert_one_line(cli(*SAMPLE, "-o", folder), [str(folder), "cannot be written", "--output"])
    assert (tmp_path / "file").read_text() == "mine\n"


def test_a_folder_of_other_things_is_left_alone(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.tex").write_text("mine\n")
    assert_one_line(
        cli(*SAMPLE, "-o", tmp_path / "papers"),
        ["papers", "not a run folder", "thesis.tex", "choose another"],
    )
    assert [path.name for path in (tmp_path / "papers").iterdir() if path.name[0] != "."] == ["thesis.tex"]


def test_the_folder_of_another_experiment_is_left_alone(cli: Cli, done: Path) -> None:
    before = (done / "records.jsonl").read_bytes(), (done / "run.json").read_bytes()
    said = cli(*SAMPLE, "-o", done, "--limit", "3")
    assert_one_line(said, [str(done), "another experiment", "limit was None, is 3", "--output"])
    assert ((done / "records.jsonl").read_bytes(), (done / "run.json").read_bytes()) == before


def test_results_are_not_overwritten_when_that_is_forbidden(cli: Cli, done: Path) -> None:
    assert_one_line(
        cli(*SAMPLE, "-o", done, "--overwrite", "never"), [str(done), "holds results", "--overwrite never"]
    )


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("run.json", "{", ["run.json", "not readable"]),
        ("run.json", '{"schema": 99}', ["run.json", "schema version 99"]),
        ("run.json", '{"schema": 1}', ["run.json"]),
        ("run.json", "[]", ["run.json"]),
        ("records.jsonl", '{"schema": 1}\n', ["records.jsonl, line 1", "not a record"]),
        ("records.jsonl", "half a li", ["records.jsonl, line 1", "not a record"]),
        ("records.jsonl", "[]\n", ["records.jsonl, line 1", "not a record"]),
    ],
)
def test_a_damaged_run_folder_is_told_by_eval_and_by_report(
    cli: Cli, done: Path, file: str, content: str, words: list[str]
) -> None:
    (done / file).write_text(content, encoding="utf-8")
    assert_one_line(cli(*SAMPLE, "-o", done), [str(done), *words])
    said = cli("report", done)
    assert_one_line(said, [str(done), *words])
    assert "--output" not in said.err


def test_a_folder_in_use_by_another_process_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        assert_one_line(cli(*SAMPLE, "-o", tmp_path / "run"), [str(tmp_path / "run"), "in use by another"])
    assert cli(*SAMPLE, "-o", tmp_path / "run").code == 0


@pytest.mark.parametrize("files", [0, 1, 5, 12])
def test_a_full_disk_is_told_and_the_same_command_goes_on_later(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path], files: int
) -> None:
    isolated()
    run = tmp_path / "run"
    command = ("eval", "-m", "sample", "-t", "tatoeba", "-l", "available", "--data", "sample", "-o", run)
    with full_disk(files):
        said = cli(*command)
    assert said.code == 2, said.err
    assert said.complaint.startswith("harness: ")
    assert "disk is full" in said.complaint
    assert "same command again" in said.complaint
    assert "Traceback" not in said.err
    assert not list(tmp_path.rglob("*.tmp"))
    kept = scored(run) if (run / "records.jsonl").exists() else {}
    again = cli(*command)
    assert again.code == 0, again.err
    assert f"{5 - len(kept)} units to compute, {len(kept)} done before" in again.err
    assert {unit: scored(run)[unit] for unit in kept} == kept
    assert len(scored(run)) == 5
    assert status(run) == "complete"
