"""Retrieval: two pools of sentences, one per language, and which sentences translate each other.

Knows sentence vectors and how to search and mine among them; knows no file, no model and no metric.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

from harness import search
from harness.arrays import NDArray, np
from harness.errors import UsageError
from harness.formats.base import (
    Example,
    Json,
    Predictions,
    VectorFormat,
    Vectors,
    smallest_digests,
)

if TYPE_CHECKING:
    from harness.search import Neighbours

Side: TypeAlias = Literal["en", "xx"]
_HALVED = "threshold tuned on half of this split's gold, scored on the other half"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence(Example):
    """A sentence of one of the two pools.

    Attributes:
        side: ``en`` for the English pool, ``xx`` for the other language's.
        text: The sentence.
        gold: Ids of its translations in the other pool; empty for a distractor.
    """

    side: Side
    text: str
    gold: tuple[str, ...]


def sentence(row: Mapping[str, Json]) -> Sentence:
    """A row with ``id``, ``side``, ``text`` and ``gold`` (a list of ids) as a sentence."""
    return Sentence(id=row["id"], side=row["side"], text=row["text"], gold=tuple(row["gold"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One side of a bitext: sentences with their vectors, shape ``(sentences, dimension)``."""

    sentences: Sequence[Sentence]
    vectors: Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Search(ABC):
    """One way of looking from one pool into the other."""

    view: str

    @abstractmethod
    def run(
        self, pools: Mapping[Side, Pool], tuning: Mapping[Side, Pool] | None, neighbours: Neighbours
    ) -> Predictions:
        """Predictions of this view."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest(Search):
    """For each query that has a translation, the best sentence of the other pool.

    The prediction is that sentence's id. With a margin other than ``absolute`` the best is taken by margin score among
    the ``k`` nearest (Artetxe & Schwenk 2019, arXiv 1811.01136); otherwise it is the nearest by cosine.
    """

    queries: Side
    margin: search.Margin = "absolute"
    k: int = 4

    def run(
        self, pools: Mapping[Side, Pool], tuning: Mapping[Side, Pool] | None, neighbours: Neighbours
    ) -> Predictions:
        """See :class:`Search`; nothing is tuned here."""
        queries, base = pools[self.queries], pools["xx" if self.queries == "en" else "en"]
        asked = np.array(
            [index for index, sentence in enumerate(queries.sentences) if sentence.gold], dtype=np.int64
        )
        if self.margin == "absolute":
            found = neighbours(_taken(queries.vectors, asked.tolist()), base.vectors, 1)
            best, recall = found.rows[:, 0], found.recall
        else:
            both = search.both_ways(queries.vectors, base.vectors, self.k, neighbours)
            best, recall = both.best_forward(self.margin)[0][asked], both.recall
        sentences = [queries.sentences[index] for index in asked]
        return Predictions(
            view=self.view,
            ids=[sentence.id for sentence in sentences],
            gold=[_only(sentence) for sentence in sentences],
            values=[base.sentences[index].id for index in best],
            facts=recall.facts if recall is not None else {},
            caveats=(recall.caveat,) if recall is not None else (),
        )


def _only(sentence: Sentence) -> str:
    """The one gold answer of a query in an aligned bitext; of several, the first."""
    return sentence.gold[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mining(Search):
    """Find the translated pairs between two pools full of distractors.

    Candidates are scored by margin over ``k`` nearest neighbours in both directions; those of ``retrieval`` whose score
    reaches a threshold are accepted. The threshold is the one with the best F1 on the tuning split. Where there is no
    tuning split, or it is the one evaluated, sentences of the other language are halved by the first bit of their id's
    SHA-256: the half with bit 0 tunes, the half with bit 1 is scored, and a caveat says so.

    Work is done on distinct sentences: equal sentences of one pool are one, carrying the first one's id, and gold pairs
    are mapped to those ids. (XTREME's script drops later duplicates and loses their gold pairs.)

    Predictions hold one item per scored sentence of the other language: gold is the list of its translations' ids, the
    value the list of its candidates ``{"target", "score", "accepted"}`` (at most one unless ``retrieval`` is ``bwd``).
    """

    margin: search.Margin = "ratio"
    k: int = 4
    retrieval: search.Retrieval = "max"

    def run(
        self, pools: Mapping[Side, Pool], tuning: Mapping[Side, Pool] | None, neighbours: Neighbours
    ) -> Predictions:
        """See :class:`Search`."""
        items, recall = self._mine(pools, neighbours)
        caveats: tuple[str, ...] = (recall.caveat,) if recall is not None else ()
        if tuning is None:
            held = [item for item in items if _half(item.id) == 0]
            items = [item for item in items if _half(item.id) == 1]
            rule, caveats = "half:sha256", (_HALVED, *caveats)
        else:
            held, _ = self._mine(tuning, neighbours)
            rule = "tuning split"
        threshold = search.best_threshold(*_curve(held))
        return Predictions(
            view=self.view,
            ids=[item.id for item in items],
            gold=[list(item.gold) for item in items],
            values=[item.value(threshold) for item in items],
            facts={
                "threshold": threshold,
                "tuned_on": rule,
                "tuning_gold_pairs": sum(len(item.gold) for item in held),
                **(recall.facts if recall is not None else {}),
            },
            caveats=caveats,
        )

    def _mine(
        self, pools: Mapping[Side, Pool], neighbours: Neighbours
    ) -> tuple[list[_Mined], search.Recall | None]:
        other, english = _distinct(pools["xx"]), _distinct(pools["en"])
        both = search.both_ways(other.vectors, english.vectors, self.k, neighbours)
        sources, targets, scores = both.candidates(self.margin, self.retrieval)
        found: dict[int, list[tuple[str, float]]] = {}
        for source, target, score in zip(sources.tolist(), targets.tolist(), scores.tolist(), strict=True):
            found.setdefault(source, []).append((english.ids[target], score))
        mined = [
            _Mined(
                id=identity,
                gold=tuple(sorted({english.first[key] for key in other.gold[index] if key in english.first})),
                candidates=tuple(found.get(index, ())),
            )
            for index, identity in enumerate(other.ids)
        ]
        return mined, both.recall


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mined:
    """A distinct sentence of the other language with its gold answers and its candidates, ``(target, score)``."""

    id: str
    gold: tuple[str, ...]
    candidates: tuple[tuple[str, float], ...]

    def value(self, threshold: float) -> Json:
        return [
            {"target": target, "score": score, "accepted": score >= threshold}
            for target, score in self.candidates
        ]


def _half(identity: str) -> int:
    return hashlib.sha256(identity.encode("utf-8")).digest()[0] >> 7


def _curve(items: Sequence[_Mined]) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """Scores of the candidates, whether each is right, and the number of gold pairs."""
    pairs = [(score, target in item.gold) for item in items for target, score in item.candidates]
    scores = np.array([score for score, _ in pairs], dtype=np.float64)
    right = np.array([hit for _, hit in pairs], dtype=np.bool_)
    return scores, right, sum(len(item.gold) for item in items)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Distinct:
    """The distinct sentences of a pool: ids of the first of each, vectors, all their gold ids, every id to the first."""

    ids: list[str]
    vectors: Vectors
    gold: list[set[str]]
    first: dict[str, str]


def _distinct(pool: Pool) -> _Distinct:
    position: dict[str, int] = {}
    ids: list[str] = []
    rows: list[int] = []
    gold: list[set[str]] = []
    first: dict[str, str] = {}
    for row, sentence in enumerate(pool.sentences):
        place = position.setdefault(sentence.text, len(ids))
        if place == len(ids):
            ids.append(sentence.id)
            rows.append(row)
            gold.append(set())
        gold[place].update(sentence.gold)
        first[sentence.id] = ids[place]
    return _Distinct(ids=ids, vectors=_taken(pool.vectors, rows), gold=gold, first=first)


def _neighbours(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"k={text}: must be a whole number of at least 1")
    return int(text)


def _one_of(allowed: Sequence[str], text: str) -> str:
    if text not in allowed:
        raise UsageError(f"'{text}' is not allowed; there are {', '.join(allowed)}")
    return text


_SETTINGS: Mapping[str, Callable[[str], Any]] = {
    "margin": lambda text: _one_of(get_args(search.Margin), text),
    "k": _neighbours,
    "retrieval": lambda text: _one_of(get_args(search.Retrieval), text),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval(VectorFormat):
    """Two pools of sentences, searched in one or more ways; the encoder's vectors are used as they are."""

    name: ClassVar[str] = "retrieval"
    version: ClassVar[int] = 1

    searches: tuple[Search, ...]

    @property
    def views(self) -> tuple[str, ...]:
        """One per search."""
        return tuple(search.view for search in self.searches)

    @property
    def settings(self) -> Mapping[str, Json]:
        """The searches, field by field."""
        return {search.view: {"kind": type(search).__name__, **asdict(search)} for search in self.searches}

    def texts(self, example: Any) -> tuple[str, ...]:
        """The sentence."""
        return (example.text,)

    def language(self, example: Sentence, own: str) -> str:
        """English on the English side."""
        return "en" if example.side == "en" else own

    def replaced(self, changes: Mapping[str, str]) -> Retrieval:
        """``margin``, ``k`` and, for mining, ``retrieval`` can be changed (see :class:`harness.formats.base.Format`)."""
        searches = self.searches
        for name, text in changes.items():
            touched = [
                hasattr(search, name) and getattr(search, "margin", "") != "absolute"
                for search in self.searches
            ]
            if name not in _SETTINGS or not any(touched):
                raise UsageError(f"no setting '{name}' here; there are {', '.join(_SETTINGS)}")
            value = _SETTINGS[name](text)
            searches = tuple(
                replace(search, **{name: value}) if has else search
                for search, has in zip(searches, touched, strict=True)
            )
        return replace(self, searches=searches)

    def subset(self, examples: Sequence[Any], limit: int) -> list[Any]:
        """``limit`` sentences of the other language that have a translation, with their translations, and the same
        share of each pool's distractors, so that the task keeps its nature."""
        answered = [example.id for example in examples if example.side == "xx" and example.gold]
        keep = smallest_digests(answered, limit)
        keep |= {other for example in examples if example.id in keep for other in example.gold}
        share = min(1.0, limit / max(1, len(answered)))
        for side in ("xx", "en"):
            distractors = [example.id for example in examples if example.side == side and not example.gold]
            keep |= smallest_digests(distractors, round(share * len(distractors)))
        return [
            replace(example, gold=tuple(other for other in example.gold if other in keep))
            for example in examples
            if example.id in keep
        ]

    def decode(
        self,
        examples: Sequence[Any],
        outputs: Vectors,
        tuning: tuple[Sequence[Any], Vectors] | None,
        neighbours: Neighbours,
    ) -> list[Predictions]:
        """Search or mine in each of the declared ways (see :class:`harness.formats.base.Format`)."""
        pools = _pools(examples, outputs)
        held = _pools(*tuning) if tuning is not None else None
        return [way.run(pools, held, neighbours) for way in self.searches]


def _pools(examples: Sequence[Sentence], vectors: Vectors) -> dict[Side, Pool]:
    sides: tuple[Side, ...] = ("en", "xx")
    rows = {side: [row for row, sentence in enumerate(examples) if sentence.side == side] for side in sides}
    return {
        side: Pool(sentences=[examples[row] for row in rows[side]], vectors=_taken(vectors, rows[side]))
        for side in sides
    }


def _taken(vectors: Vectors, rows: Sequence[int]) -> Vectors:
    """Rows of a matrix; a view where they lie together, so that a memory-mapped matrix stays on disk."""
    if rows and rows[-1] - rows[0] + 1 == len(rows):
        return vectors[rows[0] : rows[-1] + 1]
    return vectors[np.array(rows, dtype=np.int64)]
