"""Sentences to vectors: tokenise, batch, run and pool, keep. The hot path of retrieval.

Knows an encoder and its stores; knows no task, language or file.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import digests
from harness.checkpoints import Checkpoint
from harness.encoders import stored_as
from harness.engine import batching
from harness.engine.fetching import Fetched, one_late
from harness.engine.load import Encoder, not_finite
from harness.engine.packed import batches_of
from harness.engine.passes import Work, launched
from harness.engine.pooling import filled, pooled_vectors
from harness.engine.ranks import ALONE, Ranks
from harness.engine.store import FLUSH_BYTES, EmbeddingStore
from harness.engine.tokens import Tokens, tokenise
from harness.plan import ENGINE_VERSION, Space

# Sentences planned together; bounds the memory that tokens take.
_BLOCK = 200_000
# Tokens per batch: what stays in a CPU's cache, and what fills a GPU.
BATCH_TOKENS = {"cpu": 3_072, "cuda": 65_536}


@dataclass(slots=True, kw_only=True)
class Embedder:
    """An encoder with the stores of the spaces that are wanted from it, all filled in one pass.

    Attributes:
        encoder: The encoder.
        stores: By space; all spaces have the same ``max_length``.
        batch_tokens: Tokens per batch.
        ranks: The processes among which batches are divided; the first one's stores get all vectors, the others' none.
        work: Counts of what was done here.
        broken: Digests of texts without a finite vector, with what is wrong.
    """

    encoder: Encoder
    stores: Mapping[Space, EmbeddingStore]
    batch_tokens: int
    ranks: Ranks = ALONE
    work: Work = field(default_factory=Work)
    broken: dict[bytes, str] = field(default_factory=dict)

    @property
    def max_length(self) -> int:
        """Tokens at most, special tokens included."""
        return next(iter(self.stores)).max_length

    def missing(self, keys: NDArray[np.bytes_]) -> bool:
        """Whether any of these texts is not stored in every space."""
        return not all(store.has(keys).all() for store in self.stores.values())

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokens of texts in blocks of bounded size. Safe to call in another thread while :meth:`embed` runs."""
        blocks = [texts[start : start + _BLOCK] for start in range(0, len(texts), _BLOCK)]
        return [tokenise(self.encoder.tokenizer, block, self.max_length) for block in blocks]

    def keys(self, texts: Sequence[str], language: str = "") -> NDArray[np.bytes_]:
        """What the vectors of texts are found by; a language counts only for a model with parts for languages."""
        reader = self.encoder.row_reader
        if reader is None:
            return digests.of_texts(texts)
        return digests.of_texts(stored_as(reader.languages, language, text) for text in texts)

    def embed(
        self,
        texts: Sequence[str],
        blocks: Sequence[Tokens],
        tell: Callable[[int], None] = lambda count: None,
        *,
        language: str = "",
    ) -> None:
        """Bring the vectors of texts into the stores.

        Batches are planned from all the texts before the stores are asked; a batch of which only a part is stored is
        computed whole. So the vectors do not depend on where an earlier run was stopped. ``tell`` hears of each batch's
        number of texts. ``language`` is that of all the texts.

        Raises:
            ModelError: A single sequence does not fit the device's memory.
        """
        start = 0
        for tokens in blocks:
            block = texts[start : start + len(tokens.sequence)]
            self.ranks.agree("texts to encode", [len(block), int(tokens.starts[-1])])
            keys = self.keys(block, language)
            whole = np.array(self.ranks.from_first(partial(self._whole, keys, tokens)), dtype=np.bool_)
            self.ranks.each(partial(self._embed_block, block, keys, tokens, whole, tell, language))
            start += len(block)

    def _whole(self, keys: NDArray[np.bytes_], tokens: Tokens) -> list[bool]:
        """Which sequences have all their texts stored in every space."""
        stored = np.logical_and.reduce([store.has(keys) for store in self.stores.values()])
        whole = np.ones(len(tokens.starts) - 1, dtype=np.bool_)
        np.logical_and.at(whole, tokens.sequence, stored)
        found: list[bool] = whole.tolist()
        return found

    def _embed_block(
        self,
        texts: Sequence[str],
        keys: NDArray[np.bytes_],
        tokens: Tokens,
        whole: NDArray[np.bool_],
        tell: Callable[[int], None],
        language: str,
    ) -> None:
        order = np.argsort(tokens.sequence, kind="stable")
        first = np.searchsorted(tokens.sequence[order], np.arange(len(whole) + 1))
        lengths = np.diff(tokens.starts)
        batches = batches_of(self.encoder.packer, lengths, self.batch_tokens, self.encoder.device)
        asked = [batch for batch in batches if not whole[batch.rows].all()]
        tell(len(texts) - sum(int((first[batch.rows + 1] - first[batch.rows]).sum()) for batch in asked))
        with contextlib.closing(self._made(asked, tokens, language)) as done:
            for batch, vectors in done:
                members = np.concatenate([order[first[row] : first[row + 1]] for row in batch.rows.tolist()])
                tell(len(members))
                place = np.repeat(np.arange(len(batch.rows)), first[batch.rows + 1] - first[batch.rows])
                for space, found in vectors.items():
                    good: NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(found), axis=1)
                    if not good.all():
                        self._note(
                            keys[members], [texts[int(index)] for index in members], good[place], space
                        )
                    kept = np.flatnonzero(good[place])
                    self.stores[space].add(
                        keys[members[kept]], found[place[kept]], tokens.before[members[kept]]
                    )
                self.work.sentences += len(members)

    def _made(
        self, asked: Sequence[batching.Batch], tokens: Tokens, language: str
    ) -> Generator[tuple[batching.Batch, dict[Space, NDArray[np.float32]]]]:
        """Batches with their vectors in every space, each rank's share computed there; the first rank gets them all."""
        if self.ranks.size == 1:
            for batch, vectors in one_late(self._computed(asked, tokens, language)):
                yield batch, {space: fetched.array() for space, fetched in vectors.items()}
            return
        borders = np.cumsum([store.dimension for store in self.stores.values()])[:-1]
        with contextlib.closing(
            self.ranks.in_turn(asked, lambda batch: self._side_by_side(batch, tokens, language))
        ) as done:
            for batch, pooled in done:
                yield batch, dict(zip(self.stores, np.split(pooled, borders, axis=1), strict=True))

    def _side_by_side(self, batch: batching.Batch, tokens: Tokens, language: str) -> NDArray[np.float32]:
        """Vectors of one batch, those of all spaces side by side."""
        parts = [
            np.concatenate([vectors[space].array() for space in self.stores], axis=1)
            for _, vectors in self._computed([batch], tokens, language)
        ]
        return np.concatenate(parts)

    def _computed(
        self, asked: Sequence[batching.Batch], tokens: Tokens, language: str
    ) -> Iterator[tuple[batching.Batch, dict[Space, Fetched]]]:
        """Batches, or their halves in order, with their vectors in every space, which a device may still be computing."""
        return launched(
            asked,
            partial(self._pooled, tokens=tokens, language=language),
            np.diff(tokens.starts),
            packer=self.encoder.packer,
            device=self.encoder.device,
            work=self.work,
            noun="sequence",
        )

    def _pooled(self, batch: batching.Batch, tokens: Tokens, language: str) -> dict[Space, Fetched]:
        """Vectors of one batch in every space."""
        with self._reading(batch, language):
            pooled = pooled_vectors(self.encoder, batch, tokens, list(self.stores))
            return {space: Fetched(vectors) for space, vectors in pooled.items()}

    def _note(
        self, keys: NDArray[np.bytes_], texts: list[str], good: NDArray[np.bool_], space: Space
    ) -> None:
        """Remember the texts that have no finite vector; they are not stored."""
        for key, text, fine in zip(keys.tolist(), texts, good.tolist(), strict=True):
            if not fine:
                self.broken[key] = (
                    f"{self.encoder.checkpoint.name}, layer {space.layer}: the vector of {text[:60]!r} is "
                    f"{not_finite(self.encoder.dtype)}"
                )

    def _reading(self, batch: batching.Batch, language: str) -> contextlib.AbstractContextManager[None]:
        """Within, the model reads a batch as being in a language, where it has parts for languages."""
        reader = self.encoder.row_reader
        if reader is None:
            return contextlib.nullcontext()
        rows = 1 if batch.packed else len(filled(batch, self.encoder.device))
        return reader.reading(np.full(rows, reader.languages.number(language)))

    def flush(self) -> None:
        """Write what the stores still hold in memory."""
        for store in self.stores.values():
            store.flush()


def open_stores(
    home: Path, encoder: Encoder, spaces: Sequence[Space], *, dtype: str, device: str
) -> dict[Space, EmbeddingStore]:
    """The stores of the spaces below a cache folder, which share the memory for what waits to be written."""
    share = FLUSH_BYTES // max(1, len(spaces))
    return {
        space: EmbeddingStore(
            home, space_key(space, encoder.checkpoint, dtype, device), encoder.dimension(space.layer), share
        )
        for space in spaces
    }


def space_key(space: Space, checkpoint: Checkpoint, dtype: str, device: str) -> dict[str, Any]:
    """The JSON value that names a store: everything that a vector depends on besides its text."""
    return {
        "engine": ENGINE_VERSION,
        "counts": 3,
        "weights": checkpoint.weights,
        "tokenizer": checkpoint.tokenizer,
        "dtype": dtype,
        "device": device.split(":", maxsplit=1)[0],
        "layer": space.layer,
        "pooling": space.pooling,
        "special_tokens": space.special_tokens,
        "normalise": space.normalise,
        "max_length": space.max_length,
    }
