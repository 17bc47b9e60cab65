"""Where long inputs are divided: sentences at word borders, passages in steps. Knows counts; knows no text and no id."""

from __future__ import annotations

from harness.arrays import NDArray, np
from harness.formats.rows import Ints


def filled(counts: Ints, starts: Ints, room: int) -> tuple[Ints, Ints]:
    """Sentences into windows of whole words, each filled as far as it goes, as XTREME's preprocessing does.

    Args:
        counts: Tokens of each word, ``room`` at most, shape ``(words,)``.
        starts: Word with which each sentence begins, with the end of the last, shape ``(sentences + 1,)``.
        room: Tokens that fit into a window.

    Returns:
        For each window the sentence it belongs to, ascending, and the word with which it begins, both of shape
        ``(windows,)``. A window ends where the next one begins. A sentence has at least one.

    >>> owner, begin = filled(np.array([2, 2, 1, 4]), np.array([0, 3, 4]), 4)
    >>> owner.tolist(), begin.tolist()
    ([0, 0, 1], [0, 2, 3])
    """
    before = np.concatenate([[0], np.cumsum(counts)])
    owner, begin = np.arange(len(starts) - 1, dtype=np.int64), starts[:-1]
    owners, begins = [owner], [begin]
    while len(owner):
        end = np.searchsorted(before, before[begin] + room, side="right") - 1
        unfinished = end < starts[owner + 1]
        owner, begin = owner[unfinished], end[unfinished]
        owners.append(owner)
        begins.append(begin)
    owner, begin = np.concatenate(owners), np.concatenate(begins)
    order = np.lexsort((begin, owner))
    return owner[order], begin[order]


def stepped(total: Ints, room: Ints, step: Ints) -> tuple[Ints, Ints, Ints]:
    """Passages into windows that begin ``step`` tokens apart, each of ``room`` tokens or what is left.

    Args:
        total: Tokens of each passage, shape ``(passages,)``.
        room: Tokens that fit into a window beside its question, at least 1, same shape.
        step: See above, ``room`` at most, same shape.

    Returns:
        For each window its passage, the number of its first token in there, and how many it has.

    >>> [array.tolist() for array in stepped(np.array([5, 0]), np.array([3, 3]), np.array([1, 1]))]
    [[0, 0, 0, 1], [0, 1, 2, 0], [3, 3, 3, 0]]
    """
    needed = windows_needed(total, room, step)
    owner = np.repeat(np.arange(len(total)), needed)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(needed) - needed, needed)
    first = number * step[owner]
    return owner, first, np.minimum(room[owner], total[owner] - first)


def windows_needed(total: Ints, room: Ints, step: Ints) -> Ints:
    """How many windows of ``room`` tokens, ``step`` apart, reach the end of ``total`` tokens; at least one each.

    >>> windows_needed(np.array([0, 10, 11, 14]), np.array([10]), np.array([4])).tolist()
    [1, 1, 2, 2]
    """
    needed: Ints = 1 + -(-np.maximum(total - room, 0) // step)
    return needed


def most_context(place: Ints, total: Ints, room: Ints, step: Ints) -> Ints:
    """The window in which a token has the most context, of those that hold it.

    That is the rule of BERT's SQuAD script, which XTREME's follows: the larger of the smaller numbers of tokens on either
    side, plus a hundredth of the window's length; of equal windows the first. All windows but the last are equally
    long, so among them it is the one whose middle is nearest, and only the last remains to be compared.

    Args:
        place: Number of the token in its passage; the other arrays broadcast with it.
        total: Tokens of the passage.
        room: Tokens that fit into a window.
        step: Tokens between the beginnings of two windows, ``room`` at most.

    >>> most_context(np.arange(8), np.array([8]), np.array([4]), np.array([2])).tolist()
    [0, 0, 0, 1, 1, 2, 2, 2]
    """
    last = windows_needed(total, room, step) - 1
    nearest = -(-(2 * place - (room - 1) - step) // (2 * step))
    nearest = np.clip(nearest, 0, np.maximum(last - 1, 0))
    inner = _context(place, nearest * step, np.minimum(nearest * step + room, total))
    outer = _context(place, last * step, total)
    chosen: Ints = np.where(outer > inner, last, nearest)
    return chosen


def _context(place: Ints, begin: Ints, end: Ints) -> NDArray[np.float64]:
    # The script adds the two in floating point, and its rounding settles which of two windows it calls better.
    least = np.minimum(place - begin, end - 1 - place).astype(np.float64)
    context: NDArray[np.float64] = least + 0.01 * (end - begin).astype(np.float64)
    return context
