"""Which rows of which language a step learns from. Knows counts and seeds; knows no text and no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.arrays import NDArray, np
from harness.errors import UsageError
from harness.formats.rows import Ints

# Places of a training for which languages are drawn at once. It decides what is drawn, so it must never change.
_BLOCK = 1 << 14
# What a generator is for, so that no two of them draw the same numbers.
_LANGUAGES, _ROWS = 0, 1


def language_weights(counts: Mapping[str, int], alpha: float) -> dict[str, float]:
    """How often each language is drawn: its share of the data to the power of ``alpha``, brought to the sum 1.

    1 leaves the shares as they are, 0 draws all languages alike. Source: Conneau & Lample 2019 (arXiv 1901.07291),
    section 3.1; 0.3 is the value of XLM-R (Conneau et al. 2020, arXiv 1911.02116, section 3.1).

    Args:
        counts: Rows of each language, at least 0; a language without rows is never drawn.
        alpha: Exponent, at least 0.

    Raises:
        UsageError: No language has a row, or ``alpha`` is below 0 or not a number.

    >>> {code: round(weight, 3) for code, weight in language_weights({"en": 900, "sw": 100, "yo": 0}, 0.5).items()}
    {'en': 0.75, 'sw': 0.25, 'yo': 0.0}
    """
    if not 0 <= alpha < float("inf"):
        raise UsageError(f"alpha={alpha}: must be a number of at least 0; 1 keeps the shares of the data")
    total = sum(counts.values())
    if total <= 0:
        raise UsageError(f"no text in any of the languages {', '.join(counts) or '(none)'}")
    powers = {code: (count / total) ** alpha if count else 0.0 for code, count in counts.items()}
    whole = sum(powers.values())
    return {code: power / whole for code, power in powers.items()}


class RowSampler:
    """Gives the rows of each step: languages by weight, and within a language every row once before any comes again.

    The language of each place is drawn by itself. A language's rows are taken in a random order, and in another one each
    time it has been gone through. What a step gets follows from the seed, the size of a step and the step's number alone,
    whatever was asked before, so an interrupted training goes on with the same rows. Only speed depends on the past.

    Args:
        languages: Number of each row's language, shape ``(rows,)``.
        weights: How often each language is drawn; their sum is 1 and a language without rows has 0.
        seed: At least 0.

    Raises:
        UsageError: A language with a weight above 0 has no rows, or the weights' sum is not 1.
    """

    def __init__(self, languages: Ints, weights: Sequence[float], seed: int) -> None:
        self._weights = np.array(weights, dtype=np.float64)
        counts = np.bincount(languages, minlength=len(weights))
        if len(counts) > len(weights) or (counts[self._weights > 0] == 0).any():
            raise UsageError("every language with a weight above 0 needs a row, and every row a weight")
        if not np.isclose(self._weights.sum(), 1.0):
            raise UsageError(f"the weights of the languages have the sum {self._weights.sum()}, not 1")
        order = np.argsort(languages, kind="stable")
        self._rows = np.split(order, np.cumsum(counts)[:-1])
        self._seed = seed
        # How often each language was drawn before each block, and the languages of the block drawn last.
        self._before: list[Ints] = [np.zeros(len(weights), dtype=np.int64)]
        self._block: tuple[int, Ints, Ints] | None = None
        self._orders: dict[int, tuple[int, Ints]] = {}

    def rows(self, step: int, size: int) -> Ints:
        """The rows of a step.

        Args:
            step: From 0.
            size: Rows per step, the same for all steps of a training.

        Returns:
            Numbers of rows, shape ``(size,)``; a row may occur twice where a language has fewer rows than its places.
        """
        places = np.arange(step * size, (step + 1) * size, dtype=np.int64)
        parts = [
            self._of_block(int(block), places[places // _BLOCK == block] % _BLOCK)
            for block in np.unique(places // _BLOCK)
        ]
        return np.concatenate(parts) if parts else places

    def _of_block(self, block: int, places: Ints) -> Ints:
        languages, turns = self._drawn(block)
        found = np.empty(len(places), dtype=np.int64)
        for language in np.unique(languages[places]).tolist():
            mine = languages[places] == language
            found[mine] = self._taken(language, turns[places][mine])
        return found

    def _taken(self, language: int, turns: Ints) -> Ints:
        """The rows of a language whose turns these are, counted from the beginning of the training."""
        rows = self._rows[language]
        passes, places = np.divmod(turns, len(rows))
        found = np.empty(len(turns), dtype=np.int64)
        for number in np.unique(passes).tolist():
            if self._orders.get(language, (-1, rows))[0] != number:
                generator = np.random.default_rng([self._seed, _ROWS, language, number])
                self._orders[language] = (number, generator.permutation(rows))
            mine = passes == number
            found[mine] = self._orders[language][1][places[mine]]
        return found

    def _drawn(self, block: int) -> tuple[Ints, Ints]:
        """The language of each place of a block, and how many places had that language before; both ``(_BLOCK,)``."""
        while len(self._before) <= block:
            past = np.bincount(self._languages(len(self._before) - 1), minlength=len(self._weights))
            self._before.append(self._before[-1] + past)
        if self._block is None or self._block[0] != block:
            languages = self._languages(block)
            order = np.argsort(languages, kind="stable")
            counts = np.bincount(languages, minlength=len(self._weights))
            turns = np.empty(_BLOCK, dtype=np.int64)
            turns[order] = np.arange(_BLOCK) - np.repeat(np.cumsum(counts) - counts, counts)
            self._block = (block, languages, turns + self._before[block][languages])
        return self._block[1], self._block[2]

    def _languages(self, block: int) -> Ints:
        draws = np.random.default_rng([self._seed, _LANGUAGES, block]).random(_BLOCK)
        # The last sum may be a rounding error short of 1; the last language of any weight stands for the rest.
        last = int(np.flatnonzero(self._weights)[-1])
        found: NDArray[np.int64] = np.searchsorted(np.cumsum(self._weights), draws, side="right")
        return np.minimum(found, last).astype(np.int64)


def rows_of_step(languages: Ints, weights: Sequence[float], seed: int, step: int, size: int) -> Ints:
    """The rows of one step without anything remembered; see :class:`RowSampler`."""
    return RowSampler(languages, weights, seed).rows(step, size)
