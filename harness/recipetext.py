"""A recipe as a plugin brings it: RecipeText. Knows nothing of what one says, which :mod:`harness.recipefile` reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeText:
    """A recipe as a plugin brings it, not yet read.

    Attributes:
        name: As on the command line.
        text: The YAML file's text.
        file: What errors call the file.
    """

    name: str
    text: str
    file: str
