"""One view of a unit, scored and written while its blocks come. Knows metrics and files; knows no task and no model.

What stays in memory of a block is the parts of its items, one number each, and of a metric that is not itemwise gold
answers and predictions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from harness.digests import LinesDigest
from harness.errors import SpecError
from harness.formats.base import Json, Predictions
from harness.metric import Metric, Score
from harness.records import PredictionsWriter
from harness.statistics import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One view of a unit, scored and written.

    Attributes:
        scores: By metric.
        items: Digest of the ids of the items, and of their pool where there is one.
        facts: What was decided on the way.
        caveats: Why the scores must not be compared with published ones.
    """

    scores: Mapping[str, Score]
    items: str
    facts: Mapping[str, Json]
    caveats: tuple[str, ...]


class ViewWriter:
    """Takes the blocks of one view, then scores and writes them. The file appears when all is well.

    Args:
        path: Of the prediction file.
        metrics: By name.
        pool: Among what answers are looked for, by name; the same id in another pool is another item.
    """

    def __init__(self, path: Path, metrics: Mapping[str, Metric], pool: str = "") -> None:
        self._file = PredictionsWriter(path)
        self._tallies = {name: Tally(metric) for name, metric in metrics.items()}
        self._ids = LinesDigest()
        self._ids.add([pool] if pool else ())
        self._facts: dict[str, Json] = {}
        self._caveats: dict[str, None] = {}

    def add(self, predictions: Predictions) -> None:
        """Take the next items.

        Raises:
            SpecError: A metric does not get or give what it should, or a fact is not that of the items before.
            OutputError: The file cannot be written.
        """
        for tally in self._tallies.values():
            tally.add(predictions.gold, predictions.values)
        self._ids.add(predictions.ids)
        for name, fact in predictions.facts.items():
            if self._facts.setdefault(name, fact) != fact:
                raise SpecError(
                    f"the fact '{name}' is {fact!r} for some items and {self._facts[name]!r} for others; what a head's "
                    "predictions say of all items must be the same in every block"
                )
        self._caveats.update(dict.fromkeys(predictions.caveats))
        self._file.add(predictions)

    def finish(self) -> Scored:
        """Score all items and write the file; raises as :meth:`add` does."""
        scores = {name: tally.score() for name, tally in self._tallies.items()}
        self._file.finish({name: score.parts for name, score in scores.items()})
        return Scored(
            scores=scores,
            items=self._ids.hexdigest()[:16],
            facts=self._facts,
            caveats=tuple(self._caveats),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.__exit__(*raised)
