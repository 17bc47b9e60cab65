"""Translation ranking as a lesson: each text of a group of pairs looks for its translation among those of the others.

Knows rows of pairs and an encoder whose states are pooled; knows no file and no task.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from harness.engine.drawing import Drawn, parts_of
from harness.engine.fetching import sent
from harness.engine.headed import Headed
from harness.engine.lessons import Step, mean_loss
from harness.engine.predict import gather, reading
from harness.formats.bitexts import BitextRows, Bitexts, grouped, rows_of_pairs
from harness.formats.rows import Ints, ranges

# Rows of like length that are read at once. Padding costs a CPU more than further calls do, a GPU less.
_CPU_ROWS, _ROWS = 16, 64


@dataclass(frozen=True, kw_only=True)
class RankedPairs(Drawn):
    """Translation pairs; an item is a pair to ``batch_size`` and a group of pairs to a :class:`Step`.

    Attributes:
        rows: All pairs.
        ranked: Size of groups, temperature and margin.
    """

    rows: BitextRows
    ranked: Bitexts

    @property
    def by_language(self) -> tuple[tuple[str, ...], Ints]:
        """The languages, and the number of each pair's beside English."""
        return self.rows.languages, self.rows.pair_language

    @property
    def item(self) -> tuple[str, str]:
        """A group."""
        return f"one group of {self.ranked.group} pairs", f"smaller groups (--set {self.name}.group=…)"

    def draw(self, number: int, seed: int) -> Step:
        """Languages and pairs of a step follow from seed and number alone."""
        return _grouped(self.headed, self.rows, self.chosen(number, seed), self.ranked.group)

    def loss(self, step: Step, places: Ints) -> Tensor:
        """Of some groups of a step: cross entropy summed over pairs, the mean of both directions."""
        return _loss(self.headed, step, places, self.ranked)


def _grouped(headed: Headed, rows: BitextRows, pairs: Ints, group: int) -> Step:
    chosen, sizes = grouped(pairs, rows.pair_language[pairs], group)
    return Step(
        ids=rows.ids,
        segments=rows.segments,
        starts=rows.starts,
        rows=rows_of_pairs(chosen, sizes),
        sizes=2 * sizes,
        targets=rows.text,
        items=np.arange(len(sizes)),
        scored=max(1, len(pairs)),
        parts=parts_of(headed, rows, np.arange(len(rows.lengths))),
    )


def _loss(headed: Headed, step: Step, places: Ints, ranked: Bitexts) -> Tensor:
    begin = (np.cumsum(step.sizes) - step.sizes)[places]
    rows = step.rows[ranges(begin, step.sizes[places])]
    vectors = _vectors(headed, step, rows)
    texts = sent(step.targets[rows], headed.device)
    sizes = step.sizes[places].tolist()
    groups = zip(torch.split(vectors, sizes), torch.split(texts, sizes), strict=True)
    return torch.stack(
        [ranking_loss(*group, temperature=ranked.temperature, margin=ranked.margin) for group in groups]
    ).sum()


def ranking_loss(vectors: Tensor, texts: Tensor, *, temperature: float, margin: float = 0.0) -> Tensor:
    """Cross entropy of one group, summed over its pairs, the mean of both directions: a scalar, in nats.

    What is another translation of the same text, or the same text again, is no wrong answer and is left out.

    Args:
        vectors: Of length 1, float32, shape ``(2 * pairs, size)``: all first sides, then all second sides.
        texts: Number of each text, shape ``(2 * pairs,)``.
        temperature: Cosines are divided by it.
        margin: Taken off the cosines of the pairs.
    """
    pairs = len(vectors) // 2
    own = torch.eye(pairs, dtype=torch.bool, device=vectors.device)
    first, second = texts[:pairs], texts[pairs:]
    alike = (first[:, None] == first) | (second[:, None] == second)
    with torch.autocast(vectors.device.type, enabled=False):
        cosines = vectors[:pairs] @ vectors[pairs:].T
        scores = ((cosines - margin * own) / temperature).masked_fill(alike & ~own, -torch.inf)
        right = torch.arange(pairs, device=vectors.device)
        both = [nn.functional.cross_entropy(side, right, reduction="sum") for side in (scores, scores.T)]
        return (both[0] + both[1]) / 2


def _vectors(headed: Headed, step: Step, rows: Ints) -> Tensor:
    """One vector per row, shape ``(rows, size)``."""
    lengths = step.starts[rows + 1] - step.starts[rows]
    order = np.argsort(-lengths, kind="stable")
    found = torch.cat([_read(headed, step, rows[part]) for part in _parts(headed, order)])
    return found[sent(np.argsort(order, kind="stable"), headed.device)]


def _parts(headed: Headed, order: Ints) -> Iterator[Ints]:
    """The places of rows that are read at once, longest first."""
    most = _CPU_ROWS if headed.device.type == "cpu" else _ROWS
    for start in range(0, len(order), most):
        yield order[start : start + most]


def _read(headed: Headed, step: Step, rows: Ints) -> Tensor:
    lengths = step.starts[rows + 1] - step.starts[rows]
    masked = bool((lengths != lengths[0]).any())
    inputs = gather(step.ids, step.segments, step.starts, rows, int(lengths.max()), headed, masked=masked)
    with reading(headed, None if step.parts is None else step.parts[rows]):
        found: Tensor = headed.module(*inputs)
    return found


def held_out_loss(headed: Headed, rows: BitextRows, budget: int, ranked: Bitexts) -> float:
    """Mean ranking loss of held-out pairs in nats, in the same groups each time it is asked for.

    Args:
        headed: Model and head.
        rows: All of their pairs are read.
        budget: Tokens per batch.
        ranked: Size of groups, temperature and margin.
    """
    step = _grouped(headed, rows, np.arange(len(rows.pair_language)), ranked.group)
    return mean_loss(headed, step, lambda places: _loss(headed, step, places, ranked), budget)
