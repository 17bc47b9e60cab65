"""Where tables are printed. Imports rich, so it is imported where a table is printed."""

from __future__ import annotations

import sys

from rich.console import Console

_PIPED = 140


def console(*, plain: bool = False) -> Console:
    """Standard output: as wide as the terminal, and of one width in a file or a pipe, whatever the terminal is.

    Args:
        plain: Numbers are not coloured, and square brackets are text.
    """
    width = None if sys.stdout.isatty() else _PIPED
    return Console(width=width, highlight=not plain, markup=not plain)
