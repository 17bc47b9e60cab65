"""How tasks, metrics and suites may be called, and by which file the folder of an experiment is known."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
EXPERIMENT = "experiment.json"
