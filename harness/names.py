"""How tasks, metrics and suites may be called."""

from __future__ import annotations

import re

NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")
