"""What tests of the gate share: a catalog, and the way to compare two runs made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gated import Compare, Scored, labels, write_run

from harness.catalog import Catalog
from harness.gate import Gate, gate
from harness.registry import load_catalog


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """What the harness's own plugins bring."""
    return load_catalog(others=False)


@pytest.fixture
def compare(tmp_path: Path, catalog: Catalog) -> Compare:
    """Writes a baseline and a run and holds one against the other."""

    def compared(baseline: Sequence[Scored], run: Sequence[Scored], **options: Any) -> Gate:
        failed = options.pop("failed", None)
        fresh = tmp_path / f"pair-{len(list(tmp_path.iterdir()))}"
        return gate(
            write_run(fresh / "run", run, failed),
            write_run(fresh / "baseline", baseline),
            options.pop("catalog", catalog),
            **options,
        )

    return compared


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A run folder."""
    return write_run(tmp_path / "good", [labels()])
