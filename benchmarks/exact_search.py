"""Times exact search both ways over two sets of vectors against the machine's own float32 matrix rate.

    python benchmarks/exact_search.py [--rows 100000] [--dimension 768] [--k 4] [--repeats 3]

One pass of similarities is 2 · rows · rows · dimension operations; searching both ways by two passes is twice that. The
matrix rate is the best of several products of the shape that fits the blocks of a search, measured between the rounds.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from harness import search


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=768)
    parser.add_argument("--k", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    one, two = (_vectors(options.rows, options.dimension, seed) for seed in (0, 1))
    passes = 2 * 2.0 * options.rows**2 * options.dimension
    rates, ours, raw = [], [], []
    for _ in range(options.repeats):
        rates.append(_matrix_rate(options.dimension))
        ours.append(_seconds(lambda: search.both_ways(one, two, options.k)))
        raw.append(
            _seconds(lambda: (search.faiss_knn(one, two, options.k), search.faiss_knn(two, one, options.k)))
        )
    rate = statistics.median(rates)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{options.rows} x {options.rows} x {options.dimension}, k={options.k}, both ways, {options.repeats} rounds"
    )
    print(f"matrix product           {rate / 1e9:7.0f} GFLOP/s")
    for name, seconds in (("exact, ties settled", ours), ("float32 search alone", raw)):
        took = statistics.median(seconds)
        share = statistics.median(passes / second / each for second, each in zip(seconds, rates, strict=True))
        print(
            f"{name:<24} {took:7.1f} s  {passes / took / 1e9:6.0f} GFLOP/s  {share:5.2f} of the matrix rate"
        )
    print(f"peak memory              {peak:7.0f} MiB")


def _vectors(rows: int, dimension: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((rows, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _matrix_rate(dimension: int) -> float:
    one, two = torch.randn(4096, dimension), torch.randn(dimension, 8192)
    best = min(_seconds(lambda: torch.mm(one, two)) for _ in range(8))
    return 2.0 * one.numel() * two.shape[1] / best


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
