"""Many texts as numbers of words, all at once in NumPy. Knows white space; knows no language and no metric.

Texts become one long line of UTF-8 bytes, words are found by their borders in it and numbered by pyarrow's hash table, and
the rules of a language are applied to each distinct word once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from harness.arrays import NDArray, np
from harness.formats.passages import spaces
from harness.formats.rows import ranges

Ints: TypeAlias = "NDArray[np.int64]"
# From lines of text and their language to the same lines with other words, which stand between white space. What becomes
# of a word must not depend on the words beside it.
Cut: TypeAlias = Callable[[str, str], str]

_NEW_LINE = ord("\n")
_LAST_ASCII = 127


@dataclass(frozen=True, slots=True)
class Texts:
    """The words of texts as numbers, one text after the other.

    Attributes:
        words: A number per word, shape ``(words,)``.
        starts: Where each text begins in ``words``, with the end of the last, shape ``(texts + 1,)``.
        size: Above every number in ``words``.
    """

    words: Ints
    starts: Ints
    size: int


# F1 and exact match of one set of answers are computed one after the other.
@lru_cache(maxsize=2)
def cut(texts: tuple[str, ...], language: str, words: Cut) -> Texts:
    """The words of texts.

    >>> known = cut(("The Cat sat", "cat", ""), "en", lambda text, language: text.lower())
    >>> known.words.tolist(), known.starts.tolist()
    ([0, 1, 2, 1], [0, 3, 4, 4])
    """
    lines = "\n".join(texts)
    if lines.count("\n") >= len(texts):
        lines = "\n".join(text.replace("\n", " ") for text in texts)
    raw, distinct = _numbered(lines)
    known, _ = _numbered(words(distinct, language))
    counts = np.diff(known.starts)[raw.words]
    flat = known.words[ranges(known.starts[raw.words], counts)]
    return Texts(flat, np.concatenate(([0], np.cumsum(counts)))[raw.starts], known.size)


def _numbered(lines: str) -> tuple[Texts, str]:
    """The words of some lines as they stand there, and the distinct ones as lines in the order of their numbers."""
    import pyarrow as pa

    if not lines.isascii():
        for code in spaces():
            if code > _LAST_ASCII:
                lines = lines.replace(chr(code), " ")
    data = np.frombuffer(lines.encode("utf-8", "surrogatepass") + b"\n", np.uint8)
    blank = _blank(data)
    ends = np.flatnonzero(blank[1:] & ~blank[:-1]) + 1
    starts = np.concatenate(([0], np.searchsorted(ends, np.flatnonzero(data == _NEW_LINE), "right")))
    if len(ends) < np.count_nonzero(blank):
        # What is left is one blank behind each word.
        kept = np.concatenate(([not blank[0]], ~(blank[1:] & blank[:-1])))
        data, blank = data[kept], blank[kept]
        ends = np.flatnonzero(blank)
    spelled = data.copy()
    np.putmask(spelled, blank, _NEW_LINE)
    borders = np.concatenate(([0], ends + 1))
    buffers = [None, pa.py_buffer(borders), pa.py_buffer(spelled)]
    numbered = pa.Array.from_buffers(pa.large_binary(), len(ends), buffers).dictionary_encode()
    distinct = b"".join(numbered.dictionary.to_pylist())
    # Not to_numpy: that imports pandas, which takes longer than all answers of a language.
    words = np.from_dlpack(numbered.indices).astype(np.int64)
    return Texts(words, starts, len(numbered.dictionary)), distinct[:-1].decode("utf-8", "surrogatepass")


def _blank(data: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which bytes are ASCII white space in Python's sense; five comparisons are faster than a look at a table."""
    blank: NDArray[np.bool_] = data == ord(" ")
    for first, last in (("\t", "\r"), ("\x1c", "\x1f")):
        blank |= (data >= ord(first)) & (data <= ord(last))
    return blank
