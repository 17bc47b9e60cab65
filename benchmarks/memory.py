"""Seconds and peak memory of encoding as the number of sentences grows: memory must not grow with what is kept.

    python benchmarks/memory.py [--counts 30000,90000,300000]

Made-up sentences over the sample's vocabulary, the built-in model, one process for each count. Vectors lie on disk; what
grows is the text itself, its tokens (bounded by blocks of 200,000 texts) and 16 bytes of digest for each.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import sidebyside
from sidebyside import Case, Goal, Json, Ready, Row, compared, in_turn, tell

WORDS = (
    "dog",
    "house",
    "river",
    "bread",
    "school",
    "moon",
    "market",
    "bee",
    "train",
    "library",
    "sleeps",
    "runs",
)


def main() -> None:
    """One process a count, then the rows, or be one of these processes."""
    options = sidebyside.parser(__doc__, rounds=1)
    options.add_argument("--counts", default="30000,90000,300000")
    chosen = options.parse_args()
    if chosen.worker:
        sidebyside.serve(chosen.worker, prepare)
        return
    tell(rows(chosen), chosen)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Each count against the first: seconds should grow as the count does."""
    counts = [int(text) for text in options.counts.split(",")]
    cases = {named(count): {"count": count} for count in counts}
    turns = in_turn(__file__, cases, options.rounds)
    for count in counts[1:]:
        said = turns[named(count)][-1].said
        grown = (said["peak"] - said["start"]) * 2**20 / count
        goal = Goal(most=round(1.1 * count / counts[0], 2))
        note = f"{grown:.0f} bytes a sentence above the model"
        yield compared(
            "encoding as sentences grow", turns, named(count), named(counts[0]), goal=goal, note=note
        )


def named(count: int) -> str:
    """The name of a count."""
    return f"{count:,} items"


def prepare(case: Case) -> Ready:
    """A turn encodes so many sentences with everything made anew."""
    return lambda: lambda: _encode(case["count"])


def _sentences(count: int) -> Iterator[str]:
    random = np.random.default_rng(0)
    for number, length in enumerate(random.integers(3, 12, count).tolist()):
        yield " ".join(
            [*(WORDS[index] for index in random.integers(0, len(WORDS), length).tolist()), str(number)]
        )


def _encode(count: int) -> Json:
    from harness.checkpoints import open_checkpoint
    from harness.engine.embed import BATCH_TOKENS, Embedder, open_stores
    from harness.engine.load import load_encoder
    from harness.engine.sample import sample_checkpoint
    from harness.plan import Space

    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        encoder = load_encoder(open_checkpoint(str(sample_checkpoint(home))), device="cpu", dtype="float32")
        space = Space(layer=4, pooling="mean", special_tokens=True, normalise=True, max_length=128)
        stores = open_stores(home, encoder, [space], dtype="float32", device="cpu")
        embedder = Embedder(encoder=encoder, stores=stores, batch_tokens=BATCH_TOKENS["cpu"])
        start = sidebyside.own_peak()
        texts = list(_sentences(count))
        for low in range(0, count, 200_000):
            block = texts[low : low + 200_000]
            embedder.embed(block, embedder.tokenise(block))
        embedder.flush()
        return {"start": start, "peak": sidebyside.own_peak()}


if __name__ == "__main__":
    main()
