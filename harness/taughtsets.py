"""Reads what is learned: a training set, a range or a share of it, with translations in place of some examples.

Knows tasks, languages and splits; knows no model and no hyper-parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from harness import sources
from harness.apart import Kept, kept_apart
from harness.curriculum import Taught
from harness.errors import DataError, UsageError
from harness.formats.base import Example
from harness.languages import PIVOT
from harness.sources import DataLocation, RowSet
from harness.spec import TaskSpec
from harness.subsets import subset_by_size
from harness.translated import mixed, read_translations

# Tasks that are kept apart, and in which languages.
_Apart: TypeAlias = tuple[tuple[str, ...], frozenset[str]]


def _apart_of(taught: Taught) -> _Apart:
    return tuple(task.name for task in taught.apart), frozenset({PIVOT, *taught.languages})


@dataclass(kw_only=True)
class TaughtSets:
    """Reads each set once.

    Attributes:
        location: Where the data is.
    """

    location: DataLocation
    _read: dict[tuple[str, str, str], RowSet] = field(default_factory=dict)
    _kept: dict[_Apart, Kept] = field(default_factory=dict)
    # English is the other side of every pair, so most texts come many times.
    _leaked: dict[_Apart, dict[str, bool]] = field(default_factory=dict)
    _clean: dict[tuple[str, str, str, tuple[str, ...]], Sequence[Example]] = field(default_factory=dict)

    def rows(self, task: TaskSpec, split: str, language: str) -> RowSet:
        """All examples of a split in one language; raises DataError."""
        key = (task.name, split, language)
        if key not in self._read:
            self._read[key] = sources.read(task, language, split, self.location)
        return self._read[key]

    def examples(self, taught: Taught) -> Sequence[Example]:
        """The examples that are learned, in order; raises DataError or UsageError."""
        return self._learned(taught)[0]

    def counted(self, taught: Taught) -> Taught:
        """The same with number, fingerprint, source and caveats of its examples.

        Raises:
            DataError: A set is not to be had, or the range holds no row.
            UsageError: The size is not allowed.
        """
        examples, drawn = self._learned(taught)
        left_out, unread = self._left_out(taught)
        rows = taught.rows
        if rows is not None:
            rows = (rows[0], min(rows[1], rows[0] + len(examples)) if not taught.size else rows[1])
        if not examples:
            name = f"{taught.task.name}/{taught.split}"
            if left_out:
                raise DataError(
                    f"{name} has nothing to learn: every text occurs in the sets that it is kept apart from; give other "
                    f"text, or keep it apart from fewer tasks than {', '.join(task.name for task in taught.apart)}"
                )
            raise DataError(f"--train-from: {name} has no row in this range")
        sets = [self.rows(taught.task, taught.split, language) for language in taught.languages]
        whole = len(sets) == 1 and len(examples) == len(sets[0].examples) and not taught.translated
        caveats = [caveat for entry in sets for caveat in entry.caveats]
        if unread:
            told = ", ".join(unread[:3]) + (f" and {len(unread) - 3} more" if len(unread) > 3 else "")
            caveats.append(
                f"evaluated sets that are not at hand ({told}); copies of their texts may be learned"
            )
        return replace(
            taught,
            rows=rows,
            examples=len(examples),
            data=sets[0].fingerprint if whole else sources.fingerprint(examples),
            source=", ".join(dict.fromkeys(entry.source for entry in sets)),
            drawn=drawn,
            original=self.counted(replace(taught, translated=None)).data if taught.translated else "",
            caveats=tuple(dict.fromkeys(caveats)),
            left_out=left_out,
            unread=unread,
        )

    def check_range(self, taught: Taught) -> None:
        """Find out that a range goes beyond the examples; in several languages it counts for each, and some may be short.

        Raises:
            DataError: A set is not to be had.
            UsageError: There are fewer examples.
        """
        if taught.rows is None or len(taught.languages) != 1:
            return
        language = taught.languages[0]
        there = len(self._apart(taught, language) if taught.apart else self._set(taught, language))
        first, end = taught.rows
        if first < there < end:
            asked = f"rows {first} to {end - 1}" if first else f"{end} examples"
            raise UsageError(
                f"--train-from: {asked} of {taught.task.name}/{taught.split} are wanted; there are only {there} examples; "
                "give a smaller range, or none for all"
            )

    def _left_out(self, taught: Taught) -> tuple[int, tuple[str, ...]]:
        """How many texts are not learned because they are evaluated, and which evaluated sets could not be looked at."""
        if not taught.apart:
            return 0, ()
        pairs = [(self._set(taught, code), self._apart(taught, code)) for code in taught.languages]
        return sum(len(given) - len(kept) for given, kept in pairs), self._held(taught).unread

    def _set(self, taught: Taught, language: str) -> Sequence[Example]:
        return self.rows(taught.task, taught.split, language).examples

    def _apart(self, taught: Taught, language: str) -> Sequence[Example]:
        """A set without what occurs in evaluated texts, on either side of a pair; looked through once."""
        key = (taught.task.name, taught.split, language, tuple(task.name for task in taught.apart))
        if key not in self._clean:
            examples = self._set(taught, language)
            sides = [taught.task.format.passages(example) for example in examples]
            leaks = self._leaks(taught, [text for texts in sides for text in texts])
            owner = np.repeat(np.arange(len(sides)), [len(texts) for texts in sides])
            bad = np.bincount(owner, weights=leaks, minlength=len(sides)) > 0
            self._clean[key] = [
                example for example, leaked in zip(examples, bad.tolist(), strict=True) if not leaked
            ]
        return self._clean[key]

    def _leaks(self, taught: Taught, texts: Sequence[str]) -> list[bool]:
        """Of each text whether something of it is evaluated; each distinct one is looked through once."""
        known = self._leaked.setdefault(_apart_of(taught), {})
        new = list(dict.fromkeys(text for text in texts if text not in known))
        known.update(zip(new, self._held(taught).evaluated.leaks(new).tolist(), strict=True))
        return [known[text] for text in texts]

    def _held(self, taught: Taught) -> Kept:
        key = _apart_of(taught)
        if key not in self._kept:
            self._kept[key] = kept_apart(taught.apart, sorted(key[1]), self.location)
        return self._kept[key]

    def _learned(self, taught: Taught) -> tuple[Sequence[Example], Mapping[str, int]]:
        """The examples, and how many are read in which language where some are read in translation.

        Rows, size and limit count for each language by itself: texts in several languages may share their ids.
        """
        found: list[Example] = []
        drawn: dict[str, int] = {}
        for language in taught.languages:
            examples, counts = self._of_language(taught, language)
            found += examples
            drawn |= counts
        return found, drawn

    def _of_language(self, taught: Taught, language: str) -> tuple[Sequence[Example], Mapping[str, int]]:
        english = self.rows(taught.task, taught.split, language).examples
        examples: Sequence[Example] = self._apart(taught, language) if taught.apart else english
        drawn: Mapping[str, int] = {}
        if taught.rows is not None:
            examples = examples[taught.rows[0] : taught.rows[1]]
        if taught.size:
            examples = subset_by_size(examples, taught.size, taught.seed)
        if taught.translated is not None:
            versions = {
                code: read_translations(taught.task, taught.split, code, self.location, english)
                for code in taught.translated.languages
            }
            examples, counts = mixed(examples, versions, taught.translated.share, taught.seed)
            drawn = counts.counts
        if taught.limit is not None:
            examples = taught.task.format.subset(examples, -(-taught.limit // len(taught.languages)))
        return examples, drawn


def read_taught(taught: Taught, location: DataLocation) -> Sequence[Example]:
    """The examples of a :class:`harness.curriculum.Taught`; raises DataError."""
    return TaughtSets(location=location).examples(taught)
