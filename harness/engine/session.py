"""One model at work for a whole run: opened when first needed, its stores, its search. Knows plans, not tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import search
from harness.engine import embed, load
from harness.engine.embed import Embedder, Work
from harness.engine.load import Encoder
from harness.engine.tokens import Tokens
from harness.formats.base import Neighbours, Vectors
from harness.plan import Plan, Space


@dataclass(kw_only=True)
class Session:
    """What a run needs of the engine.

    Attributes:
        plan: What is to be done.
        device: ``cpu``, ``cuda`` or ``cuda:N``; ``dtype`` the name of a dtype.
        batch_tokens: Tokens per batch, or None for the device's default.
        home: Folder of the embedding stores.
    """

    plan: Plan
    device: str
    dtype: str
    batch_tokens: int | None
    home: Path
    _embedders: dict[int, Embedder] = field(default_factory=dict)

    @cached_property
    def encoder(self) -> Encoder:
        """The model, opened on first use."""
        return load.load_encoder(self.plan.checkpoint, device=self.device, dtype=self.dtype)

    def open(self) -> None:
        """Open the model now; raises ModelError."""
        _ = self.encoder

    @property
    def neighbours(self) -> Neighbours:
        """Exact search on the session's device."""
        if self.device.startswith("cuda"):
            from harness.engine.knn import torch_knn

            return partial(search.neighbours, raw=partial(torch_knn, device=self.device))
        return search.neighbours

    def embedder(self, max_length: int) -> Embedder:
        """The embedder for all spaces of the plan with this length limit."""
        if max_length not in self._embedders:
            spaces = [space for space in self.plan.spaces if space.max_length == max_length]
            self._embedders[max_length] = Embedder(
                encoder=self.encoder,
                stores=embed.open_stores(
                    self.home, self.encoder, spaces, dtype=self.dtype, device=self.device
                ),
                batch_tokens=self.batch_tokens or embed.BATCH_TOKENS[self.device.split(":", maxsplit=1)[0]],
            )
        return self._embedders[max_length]

    def tokenise(self, texts: Sequence[str], max_length: int) -> list[Tokens]:
        """Tokens of texts; safe in another thread once the embedder is there."""
        return self.embedder(max_length).tokenise(texts)

    def vectors(self, space: Space, keys: NDArray[np.bytes_]) -> tuple[Vectors, NDArray[np.int32]]:
        """Stored vectors and token counts of texts, by digest."""
        return self.embedder(space.max_length).stores[space].get(keys)

    def flush(self) -> None:
        """Write all vectors that are still in memory."""
        for embedder in self._embedders.values():
            embedder.flush()

    def work(self) -> dict[str, int]:
        """What the engine did, by name."""
        total = asdict(Work())
        for embedder in self._embedders.values():
            total = {name: count + getattr(embedder.work, name) for name, count in total.items()}
        return total
