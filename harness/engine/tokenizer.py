"""A transformers tokenizer as formats want it: sub-words with character offsets, and the special tokens around texts.

Knows tokenizers; knows no model and no format. Special tokens are found by looking at what the tokenizer does to made-up
texts, so no family has to be listed here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.formats.rows import Pieces, Template, ranges

# Texts given to the tokenizer at once; what it returns takes kilobytes a text.
_CHUNK = 10_000
# Words whose sub-words are remembered.
_KNOWN_WORDS = 1_000_000
# Two words that any tokenizer knows how to cut, and that differ.
_FIRST, _SECOND = "1", "2"


class SubwordTokenizer:
    """Cuts texts into sub-words.

    Args:
        tokenizer: A fast transformers tokenizer.
        segments: Whether the model is told which of two texts a token belongs to.
        separates: Whether a separator (else the end token) is put between two texts where the tokenizer puts nothing.

    Raises:
        ModelError: The tokenizer is not a fast one, so that offsets are not to be had.
    """

    def __init__(self, tokenizer: Any, *, segments: bool, separates: bool = False) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(
                f"{type(tokenizer).__name__} has no fast version (tokenizer.json); save one beside the weights"
            )
        self._backend = backend
        self._tokenizer = tokenizer
        self._segments, self._separates = segments, separates
        self._words: dict[str, NDArray[np.int32]] = {}

    @property
    def unknown(self) -> int | None:
        """Id of the unknown token."""
        return None if self._tokenizer.unk_token_id is None else int(self._tokenizer.unk_token_id)

    @property
    def mask(self) -> int | None:
        """Id of the mask token, None where there is none (T5's tokenizers have none)."""
        return None if self._tokenizer.mask_token_id is None else int(self._tokenizer.mask_token_id)

    @property
    def size(self) -> int:
        """Number of entries of the vocabulary, added and special ones included."""
        return len(self._tokenizer)

    @property
    def padding(self) -> int:
        """Id of the padding token, 0 where there is none."""
        return int(self._tokenizer.pad_token_id or 0)

    @property
    def template(self) -> Template:
        """Its special tokens, as seen on made-up texts."""
        return self._template

    @cached_property
    def _template(self) -> Template:
        self._plain()
        first, second = (
            self._backend.encode(text, add_special_tokens=False).ids for text in (_FIRST, _SECOND)
        )
        single = self._backend.encode(_FIRST, add_special_tokens=True).ids
        pair = self._backend.encode(_FIRST, _SECOND, add_special_tokens=True).ids
        at = _find(single, first, 0)
        begin = _find(pair, first, 0)
        middle = _find(pair, second, begin + len(first))
        return Template(
            single=(tuple(single[:at]), tuple(single[at + len(first) :])),
            pair=(
                tuple(pair[:begin]),
                tuple(pair[begin + len(first) : middle]) or self._separator,
                tuple(pair[middle + len(second) :]),
            ),
            segments=self._segments and self._tells_apart(),
        )

    @property
    def _separator(self) -> tuple[int, ...]:
        """What keeps two texts apart where the tokenizer puts nothing between them: decoders' and NLLB's do not."""
        known = (self._tokenizer.sep_token_id, self._tokenizer.eos_token_id)
        return tuple(int(token) for token in known if token is not None and self._separates)[:1]

    def _tells_apart(self) -> bool:
        """Whether the tokenizer gives the second of two texts another segment, so that the model was trained with it."""
        pair = self._backend.encode(_FIRST, _SECOND, add_special_tokens=True)
        return "token_type_ids" in self._tokenizer.model_input_names and 1 in pair.type_ids

    @cached_property
    def _after_space(self) -> str:
        """What a lone word needs before it to be cut as it is inside a sentence: a space for byte-level tokenizers."""
        self._plain()
        inside, first, alone, spaced = (
            self._backend.encode(text, add_special_tokens=False).ids
            for text in (f"{_FIRST} {_SECOND}", _FIRST, _SECOND, f" {_SECOND}")
        )
        return " " if inside != first + alone and inside == first + spaced else ""

    def _plain(self) -> None:
        self._backend.no_truncation()
        self._backend.no_padding()

    def pieces(self, texts: Sequence[str], *, words: bool = False) -> Pieces:
        """Sub-words of texts; each distinct text is cut once (a distinct word once in the tokenizer's life).

        For words the offsets are not kept and are 0.
        """
        self._plain()
        if words:
            return self._cut_words(texts)
        distinct = list(dict.fromkeys(texts))
        number = {text: index for index, text in enumerate(distinct)}
        ids: list[NDArray[np.int32]] = []
        offsets: list[NDArray[np.int32]] = []
        for start in range(0, len(distinct), _CHUNK):
            encodings = self._backend.encode_batch(distinct[start : start + _CHUNK], add_special_tokens=False)
            ids += [np.array(encoding.ids, dtype=np.int32) for encoding in encodings]
            offsets += [
                np.array(encoding.offsets, dtype=np.int32).reshape(len(encoding.ids), 2)
                for encoding in encodings
            ]
        chosen = np.array([number[text] for text in texts], dtype=np.int64)
        flat, starts = _joined(ids, chosen)
        spans, _ = _joined(offsets, chosen)
        spans = spans.reshape(-1, 2)
        return Pieces(ids=flat, begin=spans[:, 0].copy(), end=spans[:, 1].copy(), starts=starts)

    def _cut_words(self, words: Sequence[str]) -> Pieces:
        distinct = list(dict.fromkeys(words))
        if len(self._words) > _KNOWN_WORDS:
            self._words.clear()
        new = [word for word in distinct if word not in self._words]
        for start in range(0, len(new), _CHUNK):
            chunk = new[start : start + _CHUNK]
            spelled = [self._after_space + word for word in chunk]
            for word, encoding in zip(
                chunk, self._backend.encode_batch_fast(spelled, add_special_tokens=False), strict=True
            ):
                self._words[word] = np.array(encoding.ids, dtype=np.int32)
        number = {word: index for index, word in enumerate(distinct)}
        chosen = np.array([number[word] for word in words], dtype=np.int64)
        flat, starts = _joined([self._words[word] for word in distinct], chosen)
        nothing = np.zeros(len(flat), dtype=np.int32)
        return Pieces(ids=flat, begin=nothing, end=nothing, starts=starts)


def _joined(
    arrays: Sequence[NDArray[np.int32]], chosen: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The chosen arrays one after the other, and where each begins, without a loop over what is chosen."""
    counts = np.array([len(array) for array in arrays], dtype=np.int64)
    every = np.concatenate(arrays) if arrays else np.empty(0, dtype=np.int32)
    begin = np.cumsum(counts) - counts
    wanted = counts[chosen] if len(chosen) else np.empty(0, dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(wanted)]).astype(np.int64)
    return every[ranges(begin[chosen], wanted)] if len(chosen) else every[:0], starts


def _find(row: list[int], part: list[int], start: int) -> int:
    for place in range(start, len(row) - len(part) + 1):
        if row[place : place + len(part)] == part:
            return place
    raise ModelError(
        "the tokenizer changes a text when it adds special tokens; the harness cannot put rows together for it"
    )
