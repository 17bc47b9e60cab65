"""An encoder that does not exist yet, as a value and as the text that names it: ``new:layers=4,hidden=256,…``.

Knows sizes and names; knows no text, no tokenizer and no torch. :mod:`harness.engine.new_model` makes one.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from harness import languages
from harness.errors import UsageError

PREFIX = "new:"
_LEAST = {"layers": 1, "hidden": 8, "heads": 1, "vocabulary": 300, "tokens": 16, "seed": 0}
_MOST = {
    "layers": 256,
    "hidden": 65_536,
    "heads": 1_024,
    "vocabulary": 2_000_000,
    "tokens": 65_536,
    "seed": (1 << 63) - 1,
}
# Each size may be large; an encoder of all of them together would fill the memory of the machine that makes it.
_MOST_PARAMETERS = 20_000_000_000
_EXAMPLES = {"languages": "de+en", "apart": "xtreme+tatoeba"}
_LONGEST_FOLDER_NAME = 80


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
            value = getattr(self, name)
            if not least <= value <= _MOST[name]:
                raise _no_size(name, value)
        if self.hidden % self.heads:
            raise UsageError(
                f"{PREFIX}heads={self.heads}: must divide hidden={self.hidden}; each head reads an equal part"
            )
        if self._parameters > _MOST_PARAMETERS:
            raise UsageError(
                f"{self}: has {self._parameters:,} parameters, {_MOST_PARAMETERS:,} are allowed; give fewer layers, or a "
                "smaller hidden or vocabulary"
            )

    @property
    def _parameters(self) -> int:
        """Nearly: matrices of the blocks, and the tables of pieces and positions."""
        return self.hidden * (12 * self.layers * self.hidden + self.vocabulary + self.tokens)

    def __str__(self) -> str:
        """The text that names it: what differs from the defaults, in one order, and the vocabulary where nothing does."""
        default = {item.name: item.default for item in fields(self)}
        given = {name: value for name, value in asdict(self).items() if value != default[name]}
        given = given or {"vocabulary": self.vocabulary}
        return PREFIX + ",".join(f"{name}={_written(value)}" for name, value in given.items())


def _written(value: Any) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)


def is_new(name: str) -> bool:
    """Whether a value of ``--model`` names an encoder that is to be made."""
    return name.startswith(PREFIX)


def folder_name(text: str) -> str:
    """The same as the name of a folder, for shells and every file system.

    >>> folder_name("new:layers=1,languages=de+en")
    'new-layers1-languagesde-en'
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text.replace("=", ""))
    return plain[:_LONGEST_FOLDER_NAME].strip("-.")


def new_model(text: str) -> NewModel:
    """The value that a text names.

    >>> str(new_model("new:hidden=128,layers=2,languages=deu+en"))
    'new:layers=2,hidden=128,languages=de+en'

    Raises:
        UsageError: A part is not of the form, or not allowed.
    """
    if text.endswith("+bidirectional"):
        raise UsageError(
            f"{text}: +bidirectional is for decoders; a new encoder reads both directions, leave it out"
        )
    known = {item.name for item in fields(NewModel)}
    given: dict[str, str] = {}
    for part in filter(None, map(str.strip, text.removeprefix(PREFIX).split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in known or not equals or not value:
            raise UsageError(f"{text}: '{part}' is not allowed; {_advice(part, list(given), known)}")
        if name in given:
            raise UsageError(f"{text}: {name} is given twice, as {given[name]} and {value}; leave one out")
        given[name] = value
    return NewModel(**{name: _read(name, value) for name, value in given.items()})


def _advice(part: str, before: list[str], known: set[str]) -> str:
    """What to write instead of a part that has no name, or none that is known."""
    last = before[-1] if before else ""
    if last in _EXAMPLES and "=" not in part and part not in known:
        return f"several {last if last == 'languages' else 'tasks'} are joined by +, e.g. {last}={_EXAMPLES[last]}"
    return f"write {PREFIX}NAME=VALUE,… with the names {', '.join(sorted(known))}, several languages or tasks joined by +"


def _read(name: str, value: str) -> Any:
    if name == "text":
        return value
    if name in ("languages", "apart"):
        read = _language if name == "languages" else _task
        return tuple(dict.fromkeys(read(part.strip(), value) for part in value.split("+")))
    # Python reads no number of thousands of digits.
    if not re.fullmatch(r"[0-9]{1,20}", value):
        raise _no_size(name, value)
    return int(value)


def _language(code: str, given: str) -> str:
    try:
        return languages.canonical(code)
    except UsageError as error:
        raise UsageError(
            f"{PREFIX}languages={given}: '{code}' is no language code; give ISO 639-1 or 639-3 codes joined by +, e.g. "
            f"languages={_EXAMPLES['languages']}, or leave languages out for all that the data has"
        ) from error


def _task(name: str, given: str) -> str:
    if not name:
        raise UsageError(
            f"{PREFIX}apart={given}: name tasks or suites joined by +, e.g. apart={_EXAMPLES['apart']}"
        )
    return name


def _no_size(name: str, value: object) -> UsageError:
    most = "2^63 - 1" if name == "seed" else f"{_MOST[name]:,}"
    return UsageError(f"{PREFIX}{name}={value}: give a whole number from {_LEAST[name]} to {most}")
