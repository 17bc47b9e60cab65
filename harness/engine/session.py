"""Encoders at work for a whole run: opened when first needed, their stores, their search. Knows plans, not tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import search
from harness.checkpoints import Checkpoint
from harness.engine import embed, load
from harness.engine.embed import Embedder
from harness.engine.load import Encoder
from harness.engine.passes import Work
from harness.engine.ranks import ALONE, Ranks
from harness.engine.tokens import Tokens
from harness.engine.train import MICRO_TOKENS
from harness.errors import ModelError
from harness.formats.base import Vectors
from harness.plan import Plan, Space
from harness.search import Neighbours


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """On what and how models run; the same for all models of a run.

    Attributes:
        device: ``cpu``, ``cuda`` or ``cuda:N``; ``dtype`` the name of a dtype.
        given_tokens: Tokens per batch that the user asked for, None for the device's default.
        gradient_checkpointing: Whether training trades time for memory.
        deterministic: Whether batches are the canonical ones, whatever the user asked for.
        save_seconds: Time between two saved states of a training.
        home: The cache folder.
        ranks: The processes that carry out the run together.
    """

    device: str
    dtype: str
    given_tokens: int | None
    home: Path
    gradient_checkpointing: bool = False
    deterministic: bool = False
    save_seconds: float = 300.0
    ranks: Ranks = ALONE

    @property
    def kind(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.device.split(":", maxsplit=1)[0]

    @property
    def batch_tokens(self) -> int:
        """Tokens per batch."""
        default = embed.BATCH_TOKENS[self.kind]
        return default if self.deterministic or self.given_tokens is None else self.given_tokens

    @property
    def micro_tokens(self) -> int:
        """Tokens per micro-batch of training."""
        return MICRO_TOKENS[self.kind]


@dataclass(kw_only=True)
class Sessions:
    """The sessions of a run, one per model, opened when first asked for."""

    plan: Plan
    compute: Compute
    _open: dict[str, Session] = field(default_factory=dict)

    def of(self, checkpoint: Checkpoint) -> Session:
        """The session of a model."""
        if checkpoint.key not in self._open:
            self._open[checkpoint.key] = Session(
                checkpoint=checkpoint, spaces=self.plan.spaces(checkpoint), compute=self.compute
            )
        return self._open[checkpoint.key]

    def flush(self) -> None:
        """Write all vectors that are still in memory."""
        for session in self._open.values():
            session.flush()

    def work(self) -> dict[str, int]:
        """What the engine did for vectors, by name."""
        total = asdict(Work())
        for session in self._open.values():
            total = {name: count + session.work()[name] for name, count in total.items()}
        return total


@dataclass(kw_only=True)
class Session:
    """What a run needs of one encoder.

    Attributes:
        checkpoint: The model.
        spaces: The spaces that are wanted from it.
        compute: On what it runs.
    """

    checkpoint: Checkpoint
    spaces: Sequence[Space]
    compute: Compute
    _embedders: dict[int, Embedder] = field(default_factory=dict)
    _failure: tuple[type[ModelError], str] | None = None

    @cached_property
    def encoder(self) -> Encoder:
        """The model, opened on first use, once whether that succeeds or not; raises ModelError."""
        if self._failure is not None:
            kind, told = self._failure
            raise kind(told)
        try:
            return load.load_encoder(self.checkpoint, device=self.compute.device, dtype=self.compute.dtype)
        # Its text alone is kept: with the error the run would keep whatever of the model lies on the device.
        except ModelError as error:
            self._failure = type(error), str(error)
            raise

    def open(self) -> None:
        """Open the model now; raises ModelError."""
        _ = self.encoder

    @property
    def neighbours(self) -> Neighbours:
        """Search on the session's device, exact unless there is more to search than that is worth."""
        from harness.engine.knn import torch_knn
        from harness.engine.sweep import sweep

        device, home = self.compute.device, self.compute.home
        raw = partial(torch_knn, device=device) if self.compute.kind == "cuda" else search.faiss_knn
        exact = search.ExactSearch(sweep=partial(sweep, device=device), raw=raw)
        return search.SizedSearch(exact=exact, scratch=home if home.is_dir() else None)

    def embedder(self, max_length: int) -> Embedder:
        """The embedder for all spaces of the plan with this length limit."""
        if max_length not in self._embedders:
            spaces = [space for space in self.spaces if space.max_length == max_length]
            self._embedders[max_length] = Embedder(
                encoder=self.encoder,
                stores=embed.open_stores(
                    self.compute.home / "embeddings",
                    self.encoder,
                    spaces,
                    dtype=self.compute.dtype,
                    device=self.compute.device,
                ),
                batch_tokens=self.compute.batch_tokens,
                ranks=self.compute.ranks,
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
