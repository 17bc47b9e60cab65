"""Characters of passages and the sub-words that cover them. Knows texts and offsets; knows no question and no score."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from harness.arrays import np
from harness.formats.rows import Ints, Pieces, sizes_to_starts

# None of them lies beyond the ideographic space.
_LAST_SPACE = 0x3000


@cache
def spaces() -> tuple[int, ...]:
    """Code points that ``str.strip`` takes away, rising. Looked for when they are first needed: a listing needs none."""
    return tuple(code for code in range(_LAST_SPACE + 1) if chr(code).isspace())


def solid_counts(contexts: Sequence[str], pieces: Pieces) -> Ints:
    """How many characters that are no white space lie before each piece's beginning, and before its end.

    They are counted through all contexts, so that the characters of pieces i to j hold something to read exactly where
    the second number of j exceeds the first of i.

    Returns:
        Shape ``(pieces, 2)``.
    """
    codes = np.frombuffer("".join(contexts).encode("utf-32-le", "surrogatepass"), dtype="<u4")
    before = np.concatenate([[0], np.cumsum(~np.isin(codes, spaces()))])
    base = _base(contexts, pieces)
    return np.stack([before[base + pieces.begin], before[base + pieces.end]], axis=1)


def covering(
    contexts: Sequence[str], pieces: Pieces, solid: Ints, context: Ints, begin: Ints, end: Ints
) -> Ints:
    """First and last of the pieces that share a character with a stretch of a context.

    Args:
        contexts: Distinct texts; ``pieces`` are theirs.
        pieces: Offsets need not rise from piece to piece: several may stand for one character.
        solid: See :func:`solid_counts`.
        context: For each stretch the number of its context, shape ``(stretches,)``.
        begin: Character offset of its first character, same shape.
        end: Character offset behind its last, same shape.

    Returns:
        Piece numbers within the context, -1 where no piece has any of its characters, shape ``(stretches, 2)``.
    """
    if not len(pieces.ids):
        return np.full((len(context), 2), -1, dtype=np.int64)
    base = _base(contexts, pieces)
    characters = sizes_to_starts([len(text) for text in contexts])[context]
    # The first piece that ends behind the beginning, and the last that begins before the end; those without a character
    # are out of both.
    wide = pieces.begin < pieces.end
    furthest = np.maximum.accumulate(np.where(wide, base + pieces.end, -1))
    first = np.searchsorted(furthest, characters + begin, side="right")
    nearest = np.minimum.accumulate(np.where(wide, base + pieces.begin, np.iinfo(np.int64).max)[::-1])[::-1]
    last = np.searchsorted(nearest, characters + end, side="left") - 1
    found = (first <= last) & (begin < end)
    found &= solid[last, 1] > solid[np.minimum(first, len(solid) - 1), 0]
    return np.where(found[:, None], np.stack([first, last], axis=1) - pieces.starts[context][:, None], -1)


def _base(contexts: Sequence[str], pieces: Pieces) -> Ints:
    """Where each piece's context begins in all of them joined, shape ``(pieces,)``."""
    return np.repeat(sizes_to_starts([len(text) for text in contexts])[:-1], pieces.counts)
