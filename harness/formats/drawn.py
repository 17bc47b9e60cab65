"""Formats of texts in many languages that are drawn by language: learned from and never scored. Knows no file and no model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn, Self

from harness.errors import SpecError, UsageError
from harness.formats.base import Example, HeadFormat, Json
from harness.formats.rows import Ints, Rows, Tokenizer

_SWITCH = {"true": True, "false": False}
_ALPHA = "a number from 0 to 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Example):
    """A text, alone or with its translation.

    Attributes:
        text: The text; of a pair the English side.
        language: Its language; of a pair that of the other side.
        other: The translation, ``""`` where there is none.
    """

    text: str
    language: str
    other: str = ""


def text(row: Mapping[str, Json]) -> Text:
    """A row with ``id``, ``text``, ``language`` and, for pairs, ``other``."""
    return Text(id=row["id"], text=row["text"], language=row["language"], other=row.get("other", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRows(Rows):
    """Rows of texts, and whose language they are.

    Attributes:
        languages: The languages, in alphabetical order.
        language: Number of each row's language among them, shape ``(rows,)``.
    """

    languages: tuple[str, ...]
    language: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnFormat(HeadFormat):
    """A format whose training set is in all languages at once, of which every step draws some.

    Attributes:
        alpha: Exponent of language sampling (see :func:`harness.formats.sampling.language_weights`); XLM-R's 0.3.
    """

    # What each setting may be, in words.
    allowed: ClassVar[Mapping[str, str]] = {"alpha": _ALPHA}

    alpha: float = 0.3

    def __post_init__(self) -> None:
        for name, fits in self._fits().items():
            if not fits:
                found = getattr(self, name)
                raise SpecError(f"format '{self.name}': {name} is {found}, not {self.allowed[name]}")

    def _fits(self) -> Mapping[str, bool]:
        """For each number among the settings whether it is allowed."""
        return {"alpha": 0 <= self.alpha <= 1}

    @property
    def views(self) -> tuple[str, ...]:
        """None: nothing is predicted."""
        return ()

    def replaced(self, changes: Mapping[str, str]) -> Self:
        """Every setting can be changed (see :meth:`harness.formats.base.Format.replaced`)."""
        changed: dict[str, Any] = {}
        for name, value in changes.items():
            if name not in self.settings:
                raise UsageError(f"no setting '{name}' here; there are {', '.join(self.settings)}")
            kind = type(self.settings[name])
            if kind is bool and value not in _SWITCH:
                raise UsageError(f"{name}={value}: must be true or false")
            try:
                changed[name] = _SWITCH[value] if kind is bool else kind(value)
                replace(self, **changed)
            except (ValueError, SpecError) as error:
                raise UsageError(f"{name}={value}: must be {self.allowed[name]}") from error
        return replace(self, **changed)

    @abstractmethod
    def encode(self, examples: Sequence[Text], tokenizer: Tokenizer, max_length: int) -> DrawnRows:
        """Rows of token ids with their languages; see :meth:`harness.formats.base.HeadFormat.encode`."""

    def reader(self, examples: Sequence[Text], rows: Rows) -> NoReturn:
        """There is none.

        Raises:
            SpecError: Always.
        """
        raise SpecError(
            f"they are learned from and never scored; leave tasks of the format '{self.name}' out of what is evaluated"
        )
