"""Pages of documentation against the code that they speak of."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Examples in help texts, not read by that name.
EXAMPLES = {"HARNESS_EVAL_MODEL"}


def test_every_environment_variable_has_its_row() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "harness").rglob("*.py"))
    read = set(re.findall(r"HARNESS_[A-Z_]*[A-Z]", code)) - EXAMPLES
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(HARNESS_\w+)` \|", page, flags=re.MULTILINE)) == read


def test_every_module_that_architecture_names_is_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("## Who knows what")[2].partition("## ")[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, flags=re.MULTILINE)
    named = [name.replace(".", "/") for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    core = ROOT / "harness"
    gone = [name for name in named if not (core / name).is_dir() and not (core / f"{name}.py").is_file()]
    assert len(named) > 40
    assert not gone


def test_links_between_pages_lead_somewhere() -> None:
    pages = [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not broken
