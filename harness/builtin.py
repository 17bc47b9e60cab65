"""The built-in models by name. Knows no file and no torch; :mod:`harness.engine.sample` makes them."""

from __future__ import annotations

from pathlib import Path

SAMPLE = "sample"
# After the first, the same words in encoders of other families.
NAMES = (
    SAMPLE,
    "sample-mt5",
    "sample-xmod",
    "sample-switch",
    "sample-nllb-moe",
    "sample-qwen3",
    "sample-qwen3-moe",
)


def is_built_in(name: str) -> bool:
    """Whether a name means a built-in model, be there one or not: ``sample``, or ``sample-…`` that is no folder."""
    return name in NAMES or (name.startswith(f"{SAMPLE}-") and "/" not in name and not Path(name).is_dir())
