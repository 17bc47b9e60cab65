"""The two pools of a bitext: sentences with their vectors. Knows nothing of how one looks from one into the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.arrays import np
from harness.formats.base import Vectors
from harness.formats.retrieval import Sentence, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One side of a bitext: sentences with their vectors, shape ``(sentences, dimension)``."""

    sentences: Sequence[Sentence]
    vectors: Vectors

    def taken(self, rows: Sequence[int]) -> Vectors:
        """Vectors of some sentences; a view where they lie together, so that a memory-mapped matrix stays on disk."""
        if rows and rows[-1] - rows[0] + 1 == len(rows):
            return self.vectors[rows[0] : rows[-1] + 1]
        return self.vectors[np.array(rows, dtype=np.int64)]

    def centred(self) -> Pool:
        """The same with vectors less their mean, brought to length 1; one that equals the mean stays 0.

        The mean is what sentences of one language have in common, their language above all; what is left is nearer to what
        they say (Libovický, Rosa & Fraser 2019, arXiv 1911.03310). A copy in memory of all vectors.
        """
        vectors = self.vectors - self.vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        vectors /= np.where(lengths > 0, lengths, 1)
        return replace(self, vectors=vectors)


def pools_of(examples: Sequence[Sentence], vectors: Vectors, *, centred: bool = False) -> dict[Side, Pool]:
    """The English pool and the other, of sentences whose vectors stand in the same order."""
    sides: tuple[Side, ...] = ("en", "xx")
    rows = {side: [row for row, sentence in enumerate(examples) if sentence.side == side] for side in sides}
    whole = Pool(sentences=examples, vectors=vectors)
    pools: dict[Side, Pool] = {
        side: Pool(sentences=[examples[row] for row in rows[side]], vectors=whole.taken(rows[side]))
        for side in sides
    }
    return {side: pool.centred() for side, pool in pools.items()} if centred else pools


@dataclass(frozen=True, slots=True, kw_only=True)
class Distinct:
    """The distinct sentences of a pool: ids of the first of each, vectors, all their gold ids, every id to the first."""

    ids: list[str]
    vectors: Vectors
    gold: list[set[str]]
    first: dict[str, str]


def distinct(pool: Pool) -> Distinct:
    """The distinct sentences of a pool; equal ones are one, with the first one's id and all their gold answers."""
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
    return Distinct(ids=ids, vectors=pool.taken(rows), gold=gold, first=first)
