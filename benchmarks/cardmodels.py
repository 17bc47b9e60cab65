"""Random models of XLM-R's kind with heads, and rows for them, as :mod:`gpu` measures them. Knows shapes; measures nothing."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from harness.engine.headed import Headed, with_packer
from harness.engine.headmodules import Published
from harness.engine.load import DTYPES
from harness.formats.base import Head, Predictions, Reader
from harness.formats.rows import Rows

LARGE: Mapping[str, int] = {
    "vocab_size": 250_002,
    "hidden_size": 1_024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4_096,
}
TINY: Mapping[str, int] = {
    "vocab_size": 500,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_PADDING = 1
# What a row of these kinds has in tokens: the shape and scale of a gamma distribution, and the longest.
LENGTHS: Mapping[str, tuple[float, float, int]] = {
    "classification": (6.0, 7.0, 128),
    "tagging": (4.0, 7.0, 128),
    "questions": (20.0, 18.0, 384),
}
# The head of each kind, and transformers' class for it.
HEADS: Mapping[str, tuple[Head, str]] = {
    "classification": (Head(kind="pooled", labels=("a", "b", "c")), "ForSequenceClassification"),
    "tagging": (Head(kind="token", labels=tuple("abcdefg")), "ForTokenClassification"),
    "questions": (Head(kind="span"), "ForQuestionAnswering"),
}


def headed(
    kind: str, sizes: Mapping[str, int], device: torch.device, dtype: str, *, dropout: float = 0.0
) -> Headed:
    """A random model for a kind of rows, as the harness would run it, packed where it can be."""
    head, ending = HEADS[kind]
    settings: dict[str, Any] = dict(
        sizes,
        max_position_embeddings=514,
        type_vocab_size=1,
        pad_token_id=_PADDING,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        num_labels=len(head.labels) or 2,
    )
    config = transformers.XLMRobertaConfig(**settings)
    torch.manual_seed(0)
    with device:
        model = getattr(transformers, f"XLMRoberta{ending}")(config)
    module = Published(model, head, tuple(range(len(head.labels))), last=False).to(DTYPES[dtype]).eval()
    # Rows are ids already.
    tokenizer: Any = SimpleNamespace(padding=_PADDING, template=SimpleNamespace(segments=False))
    return with_packer(
        Headed(module=module, head=head, tokenizer=tokenizer, device=device, dtype=DTYPES[dtype], name=kind)
    )


def rows_of(kind: str, count: int, vocabulary: int, seed: int = 0) -> Rows:
    """Rows of random ids, as long as a kind's are."""
    shape, scale, longest = LENGTHS[kind]
    random = np.random.default_rng(seed)
    lengths = np.clip(random.gamma(shape, scale, count).astype(np.int64), 5, longest)
    ids = random.integers(4, vocabulary, int(lengths.sum()), dtype=np.int32)
    return Rows(
        ids=ids,
        segments=np.zeros(len(ids), dtype=np.uint8),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        owner=np.arange(count),
    )


def targets_of(kind: str, rows: Rows) -> NDArray[np.int64]:
    """What a head is to learn of each row, drawn."""
    random = np.random.default_rng(1)
    if kind == "tagging":
        return random.integers(0, len(HEADS[kind][0].labels), len(rows.ids))
    if kind == "questions":
        return np.sort(random.integers(0, rows.lengths[:, None], (len(rows.lengths), 2)), axis=1)
    return random.integers(0, len(HEADS[kind][0].labels), len(rows.lengths))


class Kept(Reader):
    """Keeps of each row its first token's scores, or the row's."""

    def __init__(self, count: int) -> None:
        self.scores: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * count

    def take(self, chosen: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Keep some rows' scores."""
        firsts = scores if scores.ndim == 2 else scores[:, 0]
        for row, own in zip(chosen.tolist(), firsts, strict=True):
            self.scores[row] = own

    def predictions(self) -> list[Predictions]:
        """Nothing is predicted."""
        return []


def operations(sizes: Mapping[str, int], lengths: NDArray[np.int64]) -> float:
    """Of a forward pass over sequences of these lengths: linear layers and attention, embeddings and heads not counted."""
    size, inner, layers = sizes["hidden_size"], sizes["intermediate_size"], sizes["num_hidden_layers"]
    a_token = 2.0 * (4 * size * size + 2 * size * inner)
    return float(layers * (a_token * lengths.sum() + 4.0 * size * (lengths**2).sum()))
