"""How numbers of things, and errors of foreign code, are told to people in a line. Knows no thing by name."""

from __future__ import annotations

from collections.abc import Sequence

_FEW = 6


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "unit"), counted(0, "unit"), counted(1200, "unit")
    ('1 unit', '0 units', '1,200 units')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def listed(names: Sequence[str], noun: str) -> str:
    """Names one after the other, or their number where there are many.

    >>> listed(["xnli/de", "xnli/fr"], "unit"), listed(["x"] * 40, "unit")
    ('xnli/de, xnli/fr', '40 units')
    """
    return ", ".join(names) if len(names) <= _FEW else counted(len(names), noun)


def kind_and_text(error: BaseException) -> str:
    """An error of foreign code in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
