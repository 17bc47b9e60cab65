"""Plugins and models that fail in the middle of a run, and interruptions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from badruns import Cli, assert_failed_units, scored, status
from told import assert_one_line

from harness.formats.retrieval import Retrieval

FRAGILE = """
from dataclasses import replace
from pathlib import Path
from harness import hookimpl
from harness.formats.retrieval import Retrieval
from harness_xtreme.tatoeba import TATOEBA

class Fragile(Retrieval):
    name = "fragile"
    def decode(self, examples, outputs, tuning, neighbours):
        if examples[0].id.startswith("es") and not Path(__file__).with_name("mended").exists():
            raise RuntimeError("cannot count\\nto three")
        return super().decode(examples, outputs, tuning, neighbours)

@hookimpl
def harness_tasks():
    return [replace(TATOEBA, name="fragile", format=Fragile(searches=TATOEBA.format.searches))]
"""


@pytest.fixture
def fragile(tmp_path: Path) -> Path:
    """A plugin whose format raises for Spanish, until a file named ``mended`` lies beside it."""
    path = tmp_path / "fragile_plugin.py"
    path.write_text(FRAGILE, encoding="utf-8")
    return path


def test_a_plugin_that_raises_in_the_middle_costs_only_its_own_unit(
    cli: Cli, tmp_path: Path, fragile: Path
) -> None:
    run = tmp_path / "run"
    command = (
        "eval",
        "-m",
        "sample",
        "-t",
        "fragile,tatoeba",
        "-l",
        "de,es,sw",
        "--data",
        "sample",
        "-p",
        fragile,
    )
    said = cli(*command, "-o", run)
    assert_failed_units(
        said, ["fragile/es", "plugin fragile_plugin", "RuntimeError", "cannot count to three"]
    )
    assert "1 of 6 units failed (fragile/es); 5 done and written" in said.complaint
    before = scored(run)
    assert set(before) == {
        ("fragile", "de"),
        ("fragile", "sw"),
        *(("tatoeba", code) for code in ("de", "es", "sw")),
    }
    assert status(run) == "partial"
    for name in ("report.md", "report.html"):
        assert "cannot count to three" in (run / name).read_text(encoding="utf-8")
    (tmp_path / "mended").touch()
    said = cli(*command, "-o", run)
    assert said.code == 0, said.err
    assert "1 unit to compute, 5 done before" in said.err
    after = scored(run)
    assert after.pop(("fragile", "es"))
    assert after == before
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "complete"
    assert not any(manifest["work"].values())
    assert "cannot count" not in (run / "report.md").read_text(encoding="utf-8")


def test_fail_fast_stops_at_the_first_failure_and_keeps_what_is_done(
    cli: Cli, tmp_path: Path, fragile: Path
) -> None:
    run = tmp_path / "run"
    command = (
        "eval",
        "-m",
        "sample",
        "-t",
        "fragile,tatoeba",
        "-l",
        "de,es",
        "--data",
        "sample",
        "-p",
        fragile,
    )
    said = cli(*command, "-o", run, "--fail-fast")
    assert said.code == 2, said.err
    for word in ("harness: ", "fragile/es", "plugin fragile_plugin", "RuntimeError", "cannot count to three"):
        assert word in said.complaint
    assert "internal error" not in said.err
    assert set(scored(run)) == {("fragile", "de")}
    assert status(run) == "failed"


def test_data_that_is_malformed_inside_a_plugins_reader_is_the_plugins_fault(
    cli: Cli, tmp_path: Path
) -> None:
    path = tmp_path / "reader_plugin.py"
    path.write_text(
        "from dataclasses import replace\n"
        "from harness import FilesSource, hookimpl\n"
        "from harness_xtreme.tatoeba import TATOEBA, laser_files\n"
        "def read(paths, language):\n"
        "    raise ZeroDivisionError('no rows')\n"
        "    yield\n"
        "@hookimpl\n"
        "def harness_tasks():\n"
        "    source = FilesSource(name='own', files=laser_files, read=read, homepage='here')\n"
        "    return [replace(TATOEBA, name='unreadable', sources=(source,))]\n",
        encoding="utf-8",
    )
    command = ("eval", "-m", "sample", "-l", "de", "--data", "sample", "-p", path)
    words = ["unreadable/de", "plugin reader_plugin", "ZeroDivisionError", "no rows"]
    assert_failed_units(cli(*command, "-t", "unreadable,tatoeba", "-o", tmp_path / "run"), words)
    assert_one_line(cli(*command, "-t", "unreadable", "-o", tmp_path / "alone"), words)
    assert_one_line(cli(*command, "-t", "unreadable,tatoeba", "-o", tmp_path / "fast", "--fail-fast"), words)


def test_a_model_that_fails_while_it_runs_is_blamed_for_every_unit_and_no_plugin_is(
    cli: Cli, tmp_path: Path, isolated: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    isolated()

    def fail(*arguments: object) -> None:
        raise RuntimeError("device-side assert")

    monkeypatch.setattr("harness.engine.embed.pooled_vectors", fail)
    run = tmp_path / "run"
    said = cli("eval", "-m", "sample", "-t", "tatoeba", "-l", "de,es", "--data", "sample", "-o", run)
    assert said.code == 3, said.err
    told = [line for line in said.err.splitlines() if " failed: " in line]
    assert len(told) == 2
    for line in told:
        assert "device-side assert" in line
        assert "plugin" not in line


def test_an_interruption_keeps_what_is_done_and_the_same_command_goes_on(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    command = ("eval", "-m", "sample", "-t", "tatoeba", "-l", "de,es,sw", "--data", "sample", "-o", run)
    decode = Retrieval.decode
    calls: Iterator[int] = iter(range(1))

    def interrupted(self: Retrieval, *arguments: Any) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return decode(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Retrieval, "decode", interrupted)
        said = cli(*command)
    assert said.code == 130
    assert said.complaint == "harness: interrupted; the same command goes on from here"
    assert "Traceback" not in said.err
    assert status(run) == "interrupted"
    before = scored(run)
    assert set(before) == {("tatoeba", "de")}
    units = json.loads((run / "run.json").read_text(encoding="utf-8"))["units"]
    assert [unit["status"] for unit in units] == ["done", "missing", "missing"]
    said = cli(*command)
    assert said.code == 0, said.err
    assert "2 units to compute, 1 done before" in said.err
    assert scored(run)[("tatoeba", "de")] == before[("tatoeba", "de")]
    assert status(run) == "complete"
