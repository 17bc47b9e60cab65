"""Texts to token ids. Knows a tokenizer; knows no model, batch or store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Texts given to the tokenizer at once; what it returns takes kilobytes a text.
_CHUNK = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Token ids of distinct sequences, one after the other, and which sequence each text has.

    Attributes:
        ids: All ids, int32, shape ``(tokens,)``.
        special: Which of them are special tokens, bool, same shape.
        starts: Where each sequence begins, with the end of the last, shape ``(sequences + 1,)``.
        sequence: For each text the number of its sequence, shape ``(texts,)``.
        before: For each text its tokens before truncation, its pieces (special tokens left out) and how many of these
            are the unknown token, int32, shape ``(texts, 3)``.
    """

    ids: NDArray[np.int32]
    special: NDArray[np.bool_]
    starts: NDArray[np.int64]
    sequence: NDArray[np.int64]
    before: NDArray[np.int32]


def tokenise(tokenizer: Any, texts: Sequence[str], max_length: int) -> Tokens:
    """Token ids of texts, cut to ``max_length``; texts with equal ids become one sequence."""
    flat: list[NDArray[np.int32]] = []
    special: list[NDArray[np.bool_]] = []
    before: list[tuple[int, int, int]] = []
    for start in range(0, len(texts), _CHUNK):
        ids, marks, lengths = _encoded(tokenizer, list(texts[start : start + _CHUNK]), max_length)
        flat += [np.array(row, dtype=np.int32) for row in ids]
        special += [np.array(row, dtype=np.bool_) for row in marks]
        before += lengths
    numbers: dict[bytes, int] = {}
    kept: list[int] = []
    sequence = np.empty(len(texts), dtype=np.int64)
    for index, row in enumerate(flat):
        number = numbers.setdefault(row.tobytes(), len(kept))
        if number == len(kept):
            kept.append(index)
        sequence[index] = number
    counts = np.array([len(flat[index]) for index in kept], dtype=np.int64)
    return Tokens(
        ids=np.concatenate([flat[index] for index in kept]) if kept else np.empty(0, dtype=np.int32),
        special=np.concatenate([special[index] for index in kept]) if kept else np.empty(0, dtype=np.bool_),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        sequence=sequence,
        before=np.array(before, dtype=np.int32).reshape(len(texts), 3),
    )


def _encoded(
    tokenizer: Any, texts: list[str], max_length: int
) -> tuple[list[list[int]], list[list[int]], list[tuple[int, int, int]]]:
    """Ids, special-token marks and counts before truncation. A text without any token gets one padding token."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_truncation()
        backend.no_padding()
        encodings = backend.encode_batch_fast(texts)
        ids = [encoding.ids for encoding in encodings]
        special = [encoding.special_tokens_mask for encoding in encodings]
    else:
        encoded = tokenizer(texts, truncation=False, return_special_tokens_mask=True)
        ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    unknown = tokenizer.unk_token_id
    before = [
        (len(row), len(row) - sum(marks), row.count(unknown)) for row, marks in zip(ids, special, strict=True)
    ]
    long = [index for index, (length, _, _) in enumerate(before) if length > max_length]
    if long:
        cut = tokenizer(
            [texts[index] for index in long],
            truncation=True,
            max_length=max_length,
            return_special_tokens_mask=True,
        )
        for index, row, marks in zip(long, cut["input_ids"], cut["special_tokens_mask"], strict=True):
            ids[index], special[index] = row, marks
    nothing = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    ids = [row or [nothing] for row in ids]
    special = [marks or [1] for marks in special]
    return ids, special, before
