"""Answers from a head: opened or fine-tuned first, then run over a whole group of units at once, or over a block of a long one.

Knows plans and formats with a head; knows no task, and of metrics only the one that chooses a checkpoint.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from harness import tuning
from harness.answers import Answer, Block, model_error
from harness.catalog import Catalog
from harness.engine.headed import Headed
from harness.engine.multi import open_answering
from harness.engine.predict import Asked, Predictor
from harness.engine.session import Compute
from harness.errors import DeviceError, HarnessError, ModelError, OutputError, SpecError
from harness.formats.base import HeadFormat
from harness.grouping import GROUP_EXAMPLES
from harness.plan import Plan, Unit
from harness.progress import Listener
from harness.unitrows import blame, read_unit

# What a block is in the processes that only take part: the first one has the predictions.
_ELSEWHERE = Block(predictions=(), inputs={})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """A model with a head, and how it came about."""

    headed: Headed
    weights: str
    trained: Mapping[str, Any]


@dataclass(kw_only=True)
class HeadAnswers:
    """Answers units of formats with a head, a group of units of one model at a time.

    The tokens of a model's next group are made in another thread while it runs.

    Attributes:
        plan: What is to be done.
        catalog: For the metric that chooses a checkpoint.
        compute: On what models run.
        listener: Told of training and of what is run.
        pending: Numbers of the units that are to be answered.
    """

    plan: Plan
    catalog: Catalog
    compute: Compute
    listener: Listener
    pending: Sequence[int]
    work: dict[str, int] = field(default_factory=dict)
    _ready: dict[tuple[str, str, int | None], Answer | str] = field(default_factory=dict)
    _open: tuple[Any, _Model] | None = None
    _broken: dict[Any, str] = field(default_factory=dict)
    _ahead: dict[tuple[str, str, int | None], Future[Asked | str]] = field(default_factory=dict)
    _pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="encode")
    )

    def answer(self, unit: Unit) -> list[Answer]:
        """The answer of a unit. Those of its whole group are computed with it; a long unit's while its blocks are taken.

        Raises:
            HarnessError: Its head cannot be opened or trained, or its examples cannot be encoded; of a long unit the
                blocks raise it too.
        """
        if self._long(unit):
            return [self._streamed(unit)]
        if unit.key not in self._ready:
            self._run(self._group(unit))
        found = self._ready.pop(unit.key)
        if isinstance(found, str):
            raise ModelError(found)
        return [found]

    @property
    def _most(self) -> int:
        """Examples that are answered at once; the tokens of as many more may be in memory meanwhile."""
        return GROUP_EXAMPLES[self.compute.kind]

    def _long(self, unit: Unit) -> bool:
        return unit.examples > self._most

    def _group(self, unit: Unit) -> list[Unit]:
        """What is answered together with a unit, which comes first."""
        return [other for other in self._grouped() if other.group == unit.group]

    def _grouped(self) -> Iterator[Unit]:
        """The units that are answered in groups, in their order, without those whose answer lies ready."""
        for unit in map(self.plan.units.__getitem__, self.pending):
            if not (unit.spaces or unit.error or unit.key in self._ready or self._long(unit)):
                yield unit

    def _run(self, units: Sequence[Unit]) -> None:
        """Answer several units with batches of all of them."""
        try:
            model = self._model(units[0])
        except OutputError:
            raise
        except HarnessError as error:
            for unit in units:
                self._ahead.pop(unit.key, None)
                self._ready[unit.key] = f"{unit.name}: {error}"
            return
        asked = [self._encoded(unit, model) for unit in units]
        self._prepare(units[-1], model)
        found = self._blocks(model, units, asked)
        for unit, block in zip(units, found, strict=True):
            self._ready[unit.key] = block if isinstance(block, str) else _answer(unit, model, [block])

    def _streamed(self, unit: Unit) -> Answer:
        """Answer a unit a block at a time; of each block only what the road keeps of it stays in memory."""
        try:
            model = self._model(unit)
        except OutputError:
            raise
        except HarnessError as error:
            raise ModelError(f"{unit.name}: {error}") from error

        ranks = self.compute.ranks

        def blocks() -> Iterator[Block]:
            rows, _ = ranks.each(lambda: read_unit(unit, self.plan.location, self.plan.limit))
            parts = [
                rows.examples[begin : begin + self._most]
                for begin in range(0, len(rows.examples), self._most)
            ]
            ahead = self._pool.submit(self._asked, unit, model, parts[0])
            with contextlib.closing(ranks.in_step(range(len(parts)))) as steps:
                for number in steps:
                    asked = ahead.result()
                    if number + 1 < len(parts):
                        ahead = self._pool.submit(self._asked, unit, model, parts[number + 1])
                    (found,) = self._blocks(model, [unit], [asked])
                    if isinstance(found, str):
                        raise ModelError(found)
                    yield found

        return _answer(unit, model, blocks())

    def _encoded(self, unit: Unit, model: _Model) -> Asked | str:
        """The rows of all examples of a unit, which may have been made meanwhile."""
        ahead = self._ahead.pop(unit.key, None)
        return self._asked(unit, model, None) if ahead is None else ahead.result()

    def _prepare(self, last: Unit, model: _Model) -> None:
        """Start on the rows of the group that comes after a unit, where the same model answers it."""
        following = next((unit for unit in self._grouped() if unit.group > last.group), None)
        if following is None or _key(following) != _key(last):
            return
        for unit in self._group(following):
            self._ahead[unit.key] = self._pool.submit(self._asked, unit, model, None)

    def _blocks(
        self, model: _Model, units: Sequence[Unit], asked: Sequence[Asked | str]
    ) -> list[Block | str]:
        """Answers to the rows of some units in common batches, or what is wrong with them."""
        waiting = [entry for entry in asked if isinstance(entry, Asked)]
        predictor = Predictor(
            headed=model.headed, batch_tokens=self.compute.batch_tokens, ranks=self.compute.ranks
        )
        try:
            self.listener.encoding(units[0], sum(len(entry.rows.lengths) for entry in waiting))
            broken = predictor.answer(waiting, self.listener.encoded)
        # torch raises errors of many kinds; the model is what they have in common.
        except Exception as error:  # noqa: BLE001
            return [f"{unit.name}: {model_error(error, 'ran')}" for unit in units]
        for name in predictor.work.__slots__:
            self.work[name] = self.work.get(name, 0) + int(getattr(predictor.work, name))
        if not self.compute.ranks.first:
            return [entry if isinstance(entry, str) else _ELSEWHERE for entry in asked]
        wrong = {id(waiting[number]): told for number, told in broken.items()}
        return [
            f"{unit.name}: {wrong[id(entry)]}" if id(entry) in wrong else _block(unit, entry)
            for unit, entry in zip(units, asked, strict=True)
        ]

    def _asked(self, unit: Unit, model: _Model, examples: Sequence[Any] | None) -> Asked | str:
        """The rows of some examples, None for all, with what reads them, or what is wrong with them."""
        task_format = unit.task.format
        if not isinstance(task_format, HeadFormat):
            raise SpecError(f"{unit.name}: the format '{task_format.name}' reads no head")
        try:
            if examples is None:
                examples = read_unit(unit, self.plan.location, self.plan.limit)[0].examples
            rows = task_format.encode(examples, model.headed.tokenizer, unit.max_length)
            return Asked(
                rows=rows,
                reader=task_format.reader(examples, rows),
                language=unit.language,
                ids=[example.id for example in examples],
            )
        except HarnessError as error:
            return f"{unit.name}: {error}"
        except Exception as error:  # noqa: BLE001 - a format may be a plugin's
            return blame(unit, error)

    def close(self) -> None:
        """Wait for what is being encoded, and take on no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _model(self, unit: Unit) -> _Model:
        key = _key(unit)
        if self._open is not None and self._open[0] == key:
            return self._open[1]
        if key in self._broken:
            raise ModelError(self._broken[key])
        self._open = None
        try:
            model = self._opened(unit)
        except OutputError:
            raise
        # torch raises errors of many kinds; what could not be made once is not tried again for every language.
        except Exception as error:
            self._broken[key] = model_error(error, "was made")
            raise ModelError(self._broken[key]) from error
        self._open = (key, model)
        return model

    def _opened(self, unit: Unit) -> _Model:
        head = unit.task.format.head
        checkpoint, order = unit.checkpoint, unit.order
        trained: Mapping[str, Any] = {}
        if unit.phase is not None:
            made = tuning.obtain(unit.phase, self.catalog, self.plan.location, self.compute, self.listener)
            checkpoint, trained = made.checkpoint, made.facts
            order = tuple(range(len(head.labels)))
        try:
            headed = self.compute.ranks.each(
                lambda: open_answering(
                    checkpoint, head, order, device=self.compute.device, dtype=self.compute.dtype
                )
            )
        except DeviceError:
            raise
        except ModelError as error:
            if unit.phase is None:
                raise
            raise tuning.damaged(checkpoint.folder, str(error)) from error
        return _Model(headed=headed, weights=checkpoint.weights, trained=trained)


def _key(unit: Unit) -> tuple[Any, ...]:
    """By which model a unit is answered."""
    return unit.model, unit.order, unit.task.format.head


def _block(unit: Unit, asked: Asked | str) -> Block | str:
    if isinstance(asked, str):
        return asked
    try:
        return Block(predictions=asked.reader.predictions(), inputs=asked.rows.health)
    except Exception as error:  # noqa: BLE001 - a format may be a plugin's
        return blame(unit, error)


def _answer(unit: Unit, model: _Model, blocks: Iterable[Block]) -> Answer:
    return Answer(
        space=None,
        blocks=blocks,
        inputs={
            "max_length": unit.max_length,
            "texts": unit.examples,
            "distinct": len(unit.texts),
            "empty": unit.empty,
        },
        weights=model.weights,
        trained=model.trained,
    )
