"""Where the harness keeps what outlives a run: ``HARNESS_HOME``, else the platform's user cache folder."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

ADVICE = "choose another cache folder with the environment variable HARNESS_HOME"


def home() -> Path:
    """The folder; it may not exist yet."""
    given = os.environ.get("HARNESS_HOME")
    return (
        Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("harness", appauthor=False))
    )
