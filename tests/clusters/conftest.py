"""What tests of cells elsewhere share: an experiment with a cell that waits, and a job."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from farruns import PLUGIN, RECIPE, Started, command, records

from harness.experiment import Conditions, Job, jobs_of
from harness.recipes import Recipe, RecipeModel
from harness.stages import Setting


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder with the plugin and the recipe."""
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "odd_plugin.py").write_text(PLUGIN, encoding="utf-8")
    (folder / "tiny.yaml").write_text(RECIPE, encoding="utf-8")
    return folder


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[list[str]], Started]]:
    """Starts a program in a process group of its own, which is gone when the test is over."""
    running: list[Started] = []

    def start(arguments: list[str]) -> Started:
        out, err = (tmp_path / f"{len(running)}.{kind}" for kind in ("out", "err"))
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = subprocess.Popen(arguments, stdout=to_out, stderr=to_err, start_new_session=True)
        running.append(Started(process=process, out=out, err=err))
        return running[-1]

    yield start
    for one in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(one.process.pid, signal.SIGKILL)
        one.process.wait()


@pytest.fixture
def local_records(
    isolated: Callable[..., Path], odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Mapping[str, bytes]:
    """What the experiment gives in a process of this machine with one thread, and with a cache of its own."""
    # Sums in a training depend on the number of threads in their last bits.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    isolated("home-local")
    out = tmp_path / "local"
    done = subprocess.run(command(odd, out), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = records(out)
    assert len(found) == 8
    return found


@pytest.fixture
def job(isolated: Callable[..., Path], tmp_path: Path) -> Job:
    isolated()
    recipe = Recipe(
        name="tiny",
        title="Tiny",
        question="Does it run?",
        models=(RecipeModel(name="small", model="sample"),),
        settings=(Setting(name="baseline"),),
        targets=("tatoeba",),
        languages=("de",),
    )
    return jobs_of(recipe, Conditions(data="sample", device="cpu"), tmp_path / "experiment")[0]
