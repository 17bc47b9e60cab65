"""The road, top to bottom: read → encode → decode → write → score → record.

Knows the order of things. What a task is, how a model runs and how files look is known elsewhere.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from harness.answers import Answer
from harness.catalog import Catalog
from harness.engine.session import Sessions
from harness.errors import HarnessError, OutputError, PluginError, SpecError
from harness.headanswers import HeadAnswers
from harness.headtraining import training_caveats
from harness.plan import Plan, Space, Unit
from harness.progress import Listener, Silent
from harness.records import Record, predictions_path, split_caveat
from harness.run import RunWriter
from harness.unitrows import blame
from harness.vectoranswers import VectorAnswers
from harness.views import Scored, ViewWriter

UnitKey: TypeAlias = tuple[str, str, int | None]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How the units of a run ended.

    Attributes:
        seconds: Unit (task, language, seed) to the time it took.
        failures: Unit to what went wrong.
        work: What the engine did, by name.
    """

    seconds: dict[UnitKey, float] = field(default_factory=dict)
    failures: dict[UnitKey, str] = field(default_factory=dict)
    work: Mapping[str, int] = field(default_factory=dict)


def pending_units(plan: Plan, catalog: Catalog, writer: RunWriter, *, again: bool) -> list[int]:
    """Numbers of the units that are readable and not done yet (of all readable ones, with ``again``)."""
    return [
        number
        for number, unit in enumerate(plan.units)
        if not unit.error
        and (again or not all(_done(unit, space, catalog, writer) for space in unit.spaces or (None,)))
    ]


def _done(unit: Unit, space: Space | None, catalog: Catalog, writer: RunWriter) -> bool:
    recipe = unit.recipe(space, catalog)
    return bool(writer.done(unit.key, recipe, unit.data, len(unit.task.metrics)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """What every step of a run needs at hand."""

    plan: Plan
    catalog: Catalog
    writer: RunWriter
    sessions: Sessions
    listener: Listener
    fail_fast: bool

    def compute(self, pending: Sequence[int], outcome: Outcome) -> None:
        """Compute units one after the other, each written when it is done; ``outcome`` is filled on the way.

        The tokens of what comes next are made in another thread while the model runs.

        Raises:
            HarnessError: With ``fail_fast``, the first failure.
            OutputError: The run folder or the cache cannot be written; nothing more could be kept.
        """
        vectors, heads = _answering(self.plan, self.catalog, self.sessions, self.listener, pending)
        try:
            for number in pending:
                unit = self.plan.units[number]
                start = time.perf_counter()
                try:
                    records = self._written(unit, (vectors if unit.spaces else heads).answer(unit))
                except OutputError:
                    raise
                # A plugin may raise anything while it decodes or scores; the other units go on.
                except Exception as error:
                    if self.fail_fast and isinstance(error, HarnessError):
                        raise
                    if self.fail_fast:
                        raise PluginError(blame(unit, error)) from error
                    told = str(error) if isinstance(error, HarnessError) else blame(unit, error)
                    outcome.failures[unit.key] = told
                    self.listener.failed(unit, told)
                    continue
                outcome.seconds[unit.key] = time.perf_counter() - start
                self.listener.finished(unit, records)
        finally:
            vectors.close()
            heads.close()
            self.sessions.flush()
            outcome.work = _work(self.sessions, heads)
        outcome.work = self.sessions.compute.ranks.summed(dict(outcome.work))

    def _written(self, unit: Unit, answers: Sequence[Answer]) -> list[Record]:
        """Write and score the answers of one unit."""
        records = [record for answer in answers for record in self._scored(unit, answer)]
        self.writer.add(records)
        return records

    def _scored(self, unit: Unit, answer: Answer) -> list[Record]:
        """The records of one answer; predictions of a block are scored and put by before the next one is computed."""
        inputs = Counter(answer.inputs)
        with contextlib.ExitStack() as stack:
            stack.callback(answer.close)
            views: dict[str, ViewWriter] = {}
            for block in answer.blocks:
                inputs.update(block.inputs)
                for predictions in block.predictions:
                    view = predictions.view
                    if view not in views:
                        views[view] = stack.enter_context(self._writer(unit, answer, view))
                    views[view].add(predictions)
            recipe = unit.recipe(answer.space, self.catalog)
            for view in views:
                self.writer.make_way(unit.key, unit.variant(answer.space, view), recipe, unit.data)
            records = [
                self._record(unit, answer, inputs, view, scored, name)
                for view, scored in [(view, writer.finish()) for view, writer in views.items()]
                for name in scored.scores
            ]
        if len(records) != len(unit.task.metrics):
            raise SpecError(
                f"{unit.name}: the format gave the views {', '.join(views)}, not those of its metrics"
            )
        return records

    def _writer(self, unit: Unit, answer: Answer, view: str) -> ViewWriter:
        variant = unit.variant(answer.space, view)
        path = predictions_path(self.writer.folder, unit.task.name, variant, unit.seed, unit.language)
        metrics = [use.metric for use in unit.task.metrics if use.view == view]
        # English sentences have the same ids in every language pair, but are different sentences.
        pool = "" if answer.space is None else unit.language
        return ViewWriter(path, {name: self.catalog.metric(name) for name in metrics}, pool)

    def _record(
        self,
        unit: Unit,
        answer: Answer,
        inputs: Mapping[str, int],
        view: str,
        scored: Scored,
        name: str,
    ) -> Record:
        metric, value = self.catalog.metric(name), scored.scores[name]
        variant = unit.variant(answer.space, view)
        return Record(
            run=self.plan.run,
            task=unit.task.name,
            task_version=unit.task.version,
            variant=variant,
            view=view,
            language=unit.language,
            split=unit.split,
            metric=name,
            signature=metric.signature,
            value=value.value,
            stderr=value.stderr,
            n=value.n,
            higher_is_better=metric.higher_is_better,
            main=(variant, name) == unit.main_number,
            limited=self.plan.limit,
            items=scored.items,
            caveats=(*_caveats(unit, self.plan), *_cut(unit, inputs), *scored.caveats),
            facts={**scored.facts, **({"repairs": dict(unit.repairs)} if unit.repairs else {})},
            inputs=dict(inputs),
            trained=dict(answer.trained),
            model=unit.checkpoint.name,
            revision=unit.checkpoint.revision,
            weights=answer.weights,
            dtype=self.sessions.compute.dtype,
            recipe=unit.recipe(answer.space, self.catalog),
            seed=unit.seed,
            source=unit.source,
            data=unit.data,
            plugin=unit.plugin.name,
            distribution=unit.plugin.distribution,
            version=unit.plugin.version,
        )


def follow(plan: Plan, catalog: Catalog, sessions: Sessions, pending: Sequence[int]) -> None:
    """Take part in computing the units that the first process of a run writes; what fails in them is told there.

    Raises:
        OutputError: The cache cannot be written.
    """
    silent = Silent()
    vectors, heads = _answering(plan, catalog, sessions, silent, pending)
    try:
        for number in pending:
            unit = plan.units[number]
            try:
                for answer in (vectors if unit.spaces else heads).answer(unit):
                    for _ in answer.blocks:
                        pass
            except OutputError:
                raise
            # The first process has it too, tells of it, and goes on with the other units.
            except Exception as error:  # noqa: BLE001
                silent.failed(unit, str(error))
    finally:
        vectors.close()
        heads.close()
    sessions.compute.ranks.summed(_work(sessions, heads))


def _answering(
    plan: Plan, catalog: Catalog, sessions: Sessions, listener: Listener, pending: Sequence[int]
) -> tuple[VectorAnswers, HeadAnswers]:
    vectors = VectorAnswers(plan, sessions, listener, pending)
    heads = HeadAnswers(
        plan=plan, catalog=catalog, compute=sessions.compute, listener=listener, pending=pending
    )
    return vectors, heads


def _work(sessions: Sessions, heads: HeadAnswers) -> dict[str, int]:
    return {name: count + heads.work.get(name, 0) for name, count in sessions.work().items()}


def _caveats(unit: Unit, plan: Plan) -> Iterator[str]:
    if plan.location.kind == "sample":
        yield "built-in sample, not the data set"
    if unit.split != unit.task.split:
        yield split_caveat(unit.split, unit.task.split)
    if unit.cut_at is not None:
        yield f"texts are cut at {unit.cut_at} tokens, not where the protocol says"
    yield from unit.caveats
    yield from training_caveats(unit)
    if unit.without:
        yield f"{len(unit.without)} examples of this split were learned and are left out"
    yield from unit.learned
    if unit.checkpoint.family == "xmod" and unit.checkpoint.languages is None:
        yield "XMOD read every language through the adapter of its default language"
    for name, value in sorted(unit.changes.items()):
        yield f"{name} was set to {value}"


def _cut(unit: Unit, inputs: Mapping[str, int]) -> Iterator[str]:
    """A model that reads fewer tokens than the protocol says, where that made a difference."""
    wanted = unit.task.protocols[unit.protocol].max_length
    windows = inputs.get("rows", 0) > inputs.get("examples", 0)
    if unit.cut_at is None and unit.max_length < wanted and (inputs.get("truncated") or windows):
        yield f"the model reads {unit.max_length} tokens, the protocol says {wanted}"
