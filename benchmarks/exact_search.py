"""Times exact search both ways over two sets of vectors against the machine's own float32 matrix rate.

    python benchmarks/exact_search.py [--rows 150000] [--dimension 768] [--k 4] [--repeats 3] [--ways sweep,faiss,hnsw,ivf]

The unit is ONE pass over all similarities, 2 · rows · rows · dimension operations; FAISS needs two for both ways. The matrix
rate is the best float32 product of the shape that fits the blocks of a search, measured before each way. Ways:

    sweep     what the harness does: candidates of both directions from one sweep in the low precision, then float64
    float32   the same with a float32 sweep, as where the processor has no bfloat16 products
    faiss     the harness without a sweep: two float32 searches of FAISS and what makes them exact
    flat      these two searches of FAISS alone
    hnsw, ivf approximate indices of FAISS, built and searched both ways; their recall is against ``sweep``

``--data normal`` are random directions, the hardest case there is; ``--data leaning`` share most of their length, as an
encoder's middle layers do; ``--data topics`` lie around 1,000 centres. ``--clock process`` counts processor time, which other
work on the machine disturbs less; take one thread then (OMP_NUM_THREADS=1).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from harness.engine.sweep import sweep, sweep_dtype
from harness.search import ExactSearch, Indices, Vectors, faiss_knn

Way = Callable[[Vectors, Vectors, int], tuple[Indices, Indices]]


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=150_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", default="sweep,flat")
    parser.add_argument("--data", choices=["normal", "leaning", "topics"], default="normal")
    parser.add_argument("--clock", choices=["wall", "process"], default="wall")
    options = parser.parse_args()
    clock = time.perf_counter if options.clock == "wall" else time.process_time
    one, two = (_vectors(options.rows, options.dimension, options.data, seed) for seed in (0, 1))
    names = options.ways.split(",")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    shares: dict[str, list[float]] = {name: [] for name in names}
    answers: dict[str, tuple[Indices, Indices]] = {}
    rates, operations = [], 2.0 * options.rows**2 * options.dimension
    for _ in range(options.repeats):
        for name in names:
            rates.append(_matrix_rate(options.dimension, clock))
            start = clock()
            answers[name] = _WAYS[name](one, two, options.k)
            seconds[name].append(clock() - start)
            shares[name].append(operations / seconds[name][-1] / rates[-1])
    print(
        f"{options.rows} x {options.rows} x {options.dimension}, {options.data}, k={options.k}, both ways, "
        f"{options.repeats} rounds, {options.clock} time, {torch.get_num_threads()} threads, sweep in {sweep_dtype('cpu')}"
    )
    print(
        f"matrix product {statistics.median(rates) / 1e9:.0f} GFLOP/s in float32; the best {max(rates) / 1e9:.0f}"
    )
    for name in names:
        took = statistics.median(seconds[name])
        print(
            f"{name:<8} {took:8.1f} s  one pass at {operations / took / 1e9:5.0f} GFLOP/s  "
            f"{statistics.median(shares[name]):5.2f} of the matrix rate  "
            f"recall {_recall(answers[name], answers[names[0]]):.4f}"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def _exact(search: ExactSearch, one: Vectors, two: Vectors, k: int) -> tuple[Indices, Indices]:
    ahead, behind = search.both(one, two, k)
    return ahead.rows, behind.rows


def _flat(one: Vectors, two: Vectors, k: int) -> tuple[Indices, Indices]:
    return faiss_knn(one, two, k)[1], faiss_knn(two, one, k)[1]


def _hnsw(one: Vectors, two: Vectors, k: int) -> tuple[Indices, Indices]:
    def found(queries: Vectors, base: Vectors) -> Indices:
        index = faiss.IndexHNSWFlat(base.shape[1], 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction, index.hnsw.efSearch = 80, 128
        index.add(base)
        return np.asarray(index.search(queries, k)[1])

    return found(one, two), found(two, one)


def _ivf(one: Vectors, two: Vectors, k: int) -> tuple[Indices, Indices]:
    def found(queries: Vectors, base: Vectors) -> Indices:
        lists = int(len(base) ** 0.5)
        index = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(base.shape[1]), base.shape[1], lists, faiss.METRIC_INNER_PRODUCT
        )
        index.train(base)
        index.add(base)
        index.nprobe = max(1, lists // 16)
        return np.asarray(index.search(queries, k)[1])

    return found(one, two), found(two, one)


_WAYS: dict[str, Way] = {
    "sweep": partial(_exact, ExactSearch(sweep=sweep)),
    "float32": partial(_exact, ExactSearch(sweep=partial(sweep, dtype=torch.float32))),
    "faiss": partial(_exact, ExactSearch()),
    "flat": _flat,
    "hnsw": _hnsw,
    "ivf": _ivf,
}


def _recall(found: tuple[Indices, Indices], truth: tuple[Indices, Indices]) -> float:
    """Of the true nearest in both directions, how many were found."""
    hits = [
        (rows[:, :, None] == true[:, None, :]).any(axis=2).mean()
        for rows, true in zip(found, truth, strict=True)
    ]
    return float(np.mean(hits))


def _vectors(rows: int, dimension: int, kind: str, seed: int) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((rows, dimension), dtype=np.float32)
    if kind == "leaning":
        vectors[:, 0] += 3 * dimension**0.5
    if kind == "topics":
        topics = np.random.default_rng(2).standard_normal((1_000, dimension), dtype=np.float32)
        vectors += 1.5 * topics[generator.integers(0, len(topics), rows)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _matrix_rate(dimension: int, clock: Callable[[], float]) -> float:
    one, two = torch.randn(2048, dimension), torch.randn(dimension, 4096)
    best = float("inf")
    for _ in range(8):
        start = clock()
        torch.mm(one, two)
        best = min(best, clock() - start)
    return 2.0 * one.numel() * two.shape[1] / best


if __name__ == "__main__":
    main()
