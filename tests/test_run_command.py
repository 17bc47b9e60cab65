"""``harness run`` from outside: what it prints, with which code it ends, and what the same command does the next time."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from badruns import full_disk
from filelock import FileLock
from told import assert_one_line

RECIPE = """
title: Tiny
question: Does it run?
models: [sample]
settings:
  - name: baseline
  - each: [copa]
targets: [tatoeba]
languages: [de]
data: sample
stage:
  hyper: {epochs: 1, batch_size: 8, learning_rate: 1e-3}
"""
FRAGILE = """
import errno, multiprocessing, os
from dataclasses import replace
from pathlib import Path
from harness import hookimpl
from harness.formats.retrieval import Retrieval
from harness_xtreme.tatoeba import TATOEBA

HERE = Path(__file__).parent

class Fragile(Retrieval):
    name = "fragile"
    def decode(self, examples, outputs, tuning, neighbours):
        if (HERE / "broken").exists():
            raise RuntimeError("cannot count\\nto three")
        return super().decode(examples, outputs, tuning, neighbours)

def full(descriptor):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

if (HERE / "full").exists() and multiprocessing.parent_process() is not None:
    os.fsync = full

@hookimpl
def harness_tasks():
    return [replace(TATOEBA, name="fragile", format=Fragile(searches=TATOEBA.format.searches))]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture
def fragile(tmp_path: Path) -> Path:
    """A plugin that raises while a file named ``broken`` lies beside it, and finds the disk full with one named ``full``."""
    folder = tmp_path / "fragile"
    folder.mkdir()
    (folder / "fragile_plugin.py").write_text(FRAGILE, encoding="utf-8")
    return folder


def cells(folder: Path) -> dict[str, str]:
    """Setting and seed to how the cell ended."""
    told = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
    return {f"{cell['setting']} {cell['seed']}": cell["status"] for cell in told["cells"]}


def trainings(home: Path) -> dict[str, int]:
    """Key of each checkpoint of the cache to when it was finished."""
    return {
        path.parent.name: path.stat().st_mtime_ns for path in (home / "checkpoints").rglob("training.json")
    }


def content(folder: Path) -> dict[str, bytes]:
    """Records and predictions of all cells."""
    paths = [*folder.rglob("records.jsonl"), *folder.rglob("*.parquet")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def edited(recipe: Path, before: str, after: str) -> None:
    text = recipe.read_text(encoding="utf-8")
    assert before in text
    recipe.write_text(text.replace(before, after), encoding="utf-8")


# From nothing to a report, and again


@pytest.mark.full
def test_the_same_command_completes_what_is_missing_and_nothing_else(
    cli: Callable[..., Any], isolated: Callable[..., Path], tmp_path: Path, recipe: Path
) -> None:
    home, out = isolated(), tmp_path / "experiment"
    first = cli("run", recipe, "-o", out)
    assert first.code == 0, first.err
    assert first.out == f"experiment: {out}\nreport:     {out / 'report.html'}\n"
    assert first.err.splitlines()[-1] == "harness: 2 of 2 cells done"
    for line in (
        "harness: sample · baseline · seed 0: started on cpu",
        "harness:   sample · copa · seed 0: copa/train: ",
        "harness: sample · copa · seed 0: done after ",
    ):
        assert line in first.err
    assert (out / "report.html").stat().st_size > 1000
    before, trained = content(out), trainings(home)
    assert len(trained) == 1

    again = cli("run", recipe, "-o", out)
    assert again.code == 0, again.err
    assert "copa/train" not in again.err
    assert (content(out), trainings(home)) == (before, trained)

    edited(recipe, "data: sample", "seeds: [0, 1]\ndata: sample")
    edited(recipe, "each: [copa]", "each: [copa, siqa]")
    more = cli("run", recipe, "-o", out)
    assert more.code == 0, more.err
    assert list(cells(out).values()) == ["done"] * 6
    assert {path: kept for path, kept in content(out).items() if path in before} == before
    # copa and siqa with two seeds each, of which one was there.
    assert len(trainings(home)) == 4
    assert trained.items() <= trainings(home).items()
    assert "copa · seed 0: copa/train" not in more.err


def test_a_failed_cell_is_reported_the_others_go_on_and_the_same_command_tries_it_again(
    cli: Callable[..., Any], isolated: Callable[..., Path], tmp_path: Path, recipe: Path, fragile: Path
) -> None:
    isolated()
    edited(recipe, "models: [sample]", "models: [sample, {model: nobody/gone, name: gone}]")
    edited(recipe, "[tatoeba]", "[tatoeba, fragile]")
    (fragile / "broken").touch()
    command = ("run", recipe, "-o", tmp_path / "out", "-p", fragile / "fragile_plugin.py", "--json")
    said = cli(*command)
    assert said.code == 3, said.err
    told = json.loads(said.out)
    assert (told["exit_code"], told["folder"]) == (3, str(tmp_path / "out"))
    assert [(cell["model"], cell["status"]) for cell in told["cells"]] == [
        ("sample", "partial"),
        ("sample", "partial"),
        ("gone", "failed"),
        ("gone", "failed"),
    ]
    assert told["cells"][0]["error"] == "1 of 2 units failed (fragile/de); 1 done and written"
    assert "nobody/gone" in told["cells"][2]["error"]
    assert Path(told["report"]).is_file()
    assert "fragile/de failed: fragile/de: plugin fragile_plugin" in said.err
    assert said.err.splitlines()[-1] == "harness: 0 of 4 cells done"
    assert "Traceback" not in said.err

    (fragile / "broken").unlink()
    edited(recipe, ", {model: nobody/gone, name: gone}", "")
    again = cli(*command[:-1])
    assert again.code == 0, again.err
    assert "copa/train" not in again.err
    assert again.err.splitlines()[-1] == "harness: 2 of 2 cells done"


@pytest.mark.full
@pytest.mark.parametrize("after", [0, 1, 6])
def test_a_disk_that_is_full_for_the_experiment_is_told_and_the_same_command_goes_on(
    cli: Callable[..., Any], isolated: Callable[..., Path], tmp_path: Path, recipe: Path, after: int
) -> None:
    """The manifest is written at the start, before and after each cell and at the end; then come the report's files."""
    home, out = isolated(), tmp_path / "experiment"
    with full_disk(after):
        said = cli("run", recipe, "-o", out)
    assert said.code == 2, said.err
    assert "the disk is full; free some space and run the same command again" in said.complaint
    assert "Traceback" not in said.err
    assert not list(out.rglob("*.tmp"))
    kept, trained = content(out), trainings(home)
    again = cli("run", recipe, "-o", out)
    assert again.code == 0, again.err
    assert kept.items() <= content(out).items()
    assert trained.items() <= trainings(home).items()
    assert list(cells(out).values()) == ["done", "done"]


@pytest.mark.full
def test_a_disk_that_is_full_in_a_cell_stops_all_and_the_same_command_goes_on(
    cli: Callable[..., Any], isolated: Callable[..., Path], tmp_path: Path, recipe: Path, fragile: Path
) -> None:
    """The plugin fills the disk for workers alone, so that the experiment's own files could still be written."""
    isolated()
    out = tmp_path / "experiment"
    (fragile / "full").touch()
    command = ("run", recipe, "-o", out, "-p", fragile / "fragile_plugin.py")
    said = cli(*command)
    assert list(cells(out).values()) == ["failed", "missing"]
    assert said.code == 2, said.err
    assert "the disk is full; free some space and run the same command again" in said.complaint
    assert "copa · seed 0: started" not in said.err
    (fragile / "full").unlink()
    again = cli(*command)
    assert again.code == 0, again.err
    assert list(cells(out).values()) == ["done", "done"]


@pytest.mark.full
def test_a_cache_that_cannot_be_written_is_told_once(
    cli: Callable[..., Any],
    isolated: Callable[..., Path],
    tmp_path: Path,
    recipe: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "blocked").write_text("mine\n", encoding="utf-8")
    monkeypatch.setenv("HARNESS_HOME", str(tmp_path / "blocked"))
    said = cli("run", recipe, "-o", tmp_path / "experiment")
    assert said.code == 2, said.err
    assert "HARNESS_HOME" in said.complaint
    assert "copa · seed 0: started" not in said.err
    assert (tmp_path / "blocked").read_text(encoding="utf-8") == "mine\n"


# What is refused before anything is done


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("languages: [de]", "languages: [gu]", ["tiny.yaml", "line 9", "'gu' (Gujarati)"]),
        ("data: sample", "data: sample\nsplit: train", ["'tatoeba'", "test, dev"]),
        (
            "data: sample",
            "data: sample\nprotocol: mine",
            ["tiny.yaml", "line 11", "'mine'", "phang2020, xtreme"],
        ),
        ("data: sample", "data: gone", ["gone"]),
        ("[sample]", "[./gone]", ["tiny.yaml", "line 4", "./gone", "no folder"]),
        ("[tatoeba]", "[tatoba]", ["tiny.yaml", "line 8", "tatoba"]),
        ("[copa]", "[cope]", ["tiny.yaml", "line 7", "cope"]),
        ("learning_rate", "learning_rat", ["tiny.yaml", "line 12", "learning_rat"]),
    ],
)
def test_a_bad_recipe_is_told_in_one_line_and_nothing_is_written(
    cli: Callable[..., Any], tmp_path: Path, recipe: Path, before: str, after: str, words: list[str]
) -> None:
    edited(recipe, before, after)
    for more in ((), ("--dry-run",)):
        assert_one_line(cli("run", recipe, "-o", tmp_path / "out", *more), words)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--device", "tpu"), ["--device tpu", "auto, cpu, cuda"]),
        (("--data", "gone"), ["gone"]),
        (("-p", "gone.py"), ["gone.py"]),
    ],
)
def test_an_option_that_is_not_allowed_is_told_and_nothing_is_written(
    cli: Callable[..., Any], tmp_path: Path, recipe: Path, arguments: tuple[str, ...], words: list[str]
) -> None:
    assert_one_line(cli("run", recipe, "-o", tmp_path / "out", *arguments), words)
    assert not (tmp_path / "out").exists()


def test_an_unknown_recipe_is_told_with_those_that_there_are(cli: Callable[..., Any]) -> None:
    assert_one_line(cli("run", "phang-2020"), ["unknown recipe 'phang-2020'", "did you mean phang2020"])


def test_a_folder_in_use_is_refused(cli: Callable[..., Any], tmp_path: Path, recipe: Path) -> None:
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"):
        assert_one_line(
            cli("run", recipe, "-o", tmp_path / "out"), [str(tmp_path / "out"), "in use by another"]
        )
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_a_damaged_manifest_is_told(cli: Callable[..., Any], tmp_path: Path, recipe: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "experiment.json").write_text('{"schema": 1', encoding="utf-8")
    assert_one_line(cli("run", recipe, "-o", tmp_path / "out"), ["experiment.json: damaged", "--output"])


# The plan alone


PROGRAM = """
import sys
from harness.cli.main import _run
code = _run(sys.argv[1:], debug=False)
print("HEAVY", *[name for name in ("torch", "transformers", "datasets") if name in sys.modules])
sys.exit(code)
"""


@pytest.mark.parametrize("name", ["tiny.yaml", "phang2020", "order-sample"])
def test_a_dry_run_imports_no_torch_and_writes_nothing(
    isolated: Callable[..., Path], tmp_path: Path, recipe: Path, name: str
) -> None:
    home = isolated()
    before = sorted(home.rglob("*"))
    given = str(recipe) if name == "tiny.yaml" else name
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "run", given, "--dry-run", "--device", "cpu"],
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY"
    assert any(line.startswith("cell ") for line in done.stdout.splitlines())
    assert any(line.startswith("cost ") for line in done.stdout.splitlines())
    assert sorted(home.rglob("*")) == before
    assert list(Path.cwd().iterdir()) == []


def test_a_dry_run_tells_cells_prefixes_and_cost_to_programs(
    cli: Callable[..., Any], tmp_path: Path, recipe: Path
) -> None:
    edited(recipe, "  - each: [copa]", "  - each: [copa]\n  - sequential: [copa, siqa]")
    said = cli("run", recipe, "-o", tmp_path / "out", "--dry-run", "--json")
    told = json.loads(said.out)
    assert (told["recipe"], len(told["cells"])) == ("tiny", 3)
    assert len(told["prefixes"]) == 1
    assert len(told["prefixes"][0]["cells"]) == 2
    assert told["cost"]["stages"] == 2
    shown = cli("run", recipe, "-o", tmp_path / "out", "--dry-run").out.splitlines()
    assert shown[0] == "tiny: Does it run?"
    assert [line.split()[0] for line in shown[1:5]] == ["cell", "cell", "cell", "shared"]
    assert shown[4] == "shared  sample: copa, seed 0: trained once for 2 cells"


@pytest.mark.full
def test_the_ids_of_a_dry_run_are_the_folders_of_the_run(
    cli: Callable[..., Any], isolated: Callable[..., Path], tmp_path: Path, recipe: Path
) -> None:
    isolated()
    edited(recipe, "  - each: [copa]\n", "")
    told = json.loads(cli("run", recipe, "-o", tmp_path / "out", "--dry-run", "--json").out)
    assert cli("run", recipe, "-o", tmp_path / "out").code == 0
    assert {cell["id"] for cell in told["cells"]} == {
        path.name for path in (tmp_path / "out" / "runs").iterdir()
    }


# Several at once, and a terminal


def command_line(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "harness", *(str(argument) for argument in arguments)]


@pytest.mark.full
def test_two_experiments_at_once_train_their_common_prefix_once(
    isolated: Callable[..., Path], tmp_path: Path, recipe: Path
) -> None:
    """Both start with copa; one of them waits for the other's checkpoint."""
    home = isolated()
    other = tmp_path / "other.yaml"
    text = recipe.read_text(encoding="utf-8")
    other.write_text(text.replace("each: [copa]", "sequential: [copa, siqa]"), encoding="utf-8")
    running = [
        subprocess.Popen(
            command_line("run", path, "-o", tmp_path / path.stem),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for path in (recipe, other)
    ]
    said = [process.communicate(timeout=300)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said
    assert sum(len(re.findall(r"copa/train: \d+ steps", text)) for text in said) == 1
    assert sum(len(re.findall(r"siqa/train: \d+ steps", text)) for text in said) == 1
    assert len(trainings(home)) == 2


@pytest.mark.full
def test_a_second_command_on_the_same_folder_is_refused_while_the_first_goes_on(
    isolated: Callable[..., Path], tmp_path: Path, recipe: Path
) -> None:
    isolated()
    edited(recipe, "epochs: 1", "epochs: 40")
    command = command_line("run", recipe, "-o", tmp_path / "out")
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        first.stderr.readline()
        second = subprocess.run(command, check=False, capture_output=True, text=True)
        _, said = first.communicate(timeout=300)
    assert (first.returncode, second.returncode) == (0, 2), said
    assert second.stderr.count("\n") == 1
    assert "in use by another harness process" in second.stderr


@pytest.mark.full
def test_a_terminal_shows_every_cell_and_ends_clean(
    isolated: Callable[..., Path], tmp_path: Path, recipe: Path
) -> None:
    isolated()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command_line("run", recipe, "-o", tmp_path / "out"),
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # on Linux the end of a terminal is an error
            break
        if not part:
            break
        shown += part
    os.close(ours)
    out, _ = process.communicate(timeout=300)
    text = shown.decode("utf-8", "replace")
    assert process.returncode == 0, text
    assert "cells" in text
    assert "sample · copa · seed 0: train on copa/train" in text
    assert "sample · copa · seed 0: done after" in text
    assert "Traceback" not in text
    assert out.startswith("experiment: ")
