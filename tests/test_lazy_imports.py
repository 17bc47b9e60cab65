"""What only lists and shows starts at once: no heavy library is imported. The test of the test is here too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import harness

HEAVY = ("numpy", "torch", "transformers", "datasets", "sklearn", "scipy", "pandas")
PROGRAM = f"""
import sys
from harness.cli.main import _run
code = _run(sys.argv[1:], debug=False)
print("HEAVY", *[name for name in {HEAVY!r} if name in sys.modules])
sys.exit(code)
"""


def imported(*arguments: object) -> list[str]:
    """The heavy libraries that a command has imported when it is done."""
    command = [sys.executable, "-c", PROGRAM, *(str(argument) for argument in arguments)]
    environment = {**os.environ, "PYTHONUTF8": "1"}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, encoding="utf-8", env=environment
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1].split()
    assert last[0] == "HEAVY"
    assert len(done.stdout.strip().splitlines()) > 1, "the command printed nothing"
    return last[1:]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("eval", "--help"),
        ("tasks", "list"),
        ("tasks", "show", "tatoeba"),
        ("plugins", "list"),
        ("gate", "--help"),
    ],
    ids=" ".join,
)
def test_a_command_that_only_tells_imports_nothing_heavy(
    arguments: tuple[str, ...], isolated: object
) -> None:
    assert imported(*arguments) == []


def test_help_imports_no_plugin_machinery() -> None:
    program = (
        "from harness.cli.main import _run; import sys; _run(['--help'], debug=False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    *told, modules = done.stdout.splitlines()
    assert any("plugins" in line for line in told)
    assert {"pluggy", "harness.hooks"}.isdisjoint(modules.split())
    assert "click" in modules.split()


def test_every_public_name_is_there_when_it_is_asked_for() -> None:
    assert {name for name in harness.__all__ if getattr(harness, name) is None} == set()
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'evaluated'"):
        _ = harness.evaluated


def test_showing_a_finished_run_imports_nothing_heavy(cli: Callable[..., Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = cli("eval", "-m", "sample", "-t", "tatoeba", "-l", "de", "--data", "sample", "-o", run)
    assert done.code == 0, done.err
    assert imported("report", run) == []
    assert imported("gate", run, "--baseline", run) == ["numpy"]


@pytest.mark.full
def test_an_evaluation_imports_no_library_that_only_takes_time(isolated: object, tmp_path: Path) -> None:
    """Pyarrow imports pandas where it is given lists or arrays to read, which takes half a second."""
    sample = ("-m", "sample", "-t", "tatoeba", "-l", "de", "--data", "sample")
    assert {"pandas", "datasets"}.isdisjoint(imported("eval", *sample, "-o", tmp_path / "run"))


def test_this_test_can_fail(tmp_path: Path, isolated: object) -> None:
    plugin = tmp_path / "heavy_plugin.py"
    plugin.write_text(
        "from dataclasses import replace\n"
        "import sklearn\n"
        "from harness import hookimpl\n"
        "from harness_xtreme.tatoeba import TATOEBA\n"
        "@hookimpl\n"
        "def harness_tasks():\n"
        "    return [replace(TATOEBA, name='heavy')]\n",
        "utf-8",
    )
    assert "sklearn" in imported("tasks", "list", "-p", plugin)
