"""A tokenizer small enough to work out by hand what it gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.formats.rows import Pieces, Template, sizes_to_starts


@dataclass(frozen=True, slots=True, kw_only=True)
class Characters:
    """A tokenizer whose sub-words are characters, with special tokens as told; ``?`` is unknown."""

    template: Template
    unknown: int | None = 63
    mask: int | None = None
    size: int = 128

    def pieces(self, texts: Sequence[str], *, words: bool = False) -> Pieces:
        codes = [code for text in texts for code in text.encode("latin-1")]
        places = np.array([place for text in texts for place in range(len(text))], dtype=np.int32)
        return Pieces(
            ids=np.array(codes, dtype=np.int32),
            begin=places,
            end=places + 1,
            starts=sizes_to_starts([len(text) for text in texts]),
        )


BARE = Characters(template=Template(single=((), ()), pair=((), (), ())))
ROBERTA = Characters(template=Template(single=((1,), (2,)), pair=((1,), (2, 2), (2,))))
BERT = Characters(template=Template(single=((1,), (2,)), pair=((1,), (2,), (2,)), segments=True))
