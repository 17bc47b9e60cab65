"""How numbers of things are told to people. Knows no thing by name."""

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
