"""An encoder that does not exist yet, as a value and as the text that names it: ``new:layers=4,hidden=256,…``.

Knows sizes and names; knows no text, no tokenizer and no torch. :mod:`harness.engine.new_model` makes one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from harness import languages
from harness.errors import UsageError

PREFIX = "new:"
_LEAST = {"layers": 1, "hidden": 8, "heads": 1, "vocabulary": 300, "tokens": 16, "seed": 0}
_MOST = {"layers": 256, "hidden": 65_536, "heads": 1_024, "vocabulary": 2_000_000, "tokens": 65_536}


@dataclass(frozen=True, slots=True, kw_only=True)
class NewModel:
    """An XLM-R-shaped encoder with random weights and a tokenizer of its own, to be trained by masked LM.

    Attributes:
        layers: Number of blocks; ``hidden`` size of a state, ``heads`` of attention, which divide it.
        vocabulary: Pieces of the tokenizer, special tokens included.
        tokens: Longest row, special tokens included.
        text: Task whose training texts teach the tokenizer.
        languages: Of these texts; empty for all that the data has.
        apart: Tasks, suites or globs no text of which may be among them.
        seed: Of the first weights.
    """

    layers: int = 4
    hidden: int = 256
    heads: int = 4
    vocabulary: int = 16_000
    tokens: int = 128
    text: str = "mlm"
    languages: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value, most = getattr(self, name), _MOST.get(name, (1 << 63) - 1)
            if not least <= value <= most:
                raise UsageError(f"{PREFIX}{name}={value}: must be from {least} to {most}")
        if self.hidden % self.heads:
            raise UsageError(
                f"{PREFIX}heads={self.heads}: must divide hidden={self.hidden}; each head reads an equal part"
            )

    def __str__(self) -> str:
        """The text that names it, with what differs from the defaults, in one order."""
        default = asdict(type(self)())
        given = {name: value for name, value in asdict(self).items() if value != default[name]}
        return PREFIX + ",".join(f"{name}={_written(value)}" for name, value in given.items())


def _written(value: Any) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)


def is_new(name: str) -> bool:
    """Whether a value of ``--model`` names an encoder that is to be made."""
    return name.startswith(PREFIX)


def new_model(text: str) -> NewModel:
    """The value that a text names.

    >>> str(new_model("new:hidden=128,layers=2,languages=deu+en"))
    'new:layers=2,hidden=128,languages=de+en'

    Raises:
        UsageError: A part is not of the form, or not allowed.
    """
    known = {item.name for item in fields(NewModel)}
    given: dict[str, str] = {}
    for part in filter(None, text.removeprefix(PREFIX).split(",")):
        name, equals, value = part.strip().partition("=")
        if name not in known or not equals or not value:
            raise UsageError(
                f"{text}: '{part}' is not allowed; write {PREFIX}NAME=VALUE,… with the names {', '.join(sorted(known))}, "
                "several languages or tasks joined by +"
            )
        if name in given:
            raise UsageError(f"{text}: {name} is given twice")
        given[name] = value
    return NewModel(**_read(text, given))


def _read(text: str, given: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name == "text":
            found[name] = value
        elif name == "languages":
            found[name] = tuple(dict.fromkeys(map(languages.canonical, value.split("+"))))
        elif name == "apart":
            found[name] = tuple(dict.fromkeys(value.split("+")))
        elif value.isdecimal() and value.isascii():
            found[name] = int(value)
        else:
            raise UsageError(f"{text}: {name}={value} is no whole number")
    return found
