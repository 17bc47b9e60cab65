"""Which tokens a masked language model has to guess, drawn anew for each step. Knows ids; knows no text and no model."""

from __future__ import annotations

from harness.arrays import NDArray, np
from harness.formats.rows import IGNORED, Ints

# Of the tokens to guess (Devlin et al. 2019, section 3.1): hidden behind the mask, and replaced by any token. The rest
# stays as it is.
_HIDDEN, _REPLACED = 0.8, 0.1


def masked(
    ids: NDArray[np.int32],
    maskable: NDArray[np.bool_],
    starts: Ints,
    *,
    mask_id: int,
    vocabulary_size: int,
    generator: np.random.Generator,
    share: float = 0.15,
) -> tuple[NDArray[np.int32], Ints]:
    """What the model reads and what it has to guess, by BERT's rule.

    Each maskable token is chosen with probability ``share``. Of the chosen ones 80 % become the mask token, 10 % a token
    drawn from the whole vocabulary (which may be the token itself, or a special one), and 10 % stay. Where chance
    chooses none in a row that has maskable tokens, one of them is chosen, each with the same probability.

    Source: Devlin et al. 2019 (arXiv 1810.04805), section 3.1 and appendix A.1. Called with the next state of a
    generator for each step, this is RoBERTa's dynamic masking (Liu et al. 2019, arXiv 1907.11692, section 4.1).

    Args:
        ids: Token ids of rows, one row after the other, shape ``(tokens,)``; left as they are.
        maskable: Which of them may be chosen, same shape.
        starts: Where each row begins, with the end of the last, shape ``(rows + 1,)``.
        mask_id: Id of the mask token.
        vocabulary_size: Random tokens are drawn from 0 to this, which is excluded.
        generator: Decides everything; the same state with the same rows gives the same result.
        share: Above 0 and at most 1.

    Returns:
        Inputs, int32, and targets, int64: the original id of a chosen token and
        :data:`harness.formats.rows.IGNORED` elsewhere; both of shape ``(tokens,)``.
    """
    draws = generator.random(len(ids))
    chosen = maskable & (draws < share)
    chosen[_one_each(draws, maskable, chosen, starts)] = True
    places = np.flatnonzero(chosen)
    fate = generator.random(len(places))
    replaced = (fate >= _HIDDEN) & (fate < _HIDDEN + _REPLACED)
    inputs, targets = ids.copy(), np.full(len(ids), IGNORED, dtype=np.int64)
    targets[places] = ids[places]
    inputs[places[fate < _HIDDEN]] = mask_id
    inputs[places[replaced]] = generator.integers(
        vocabulary_size, size=int(np.count_nonzero(replaced)), dtype=np.int32
    )
    return inputs, targets


def _one_each(
    draws: NDArray[np.float64], maskable: NDArray[np.bool_], chosen: NDArray[np.bool_], starts: Ints
) -> Ints:
    """The maskable token with the smallest draw of each row in which none is chosen."""
    before = np.concatenate([[0], np.cumsum(chosen)])
    empty = before[starts[1:]] == before[starts[:-1]]
    row = np.repeat(np.arange(len(empty)), np.diff(starts))
    open_places = np.flatnonzero(maskable & empty[row])
    order = np.lexsort((draws[open_places], row[open_places]))
    _, first = np.unique(row[open_places][order], return_index=True)
    found: Ints = open_places[order[first]]
    return found
