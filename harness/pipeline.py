"""The road, top to bottom: read → encode → decode → write → score → record.

Knows the order of things. What a task is, how a model runs and how files look is known elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness import digests
from harness.engine.session import Session
from harness.engine.tokens import Tokens
from harness.errors import HarnessError, ModelError, OutputError, PluginError, SpecError
from harness.formats.base import Example, Predictions, Vectors
from harness.metric import Score
from harness.plan import Plan, Space, Unit
from harness.planning import blame, read_unit
from harness.progress import Listener
from harness.records import Record, predictions_path, write_predictions
from harness.registry import Catalog
from harness.run import RunWriter
from harness.statistics import score


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How the units of a run ended.

    Attributes:
        seconds: Unit to the time it took.
        failures: Unit to what went wrong.
        work: What the engine did, by name.
    """

    seconds: dict[tuple[str, str], float] = field(default_factory=dict)
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    work: Mapping[str, int] = field(default_factory=dict)


def pending_units(plan: Plan, catalog: Catalog, writer: RunWriter, *, again: bool) -> list[int]:
    """Numbers of the units that are readable and not done yet (of all readable ones, with ``again``)."""
    return [
        number
        for number, unit in enumerate(plan.units)
        if not unit.error and (again or not all(_done(unit, space, catalog, writer) for space in unit.spaces))
    ]


def _done(unit: Unit, space: Space, catalog: Catalog, writer: RunWriter) -> bool:
    recipe = unit.recipe(space, catalog)
    return bool(writer.done(unit.task.name, unit.language, recipe, unit.data, len(unit.task.metrics)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """What every step of a run needs at hand."""

    plan: Plan
    catalog: Catalog
    writer: RunWriter
    session: Session
    listener: Listener
    fail_fast: bool

    def compute(self, pending: Sequence[int], outcome: Outcome) -> None:
        """Compute units one after the other, each written when it is done; ``outcome`` is filled on the way.

        The tokens of what comes next are made in another thread while the model runs.

        Raises:
            HarnessError: With ``fail_fast``, the first failure.
            OutputError: The run folder or the cache cannot be written; nothing more could be kept.
        """
        encoders = _Encoding(self, pending)
        try:
            for number in pending:
                unit = self.plan.units[number]
                start = time.perf_counter()
                try:
                    encoders.bring(unit)
                    records = self._unit(unit)
                except OutputError:
                    raise
                # A plugin may raise anything while it decodes or scores; the other units go on.
                except Exception as error:
                    if self.fail_fast and isinstance(error, HarnessError):
                        raise
                    if self.fail_fast:
                        raise PluginError(blame(unit, error)) from error
                    told = str(error) if isinstance(error, HarnessError) else blame(unit, error)
                    outcome.failures[unit.task.name, unit.language] = told
                    self.listener.failed(unit, told)
                    continue
                outcome.seconds[unit.task.name, unit.language] = time.perf_counter() - start
                self.listener.finished(unit, records)
        finally:
            encoders.close()
            self.session.flush()
            outcome.work = self.session.work()

    def _unit(self, unit: Unit) -> list[Record]:
        """Decode, write and score one unit whose vectors are stored."""
        rows, held = read_unit(unit, self.plan.location, self.plan.limit)
        tuning = held.examples if held is not None else ()
        keys = digests.of_texts(unit.task.format.text(example) for example in [*rows.examples, *tuning])
        records: list[Record] = []
        for space in unit.spaces:
            vectors, tokens = self.session.vectors(space, keys)
            cut = int(np.count_nonzero(tokens > space.max_length))
            records += self._space(unit, space, rows.examples, tuning, vectors, cut)
        self.writer.add(records)
        return records

    def _space(
        self,
        unit: Unit,
        space: Space,
        examples: Sequence[Example],
        tuning: Sequence[Example],
        vectors: Vectors,
        cut: int,
    ) -> list[Record]:
        count = len(examples)
        every = unit.task.format.decode(
            examples,
            vectors[:count],
            (tuning, vectors[count:]) if len(tuning) else None,
            self.session.neighbours,
        )
        by_view = {predictions.view: predictions for predictions in every}
        records = []
        for view, predictions in by_view.items():
            metrics = [use.metric for use in unit.task.metrics if use.view == view]
            scores = {
                name: score(self.catalog.metric(name), predictions.gold, predictions.values)
                for name in metrics
            }
            variant = unit.variant(space, view)
            path = predictions_path(self.writer.folder, unit.task.name, variant, None, unit.language)
            write_predictions(path, predictions, {name: value.parts for name, value in scores.items()})
            records += [
                self._record(unit, space, variant, predictions, name, scores[name], cut) for name in metrics
            ]
        if len(records) != len(unit.task.metrics):
            raise SpecError(
                f"{unit.name}: the format gave the views {', '.join(by_view)}, not those of its metrics"
            )
        return records

    def _record(
        self,
        unit: Unit,
        space: Space,
        variant: str,
        predictions: Predictions,
        name: str,
        value: Score,
        cut: int,
    ) -> Record:
        metric = self.catalog.metric(name)
        checkpoint = self.plan.checkpoint
        main = unit.task.main
        return Record(
            run=self.plan.run,
            task=unit.task.name,
            task_version=unit.task.version,
            variant=variant,
            language=unit.language,
            split=unit.split,
            metric=name,
            signature=metric.signature,
            value=value.value,
            stderr=value.stderr,
            n=value.n,
            higher_is_better=metric.higher_is_better,
            main=space == unit.main and (name, predictions.view) == (main.metric, main.view),
            limited=self.plan.limit,
            items=digests.of_lines(predictions.ids)[:16],
            caveats=(*_caveats(unit, self.plan), *predictions.caveats),
            facts=dict(predictions.facts),
            inputs={
                "max_length": space.max_length,
                "texts": unit.examples,
                "distinct": len(unit.texts),
                "empty": unit.empty,
                "truncated": cut,
            },
            model=checkpoint.name,
            revision=checkpoint.revision,
            weights=checkpoint.weights,
            dtype=self.session.dtype,
            recipe=unit.recipe(space, self.catalog),
            seed=None,
            source=unit.source,
            data=unit.data,
            plugin=unit.plugin.name,
            distribution=unit.plugin.distribution,
            version=unit.plugin.version,
        )


def _caveats(unit: Unit, plan: Plan) -> Iterator[str]:
    if plan.location.kind == "sample":
        yield "built-in sample, not the data set"
    if unit.split != unit.task.split:
        yield f"split {unit.split}, the task's own is {unit.task.split}"
    if unit.cut_at is not None:
        yield f"texts are cut at {unit.cut_at} tokens, not where the protocol says"
    if plan.checkpoint.family == "xmod":
        yield "XMOD read every language through the adapter of its default language"
    for name, value in sorted(unit.changes.items()):
        yield f"{name} was set to {value}"


class _Encoding:
    """Brings vectors into the stores, group by group, with the next group's tokens being made meanwhile."""

    def __init__(self, road: Road, pending: Sequence[int]) -> None:
        self._road = road
        self._groups: dict[int, list[Unit]] = {}
        for unit in road.plan.units:
            self._groups.setdefault(unit.group, []).append(unit)
        needed = [group for number in pending for group in np.unique(road.plan.units[number].owner).tolist()]
        self._waiting = list(dict.fromkeys(needed))
        self._ahead: dict[int, Future[tuple[list[str], list[Tokens]]] | None] = {}
        self._failed: dict[int, str] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenise")

    def bring(self, unit: Unit) -> None:
        """Encode what this unit needs: all texts of every group that owns one of its texts, unless they are stored.

        Raises:
            HarnessError: Something that it needs could not be encoded.
        """
        for group in np.unique(unit.owner).tolist():
            while group in self._waiting:
                self._encode(self._waiting[0])
        embedder = self._road.session.embedder(unit.max_length)
        if embedder.missing(unit.texts):
            broken = [embedder.broken[key] for key in unit.texts.tolist() if key in embedder.broken]
            failed = [
                self._failed[group] for group in np.unique(unit.owner).tolist() if group in self._failed
            ]
            raise ModelError(f"{unit.name}: {[*broken, *failed, 'its texts could not be encoded'][0]}")

    def _encode(self, group: int) -> None:
        """Encode the texts of a group, after starting on the tokens of the next one."""
        for ahead in self._waiting[:2]:
            self._prepare(ahead)
        self._waiting.remove(group)
        waiting = self._ahead.pop(group)
        if waiting is None:
            return
        unit = self._groups[group][0]
        try:
            texts, tokens = waiting.result()
            self._road.listener.encoding(unit, len(texts))
            self._road.session.embedder(unit.max_length).embed(texts, tokens, self._road.listener.encoded)
        except OutputError:
            raise
        # torch and the tokenizers raise errors of many kinds; the model is what they have in common.
        except Exception as error:  # noqa: BLE001
            kind = "" if isinstance(error, HarnessError) else f"{type(error).__name__} while the model ran: "
            self._failed[group] = f"{kind}{' '.join(str(error).split())}"

    def _prepare(self, group: int) -> None:
        if group in self._ahead:
            return
        units = self._groups[group]
        mine = np.unique(np.concatenate([unit.texts[unit.owner == group] for unit in units]))
        missing = self._road.session.embedder(units[0].max_length).missing(mine)
        self._ahead[group] = self._pool.submit(self._tokens, units, mine) if missing else None

    def _tokens(self, units: Sequence[Unit], mine: NDArray[np.bytes_]) -> tuple[list[str], list[Tokens]]:
        texts: dict[str, None] = {}
        for unit in units:
            if not unit.error:
                rows, held = read_unit(unit, self._road.plan.location, self._road.plan.limit)
                examples = [*rows.examples, *(held.examples if held is not None else ())]
                texts.update(dict.fromkeys(unit.task.format.text(example) for example in examples))
        distinct = list(texts)
        keep = np.isin(digests.of_texts(distinct), mine)
        owned = [text for text, kept in zip(distinct, keep.tolist(), strict=True) if kept]
        return owned, self._road.session.tokenise(owned, units[0].max_length)

    def close(self) -> None:
        """Wait for what is being tokenised, and take on no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
