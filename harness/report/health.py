"""What a model could read of the texts: cut, unknown, lost. Knows counts of a record; knows no task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# From here on a reader is warned: the score says more about the tokenizer or the length limit than about transfer.
NOTABLE_TRUNCATED = 5.0
NOTABLE_UNKNOWN = 10.0
NOTABLE_LOST = 1.0

# So many languages are named in a warning, the worst first.
SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the model read in one language; None where it was not counted.

    Attributes:
        examples: Number of examples (of texts where no head reads them).
        truncated: Percent of them of which the model does not see everything.
        empty: Number of empty texts.
        unknown: Percent of the sub-words that are the unknown token.
        pieces_per_word: Sub-words per white-space word (per given word in tagging).
        lost: Number of labels or answers that no row holds.
        max_length: Tokens per row at most.
    """

    examples: int | None
    truncated: float | None
    empty: int | None
    unknown: float | None
    pieces_per_word: float | None
    lost: int | None
    max_length: int | None


def health_of(inputs: Mapping[str, int]) -> Health:
    """The shares of a record's counts; a count that is missing, or a base of 0, gives None."""
    examples = inputs.get("examples", inputs.get("texts"))
    return Health(
        examples=examples,
        truncated=_percent(inputs.get("truncated"), examples),
        empty=inputs.get("empty"),
        unknown=_percent(inputs.get("unknown"), inputs.get("pieces")),
        pieces_per_word=_ratio(inputs.get("pieces"), inputs.get("words")),
        lost=inputs.get("lost"),
        max_length=inputs.get("max_length"),
    )


def warnings(health: Mapping[str, Health]) -> list[str]:
    """One line per thing that a reader of the scores should know, with the languages it holds for."""
    lost = {language: _percent(found.lost, found.examples) for language, found in health.items()}
    return [
        *_warning(
            f"more than {NOTABLE_TRUNCATED:g} % of the examples are cut at the length limit",
            {language: found.truncated for language, found in health.items()},
            NOTABLE_TRUNCATED,
        ),
        *_warning(
            f"more than {NOTABLE_UNKNOWN:g} % of the sub-words are unknown to the tokenizer",
            {language: found.unknown for language, found in health.items()},
            NOTABLE_UNKNOWN,
        ),
        *_warning(
            f"more than {NOTABLE_LOST:g} labels or answers in 100 examples are lost",
            lost,
            NOTABLE_LOST,
        ),
    ]


def _warning(text: str, shares: Mapping[str, float | None], limit: float) -> list[str]:
    notable = [(share, language) for language, share in shares.items() if share is not None and share > limit]
    worst = sorted(notable, key=lambda found: (-found[0], found[1]))
    if not worst:
        return []
    more = f" and {len(worst) - SHOWN} more" if len(worst) > SHOWN else ""
    return [f"{text}: {', '.join(f'{language} {share:.1f}' for share, language in worst[:SHOWN])}{more}"]


def _percent(part: int | None, whole: int | None) -> float | None:
    ratio = _ratio(part, whole)
    return None if ratio is None else 100.0 * ratio


def _ratio(part: int | None, whole: int | None) -> float | None:
    return part / whole if part is not None and whole else None
