"""The rows of a unit: reads them, and writes down in the unit what they are. Imports no torch and knows no plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from harness import digests, sources
from harness.encoders import Languages, stored_as
from harness.errors import HarnessError, PluginError
from harness.plan import Unit
from harness.sources import DataLocation, RowSet


def read_unit(unit: Unit, location: DataLocation, limit: int | None) -> tuple[RowSet, RowSet | None]:
    """The examples of a unit without those that were learned, and those of its tuning split where it has one.

    Raises:
        DataError: The data cannot be read, or nothing is left of it.
    """
    rows = sources.read(unit.task, unit.language, unit.split, location, limit, unit.without)
    held = None
    if unit.tuning is not None:
        held = sources.read(unit.task, unit.language, unit.tuning, location, limit)
    return rows, held


def with_data(unit: Unit, location: DataLocation, limit: int | None, *, fail_fast: bool) -> Unit:
    """The unit with its data's fingerprint, size, texts and caveats; with an error where it cannot be read.

    Raises:
        HarnessError: Likewise, with ``fail_fast``; PluginError where the plugin's reader raised something else.
    """
    if unit.error:
        return unit
    tuning = unit.task.tuning_split
    try:
        if tuning not in (None, unit.split) and sources.has_split(unit.task, unit.language, tuning, location):
            unit = replace(unit, tuning=tuning)
        rows, held = read_unit(unit, location, limit)
        examples = [*rows.examples, *(held.examples if held else ())]
        texts = [unit.task.format.texts(example) for example in examples]
        languages = [unit.task.format.language(example, unit.language) for example in examples]
    except HarnessError as error:
        if fail_fast:
            raise
        return replace(unit, error=str(error))
    # Whatever else a plugin's reader raises is that plugin's fault, and no reason to give up the other units.
    except Exception as error:
        if fail_fast:
            raise PluginError(blame(unit, error)) from error
        return replace(unit, error=blame(unit, error))
    known = unit.checkpoint.languages
    return replace(
        unit,
        source=rows.source,
        repairs=rows.repairs,
        caveats=(*rows.caveats, *_unread(known, languages)),
        data=digests.of_lines([rows.fingerprint, held.fingerprint]) if held else rows.fingerprint,
        examples=len(texts),
        empty=sum(not text.strip() for parts in texts for text in parts),
        texts=np.unique(
            digests.of_texts(
                stored_as(known, language, _text_key(parts))
                for parts, language in zip(texts, languages, strict=True)
            )
        ),
    )


def _unread(known: Languages | None, languages: Iterable[str]) -> tuple[str, ...]:
    """What a model with parts for languages says of those that it has no part for."""
    if known is None:
        return ()
    return tuple(told for language in dict.fromkeys(languages) for told in known.caveats(language))


def _text_key(parts: tuple[str, ...]) -> str:
    """One string for all texts of an example; for an example of one text, that text."""
    return parts[0] if len(parts) == 1 else "\x1f".join(parts)


def blame(unit: Unit, error: BaseException) -> str:
    """One line on an error that a plugin raised."""
    return f"{unit.name}: {unit.plugin.blame(error)}"
