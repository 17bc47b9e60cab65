"""Digests of content: files, values and texts. Knows bytes only, never what they mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xxhash

from harness.arrays import NDArray, np

_CHUNK = 1 << 22


def of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def canonical_json(value: Any) -> str:
    """The one spelling of a JSON value: sorted keys, no spaces, characters as they are.

    >>> canonical_json({"b": 1, "a": [True, "ä"]})
    '{"a":[true,"ä"],"b":1}'
    """
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def of_value(value: Any, length: int = 16) -> str:
    """The first ``length`` hexadecimal digits of the SHA-256 of a JSON value's canonical spelling."""
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()[:length]


def of_lines(lines: Iterable[str]) -> str:
    """SHA-256 of a sequence of strings; the borders between them count."""
    digest = LinesDigest()
    digest.add(lines)
    return digest.hexdigest()


class LinesDigest:
    """The digest of :func:`of_lines` of strings that come some at a time."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, lines: Iterable[str]) -> None:
        """Take the next strings."""
        for line in lines:
            data = line.encode("utf-8", "surrogatepass")
            self._digest.update(len(data).to_bytes(8, "little"))
            self._digest.update(data)

    def hexdigest(self) -> str:
        """64 hexadecimal digits, of all strings so far."""
        return self._digest.hexdigest()


def of_texts(texts: Iterable[str]) -> NDArray[np.bytes_]:
    """128-bit XXH3 digest of each text, as an ``S16`` array of shape ``(texts,)``."""
    values = [xxhash.xxh3_128_digest(text.encode("utf-8", "surrogatepass")) for text in texts]
    return np.array(values, dtype="S16") if values else np.empty(0, dtype="S16")


def of_rows(rows: NDArray[Any]) -> NDArray[np.bytes_]:
    """128-bit XXH3 digest of each row's bytes, as an ``S16`` array of shape ``(rows,)``."""
    contiguous = np.ascontiguousarray(rows)
    values = [xxhash.xxh3_128_digest(row) for row in contiguous]
    return np.array(values, dtype="S16") if values else np.empty(0, dtype="S16")
