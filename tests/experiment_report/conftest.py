"""What tests of an experiment's report share: a catalog and an empty experiment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from experiments import SUITE, Folder, Make

from harness.catalog import Catalog
from harness.registry import load_catalog


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """The harness's own metrics and a small suite."""
    return replace(load_catalog(others=False), suites={"small": SUITE})


@pytest.fixture
def folder(tmp_path: Path, make_record: Make) -> Folder:
    """An experiment without cells."""
    made = Folder(path=tmp_path / "experiment", make=make_record)
    made.setting("baseline")
    return made
