"""Retrieval: two pools of sentences, one per language, and which sentences translate each other.

Knows sentence vectors and how to search and mine among them; knows no file, no model and no metric.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias, get_args

from harness import search
from harness.arrays import np
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
    from harness.formats.pools import Pool
    from harness.search import Neighbours

Side: TypeAlias = Literal["en", "xx"]


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
            found = neighbours(queries.taken(asked.tolist()), base.vectors, 1)
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
        from harness.formats import mining

        return mining.run(self, pools, tuning, neighbours)


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
    """Two pools of sentences, searched in one or more ways; the encoder's vectors are used as they are.

    Attributes:
        searches: At least one.
        centred: Whether each pool's mean is taken from its vectors first, see :meth:`harness.formats.pools.Pool.centred`.
    """

    name: ClassVar[str] = "retrieval"
    version: ClassVar[int] = 2

    searches: tuple[Search, ...]
    centred: bool = False

    @property
    def views(self) -> tuple[str, ...]:
        """One per search."""
        return tuple(search.view for search in self.searches)

    @property
    def settings(self) -> Mapping[str, Json]:
        """The searches, field by field, and whether pools are centred."""
        searches = {
            search.view: {"kind": type(search).__name__, **asdict(search)} for search in self.searches
        }
        return {**searches, "centred": True} if self.centred else searches

    def texts(self, example: Any) -> tuple[str, ...]:
        """The sentence."""
        return (example.text,)

    def language(self, example: Sentence, own: str) -> str:
        """English on the English side."""
        return "en" if example.side == "en" else own

    def replaced(self, changes: Mapping[str, str]) -> Retrieval:
        """``centred``, ``margin``, ``k`` and, for mining, ``retrieval`` can be changed (see :meth:`Format.replaced`)."""
        changed = self
        for name, text in changes.items():
            changed = changed._with(name, text)
        return changed

    def _with(self, name: str, text: str) -> Retrieval:
        if name == "centred":
            return replace(self, centred=_one_of(("true", "false"), text) == "true")
        touched = [
            hasattr(search, name) and getattr(search, "margin", "") != "absolute" for search in self.searches
        ]
        if name not in _SETTINGS or not any(touched):
            raise UsageError(f"no setting '{name}' here; there are {', '.join(_SETTINGS)}, centred")
        value = _SETTINGS[name](text)
        searches = [
            replace(search, **{name: value}) if has else search
            for search, has in zip(self.searches, touched, strict=True)
        ]
        return replace(self, searches=tuple(searches))

    def items(self, examples: Sequence[Any]) -> int:
        """Pairs of translations."""
        return sum(len(example.gold) for example in examples if example.side == "xx")

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
        from harness.formats.pools import pools_of

        pools = pools_of(examples, outputs, centred=self.centred)
        held = pools_of(*tuning, centred=self.centred) if tuning is not None else None
        return [way.run(pools, held, neighbours) for way in self.searches]
