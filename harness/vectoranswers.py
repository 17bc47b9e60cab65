"""Answers from an encoder's vectors: texts are encoded group by group into stores, and a format searches among them.

Knows plans, stores and vector formats; knows no task and no metric.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import digests
from harness.answers import Answer, Block, model_error
from harness.encoders import stored_as
from harness.engine.session import Session, Sessions
from harness.engine.tokens import Tokens
from harness.errors import ModelError, OutputError, SpecError
from harness.formats.base import VectorFormat
from harness.plan import Plan, Unit
from harness.progress import Listener
from harness.unitrows import read_unit
from harness.workplace import check_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    """Texts of one language with their tokens; of all languages for a model that reads them alike."""

    language: str
    texts: list[str]
    tokens: list[Tokens]


class VectorAnswers:
    """Answers units of formats without a head. The next group's tokens are made while the model runs."""

    def __init__(self, plan: Plan, sessions: Sessions, listener: Listener, pending: Sequence[int]) -> None:
        self._plan, self._sessions, self._listener = plan, sessions, listener
        self._ranks = sessions.compute.ranks
        self._groups: dict[int, list[Unit]] = {}
        for unit in plan.units:
            if unit.spaces:
                self._groups.setdefault(unit.group, []).append(unit)
        mine = [plan.units[number] for number in pending if plan.units[number].spaces]
        self._waiting = list(
            dict.fromkeys(group for unit in mine for group in np.unique(unit.owner).tolist())
        )
        self._ahead: dict[int, Future[list[_Waiting]] | None] = {}
        self._failed: dict[int, str] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tokenise")

    def answer(self, unit: Unit) -> list[Answer]:
        """Answers in every space of a unit; none in a process that only takes part in encoding.

        Raises:
            HarnessError: Something that it needs could not be read or encoded.
        """
        self._bring(unit)
        if not self._ranks.first:
            return []
        task_format = unit.task.format
        if not isinstance(task_format, VectorFormat):
            raise SpecError(f"{unit.name}: the format '{task_format.name}' does not read vectors")
        rows, held = read_unit(unit, self._plan.location, self._plan.limit)
        tuning = held.examples if held is not None else ()
        texts = [task_format.texts(example)[0] for example in [*rows.examples, *tuning]]
        reads = unit.checkpoint.languages
        keys = digests.of_texts(
            stored_as(reads, task_format.language(example, unit.language), text)
            for example, text in zip([*rows.examples, *tuning], texts, strict=True)
        )
        session, count = self._session(unit), len(rows.examples)
        answers = []
        for space in unit.spaces:
            vectors, tokens = session.vectors(space, keys)
            found = task_format.decode(
                rows.examples,
                vectors[:count],
                (tuning, vectors[count:]) if len(tuning) else None,
                session.neighbours,
            )
            inputs = {
                "max_length": space.max_length,
                "texts": unit.examples,
                "distinct": len(unit.texts),
                "empty": unit.empty,
                "examples": len(texts),
                "words": sum(len(text.split()) for text in texts),
                "pieces": int(tokens[:, 1].sum()),
                "unknown": int(tokens[:, 2].sum()),
                "truncated": int(np.count_nonzero(tokens[:, 0] > space.max_length)),
            }
            answers.append(
                Answer(
                    space=space,
                    blocks=[Block(predictions=found, inputs={})],
                    inputs=inputs,
                    weights=unit.checkpoint.weights,
                )
            )
        return answers

    def _session(self, unit: Unit) -> Session:
        return self._sessions.of(unit.checkpoint)

    def _bring(self, unit: Unit) -> None:
        """Encode what this unit needs: all texts of every group that owns one of its texts, unless they are stored."""
        for group in np.unique(unit.owner).tolist():
            while group in self._waiting:
                self._encode(self._waiting[0])
        failed = [self._failed[group] for group in np.unique(unit.owner).tolist() if group in self._failed]
        embedder = self._session(unit).embedder(unit.max_length)
        if self._ranks.first and embedder.missing(unit.texts):
            broken = [embedder.broken[key] for key in unit.texts.tolist() if key in embedder.broken]
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
            parts = self._ranks.each(waiting.result)
            self._listener.encoding(unit, sum(len(part.texts) for part in parts))
            embedder = self._session(unit).embedder(unit.max_length)
            for part in parts:
                embedder.embed(part.texts, part.tokens, self._listener.encoded, language=part.language)
        except OutputError:
            raise
        # torch and the tokenizers raise errors of many kinds; the model is what they have in common.
        except Exception as error:  # noqa: BLE001
            self._failed[group] = model_error(error, "ran")

    def _prepare(self, group: int) -> None:
        """Start on the tokens of a group; one whose model cannot be opened costs its own units alone."""
        if group in self._ahead:
            return
        units = self._groups[group]
        mine = np.unique(np.concatenate([unit.texts[unit.owner == group] for unit in units]))
        try:
            embedder = self._ranks.each(lambda: self._session(units[0]).embedder(units[0].max_length))
        except OutputError:
            raise
        except Exception as error:  # noqa: BLE001 - see above
            self._failed[group], self._ahead[group] = model_error(error, "was opened"), None
            return
        missing = self._ranks.from_first(lambda: embedder.missing(mine))
        if missing:
            folder = self._sessions.compute.home / "embeddings"
            self._ranks.from_first(lambda: check_cache(folder))
        self._ahead[group] = self._pool.submit(self._tokens, units, mine) if missing else None

    def _tokens(self, units: Sequence[Unit], mine: NDArray[np.bytes_]) -> list[_Waiting]:
        """What a group encodes, one after the other by the part of the model that reads it."""
        reads = units[0].checkpoint.languages
        found: dict[str, tuple[str, str]] = {}
        for unit in units:
            if not unit.error:
                rows, held = read_unit(unit, self._plan.location, self._plan.limit)
                examples = [*rows.examples, *(held.examples if held is not None else ())]
                for example in examples:
                    text, language = unit.task.format.texts(example)[0], ""
                    if reads is not None:
                        language = unit.task.format.language(example, unit.language)
                    found.setdefault(stored_as(reads, language, text), (language, text))
        keep = np.isin(digests.of_texts(found), mine)
        by_language: dict[str, list[str]] = {}
        for (language, text), kept in zip(found.values(), keep.tolist(), strict=True):
            if kept:
                by_language.setdefault(language, []).append(text)
        session, length = self._session(units[0]), units[0].max_length
        return [
            _Waiting(language=language, texts=texts, tokens=session.tokenise(texts, length))
            for language, texts in by_language.items()
        ]

    def close(self) -> None:
        """Wait for what is being tokenised, and take on no more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
