"""What one step of a training learns: rows with their targets, drawn by number, cut into micro-batches that fit.

A lesson is one task's part in a training. Which of its items come in which step follows from seed and number alone, so
an interrupted training goes on with the same ones. Knows rows, targets and heads; knows no task and no schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.curriculum import steps_in_all, steps_of
from harness.engine.fetching import sent
from harness.engine.headed import Headed
from harness.engine.headmodules import loss
from harness.engine.predict import gather, reading
from harness.formats.rows import IGNORED, Ints, Rows, ranges

# Keeps the order of lessons apart from the order of rows, which is drawn from (seed, epoch).
_LESSON_STREAM = 0x1E55


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The items of one optimizer step.

    Attributes:
        ids: int32, flat; ``segments`` uint8 alike; ``starts`` where each row begins, with the end of the last.
        rows: Numbers of the rows, item after item.
        sizes: Rows of each item, shape ``(items,)``: more than one where an item is a choice among several.
        targets: As :meth:`harness.formats.base.HeadFormat.targets` gives them: by row, item or flat token.
        items: Numbers of the items, by which targets of items are looked up.
        scored: What the summed loss is divided by: items, or tokens where each token is scored.
        parts: Number of the model's part that reads each row, by the row's number; None: all with the default one.
    """

    ids: NDArray[np.int32]
    segments: NDArray[np.uint8]
    starts: Ints
    rows: Ints
    sizes: Ints
    targets: NDArray[np.int64]
    items: Ints
    scored: int
    parts: Ints | None = None

    @property
    def lengths(self) -> Ints:
        """Tokens of each row of the step."""
        return self.starts[self.rows + 1] - self.starts[self.rows]

    def micro(self, budget: int, rank: int = 0, ranks: int = 1) -> Iterator[Ints]:
        """Places of items, longest first, cut so that no part has more than ``budget`` tokens with padding.

        Of several processes number ``rank`` takes every ``ranks``-th item of that order from number ``rank`` on, which may
        be none.
        """
        longest = self.longest
        yield from _cut(np.argsort(-longest, kind="stable")[rank::ranks], longest, self.sizes, budget)

    @property
    def longest(self) -> Ints:
        """Tokens of the longest row of each item."""
        return np.maximum.reduceat(self.lengths, np.cumsum(self.sizes) - self.sizes)


def _cut(ordered: Ints, longest: Ints, sizes: Ints, budget: int) -> Iterator[Ints]:
    start = 0
    while start < len(ordered):
        rows = np.cumsum(sizes[ordered[start:]])
        room = budget // max(1, int(longest[ordered[start]]))
        count = max(1, int(np.searchsorted(rows, room, side="right")))
        yield ordered[start : start + count]
        start += count


class Lesson(Protocol):
    """What a trainer needs of one task's part."""

    @property
    def name(self) -> str:
        """For the loss curve."""
        ...

    @property
    def headed(self) -> Headed:
        """The model with the head that is trained."""
        ...

    @property
    def steps(self) -> int:
        """Optimizer steps that its epochs take."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass over its items."""
        ...

    @property
    def weight(self) -> float:
        """Probability of being drawn."""
        ...

    @property
    def paced(self) -> bool:
        """Whether its steps count when the training's length is settled."""
        ...

    @property
    def item(self) -> tuple[str, str]:
        """What one of its items is, and what makes it smaller, for the message that it does not fit into memory."""
        ...

    def draw(self, number: int, seed: int) -> Step:
        """The items of its step of this number, counted from 0."""
        ...

    def loss(self, step: Step, places: Ints) -> Tensor:
        """Summed loss of some items of a step (see :meth:`Step.micro`), a scalar on the model's device."""
        ...


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Examples with gold answers.

    Attributes:
        headed: Model and head.
        rows: All of them; ``targets`` what the scores are compared with.
        batch_size: Items per optimizer step: rows, or examples where an example is a choice among rows.
        epochs: Passes over the items.
        name: For the loss curve.
        weight: See :class:`Lesson`, likewise ``paced``.
        language: Of the rows, for models with parts for languages.
    """

    headed: Headed
    rows: Rows
    targets: NDArray[np.int64]
    batch_size: int
    epochs: float
    name: str = ""
    weight: float = 1.0
    paced: bool = True
    language: str = ""
    _orders: dict[int, Ints] = field(default_factory=dict)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of one pass."""
        return -(-(len(self._first) - 1) // self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps of all epochs."""
        return steps_of(len(self._first) - 1, self.batch_size, self.epochs)

    @property
    def item(self) -> tuple[str, str]:
        """A row, or an example where it is a choice among rows."""
        return "one example" if self.headed.head.kind == "choice" else "one row", "a smaller --max-length"

    def draw(self, number: int, seed: int) -> Step:
        """An epoch's order follows from seed and epoch alone."""
        epoch, place = divmod(number, self.steps_per_epoch)
        if epoch not in self._orders:
            self._orders.clear()
            generator = np.random.default_rng([seed, epoch])
            self._orders[epoch] = generator.permutation(len(self._first) - 1)
        items = self._orders[epoch][place * self.batch_size : (place + 1) * self.batch_size]
        sizes = self._first[items + 1] - self._first[items]
        return Step(
            ids=self.rows.ids,
            segments=self.rows.segments,
            starts=self.rows.starts,
            rows=ranges(self._first[items], sizes),
            sizes=sizes,
            targets=self.targets,
            items=items,
            scored=self._scored(items),
            parts=self._parts,
        )

    def loss(self, step: Step, places: Ints) -> Tensor:
        """Cross entropy of the head's scores, summed."""
        return micro_loss(self.headed, step, places)

    @cached_property
    def _parts(self) -> Ints | None:
        reader = self.headed.row_reader
        if reader is None:
            return None
        return np.full(len(self.rows.lengths), reader.languages.number(self.language))

    def _scored(self, items: Ints) -> int:
        if self.headed.head.kind != "token":
            return len(items)
        starts, before = self.rows.starts, self._tokens_scored
        return max(1, int((before[starts[items + 1]] - before[starts[items]]).sum()))

    @cached_property
    def _tokens_scored(self) -> Ints:
        """How many tokens before each one have a target, shape ``(tokens + 1,)``."""
        return np.concatenate([[0], np.cumsum(self.targets != IGNORED)])

    @cached_property
    def _first(self) -> Ints:
        """The row with which each item begins, with the end of the last: an example's choices are one item."""
        if self.headed.head.kind != "choice":
            return np.arange(len(self.rows.lengths) + 1)
        return np.searchsorted(self.rows.owner, np.arange(int(self.rows.owner[-1]) + 2))


def micro_loss(headed: Headed, step: Step, places: Ints) -> Tensor:
    """Summed loss of some items of a step, a scalar on the model's device.

    Args:
        headed: Whose loss.
        step: The step's items.
        places: Which of them, as :meth:`Step.micro` gives them.
    """
    sizes = step.sizes[places]
    rows = step.rows[ranges((np.cumsum(step.sizes) - step.sizes)[places], sizes)]
    lengths = step.starts[rows + 1] - step.starts[rows]
    length = int(lengths.max())
    masked = bool((lengths != lengths[0]).any())
    inputs = gather(step.ids, step.segments, step.starts, rows, length, headed, masked=masked)
    with reading(headed, None if step.parts is None else step.parts[rows]):
        return _loss_of(headed, step, places, rows, length, inputs)


def _loss_of(
    headed: Headed,
    step: Step,
    places: Ints,
    rows: Ints,
    length: int,
    inputs: tuple[Tensor, Tensor | None, Tensor | None],
) -> Tensor:
    kind = headed.head.kind
    if kind in ("token", "vocabulary"):
        targets = _by_token(step, rows, length, headed.device)
    else:
        targets = sent(step.targets[step.items[places]], headed.device)
    if kind == "vocabulary":
        # Scores over a whole vocabulary are made only where they count.
        chosen = targets != IGNORED
        return loss(headed.head, headed.module(*inputs, chosen), targets[chosen])
    scores = headed.module(*inputs)
    if kind == "choice":
        scores = _side_by_side(scores, step.sizes[places])
    return loss(headed.head, scores, targets, inputs[1])


def mean_loss(headed: Headed, step: Step, summed: Callable[[Ints], Tensor], budget: int) -> float:
    """Mean loss of a step's items in nats, without dropout and gradients; the model is left in the mode in which it was.

    Args:
        headed: Model and head.
        step: What is held out.
        summed: Loss of some of its items, summed.
        budget: Tokens per batch.
    """
    was_training = headed.module.training
    headed.module.eval()
    try:
        with torch.inference_mode():
            return sum(float(summed(places)) for places in step.micro(budget)) / step.scored
    finally:
        headed.module.train(was_training)


def _by_token(step: Step, rows: Ints, length: int, device: torch.device) -> Tensor:
    places = step.starts[rows][:, None] + np.arange(length)
    inside = places < step.starts[rows + 1][:, None]
    padded = np.where(inside, step.targets[np.minimum(places, len(step.targets) - 1)], IGNORED)
    return sent(padded, device)


def _side_by_side(scores: Tensor, sizes: Ints) -> Tensor:
    """One score a row to one line of scores per item, shape ``(items, most choices)``; -inf where there are fewer."""
    parts = torch.split(scores[:, 0], sizes.tolist())
    return torch.nn.utils.rnn.pad_sequence(list(parts), batch_first=True, padding_value=-torch.inf)


def lesson_order(lessons: Sequence[Lesson], steps: int, seed: int) -> tuple[NDArray[np.int8], Ints]:
    """Which lesson each step learns, and the number of that step within its lesson, both of shape ``(steps,)``."""
    if len(lessons) == 1:
        return np.zeros(steps, dtype=np.int8), np.arange(steps)
    weights = np.array([lesson.weight for lesson in lessons])
    generator = np.random.default_rng([seed, _LESSON_STREAM])
    order = generator.choice(len(lessons), size=steps, p=weights / weights.sum()).astype(np.int8)
    numbers = np.empty(steps, dtype=np.int64)
    for lesson in range(len(lessons)):
        mine = order == lesson
        numbers[mine] = np.arange(np.count_nonzero(mine))
    return order, numbers


def total_steps(lessons: Sequence[Lesson], max_steps: int | None) -> int:
    """Optimizer steps of a training: those of the lessons that set its pace, and room for the others beside them."""
    paced = [lesson for lesson in lessons if lesson.paced]
    share = sum(lesson.weight for lesson in paced) / sum(lesson.weight for lesson in lessons)
    steps = steps_in_all(sum(lesson.steps for lesson in paced), share)
    return min(steps, max_steps) if max_steps is not None else steps
