"""Embeddings on disk, found by the digest of their text. NumPy only; knows no model.

A store is one folder for one embedding space (what the vectors mean: weights, tokenizer, layer, pooling …). It holds
segments, each a folder of three arrays that appears by one rename; nothing is ever changed in place, so any number of
processes may read and write at once. Where a text occurs in several segments the newest counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from harness import digests, files
from harness.home import ADVICE
from harness.search.matrix import on_disk

FLUSH_BYTES = 128 << 20
_FLUSH_SECONDS = 20.0
_STALE_SECONDS = 86_400.0
_IN_MEMORY_BYTES = 1 << 30

Keys = NDArray[np.bytes_]
Vectors = NDArray[np.float32]


class EmbeddingStore:
    """Vectors by text digest (``S16``), with each text's token counts (one number or a row of them).

    Args:
        home: Folder of all stores.
        space: What the vectors mean, a JSON value; its digest names the folder.
        dimension: Of the vectors.
        flush_bytes: How much may wait in memory.
    """

    def __init__(
        self, home: Path, space: Mapping[str, Any], dimension: int, flush_bytes: int = FLUSH_BYTES
    ) -> None:
        self.folder = home / digests.of_value(space, 24)
        self.dimension = dimension
        self._space = space
        self._flush_bytes = flush_bytes
        self._pending: dict[bytes, int] = {}
        self._pending_vectors: list[Vectors] = []
        self._pending_tokens: list[NDArray[np.int32]] = []
        self._pending_rows = 0
        self._flushed = time.monotonic()
        self._names: list[str] = []
        self._segments: list[tuple[Vectors, NDArray[np.int32]]] = []
        self._keys: Keys = np.empty(0, dtype="S16")
        self._where: NDArray[np.int32] = np.empty((0, 2), dtype=np.int32)
        self._clear_stale_drafts()
        self._read()

    def _clear_stale_drafts(self) -> None:
        """Remove what killed processes left; a draft of a living one is younger."""
        for draft in self.folder.glob(".draft-*"):
            with contextlib.suppress(OSError):
                if time.time() - draft.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(draft, ignore_errors=True)

    def _read(self) -> None:
        """Open the whole segments that are not open yet, and index their keys."""
        keys, where = [], []
        for path in sorted(self.folder.glob("segment-*")):
            if path.name in self._names:
                continue
            try:
                vectors = np.load(path / "vectors.npy", mmap_mode="r")
                tokens, names = np.load(path / "tokens.npy"), np.load(path / "keys.npy")
            # Another process may be clearing the cache; a segment that is gone is a segment that is not there.
            except (OSError, ValueError, EOFError):
                continue
            if vectors.shape != (len(names), self.dimension) or len(tokens) != len(names):
                continue
            keys.append(names)
            where.append(np.stack([np.full(len(names), len(self._segments)), np.arange(len(names))], axis=1))
            self._names.append(path.name)
            self._segments.append((vectors, tokens))
        if keys:
            distinct, newest = np.unique(np.concatenate(keys)[::-1], return_index=True)
            self._index(distinct, np.concatenate(where)[::-1][newest].astype(np.int32))

    def _index(self, keys: Keys, where: NDArray[np.int32]) -> None:
        """Merge sorted keys into the sorted ones; to sort all of them at each flush would be quadratic over a run."""
        known = self._position(keys)
        both = np.flatnonzero(known >= 0)
        age = np.argsort(np.argsort(self._names))
        later = both[age[where[both, 0]] > age[self._where[known[both], 0]]] if len(both) else both
        self._where[known[later]] = where[later]
        new = known < 0
        place = np.searchsorted(self._keys, keys[new])
        self._keys = np.insert(self._keys, place, keys[new])
        self._where = np.insert(self._where, place, where[new], axis=0)

    def has(self, keys: Keys) -> NDArray[np.bool_]:
        """Which texts are stored, shape ``(keys,)``."""
        found = self._position(keys) >= 0
        if self._pending:
            found |= np.fromiter(
                (key in self._pending for key in keys.tolist()), dtype=np.bool_, count=len(keys)
            )
        return found

    def _position(self, keys: Keys) -> NDArray[np.int64]:
        if not len(self._keys):
            return np.full(len(keys), -1, dtype=np.int64)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, place, -1)

    def add(self, keys: Keys, vectors: Vectors, tokens: NDArray[np.int32]) -> None:
        """Keep vectors, shape ``(keys, dimension)``, and write them out when enough have gathered."""
        for offset, key in enumerate(keys.tolist()):
            self._pending[key] = self._pending_rows + offset
        self._pending_rows += len(keys)
        self._pending_vectors.append(vectors)
        self._pending_tokens.append(tokens)
        late = time.monotonic() - self._flushed > _FLUSH_SECONDS
        if late or self._pending_rows * self.dimension * 4 > self._flush_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one segment.

        Raises:
            OutputError: The cache cannot be written or the disk is full.
        """
        if not self._pending:
            return
        try:
            self._write()
        except OSError as error:
            raise files.output_error(self.folder, error, ADVICE) from error
        self._pending, self._pending_vectors, self._pending_tokens, self._pending_rows = {}, [], [], 0
        self._flushed = time.monotonic()
        self._read()

    def _write(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "space.json").exists():
            files.write_text(self.folder / "space.json", json.dumps(self._space, indent=1) + "\n")
        rows = np.fromiter(self._pending.values(), dtype=np.int64, count=len(self._pending))
        draft = Path(tempfile.mkdtemp(dir=self.folder, prefix=".draft-"))
        try:
            arrays = {
                "keys": np.array(list(self._pending), dtype="S16"),
                "vectors": np.concatenate(self._pending_vectors)[rows],
                "tokens": np.concatenate(self._pending_tokens)[rows],
            }
            for name, array in arrays.items():
                with (draft / f"{name}.npy").open("wb") as stream:
                    np.save(stream, array)
                    stream.flush()
                    os.fsync(stream.fileno())
            # mkdtemp's folders are their maker's alone; a cache may be several people's.
            draft.chmod(0o755)
            draft.replace(self.folder / f"segment-{time.time_ns():020d}-{os.getpid()}")
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def get(self, keys: Keys) -> tuple[Vectors, NDArray[np.int32]]:
        """Vectors, shape ``(keys, dimension)``, and token counts, shape ``(keys, …)``. Large results lie on disk.

        Raises:
            KeyError: A text is not stored.
        """
        known = [*self._pending_tokens, *(tokens for _, tokens in self._segments)]
        trailing = known[0].shape[1:] if known else ()
        vectors, tokens = self._room(len(keys)), np.empty((len(keys), *trailing), dtype=np.int32)
        place = self._position(keys)
        if self._pending:
            pending_vectors, pending_tokens = (
                np.concatenate(self._pending_vectors),
                np.concatenate(self._pending_tokens),
            )
            held = np.fromiter(
                (self._pending.get(key, -1) for key in keys.tolist()), dtype=np.int64, count=len(keys)
            )
            mine = held >= 0
            vectors[mine], tokens[mine] = pending_vectors[held[mine]], pending_tokens[held[mine]]
            place[mine] = -2
        if (place == -1).any():
            raise KeyError(f"{int((place == -1).sum())} texts are not stored in {self.folder.name}")
        stored = np.flatnonzero(place >= 0)
        where = self._where[place[stored]]
        for number in np.unique(where[:, 0]).tolist():
            here = where[:, 0] == number
            source_vectors, source_tokens = self._segments[number]
            vectors[stored[here]] = source_vectors[where[here, 1]]
            tokens[stored[here]] = source_tokens[where[here, 1]]
        return vectors, tokens

    def _room(self, rows: int) -> Vectors:
        shape = (rows, self.dimension)
        if rows * self.dimension * 4 <= _IN_MEMORY_BYTES:
            return np.empty(shape, dtype=np.float32)
        try:
            with self._scratch() as scratch:
                return on_disk(scratch, shape)
        except OSError as error:
            raise files.output_error(self.folder, error, ADVICE) from error

    def _scratch(self) -> IO[bytes]:
        """A nameless file beside the vectors; elsewhere where the cache may only be read."""
        try:
            return tempfile.TemporaryFile(dir=self.folder)
        except OSError:
            return tempfile.TemporaryFile()
