"""What sets a family of encoders apart, as a value: EncoderAdapter. Knows no torch, no file and no task.

Most families need none: the engine opens whatever ``AutoModel`` opens. An adapter is for one that needs more than ids and
a mask, that is more than its encoder, or whose rows look at each other. Its functions are given modules of torch, untyped,
when a model is opened, so a plugin imports torch inside them and not at start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import SpecError
from harness.names import NAME


def nothing(module: Any, least_rows: Callable[[], int]) -> None:
    """Prepares nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Languages:
    """A model that has parts for languages, of which each row of a batch is read with one.

    Attributes:
        argument: The encoder's argument that takes a part's number per row, an int64 tensor of shape ``(rows,)``.
        parts: Names of the parts by number, as the model has them, e.g. ``en_XX``.
        numbers: Language in the harness's spelling to the number of its part.
        default: Number of the part that reads the languages without one.
    """

    argument: str
    parts: tuple[str, ...]
    numbers: Mapping[str, int]
    default: int

    def number(self, language: str) -> int:
        """The number of the part that reads a language; the default's where it has none."""
        return self.numbers.get(language, self.default)

    def caveats(self, language: str) -> tuple[str, ...]:
        """What a score in a language without a part of its own says about that.

        >>> Languages(argument="lang_ids", parts=("en_XX",), numbers={"en": 0}, default=0).caveats("yo")
        ("the model has no part for 'yo'; it was read with that of en_XX",)
        """
        if language in self.numbers:
            return ()
        return (
            f"the model has no part for '{language}'; it was read with that of {self.parts[self.default]}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderAdapter:
    """How models of one family are run, where that is not the same as for all others.

    Attributes:
        name: Lower-case, unique among adapters.
        model_types: ``model_type`` of the configurations that it is for; no two adapters share one.
        version: Rises when it changes what comes out of a model. Name and version are part of the digest by which vectors
            and trainings are found again.
        encoder_of: The encoder inside a module that holds one, e.g. the model that ``AutoModel`` opens, or a head over it;
            what runs on ids and a mask, gives hidden states, and takes ``Languages.argument``. None: the encoder of an
            encoder-decoder, else the model itself.
        prepare: Called with a module that holds the encoder once it is loaded, and perhaps again with another module
            around the same one. Puts right what is needed for a row's result not to depend on the rest of its batch, and
            takes ``requires_grad`` from what must not be trained. The second argument gives the number of rows that a
            matrix product needs for each of them to come out the same in whatever company.
        chance: Names in the configuration of what is random in training besides dropout; set to 0 where dropout is 0.
        decoder: Whether it is a decoder, which reads from left to right unless its configuration says ``"is_causal": false``
            (``--model NAME+bidirectional``). The heads that the harness trains on one read the last token.
        separates: Whether the harness puts a separator (else the end token) between two texts where the family's tokenizer
            puts nothing.
        languages: Configuration to the languages for which the model has parts, None for a family without such parts.
        notes: What a user should know of how the family is run, in a sentence or two.
    """

    name: str
    model_types: tuple[str, ...]
    version: int = 1
    encoder_of: Callable[[Any], Any] | None = None
    prepare: Callable[[Any, Callable[[], int]], None] = nothing
    chance: tuple[str, ...] = ()
    decoder: bool = False
    separates: bool = False
    languages: Callable[[Mapping[str, Any]], Languages] | None = None
    notes: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise SpecError(f"encoder '{self.name}': a name has lower-case letters, digits, '-' and '_' only")
        if not self.model_types or not all(isinstance(kind, str) and kind for kind in self.model_types):
            raise SpecError(
                f"encoder '{self.name}': model_types must name at least one model_type, e.g. ('xmod',)"
            )
        if self.version < 1:
            raise SpecError(f"encoder '{self.name}': version {self.version} must be at least 1")


def stored_as(languages: Languages | None, language: str, text: str) -> str:
    """What the vector of a text is found by: the text, with the part that reads it where the model has several.

    >>> stored_as(None, "de", "Hund")
    'Hund'
    >>> stored_as(Languages(argument="lang_ids", parts=("en_XX",), numbers={"en": 0}, default=0), "de", "Hund")
    'en_XX\\x1eHund'
    """
    return text if languages is None else f"{languages.parts[languages.number(language)]}\x1e{text}"
