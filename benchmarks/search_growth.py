"""Time and memory of search both ways over shards on disk, as the number of rows grows.

    python benchmarks/search_growth.py [--counts 100000,300000,1000000] [--dimension 384] [--ways exact,inverted]

Two sets of rows around 1,000 topics, in shards of 50,000 that are memory-mapped; one process for each count. Pages of
mapped files are the system's to take back, so the column that must not grow is the anonymous memory; what is left to grow
there is the answer itself (64 bytes a row at k = 4), the digests that find equal rows, and the candidates so far (192 bytes).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import numpy as np

from harness.engine.sweep import sweep
from harness.search import ExactSearch, Neighbours, Shards, SizedSearch

_SHARD = 50_000
_TOPICS = 1_000


def main() -> None:
    """One process a count and way, then the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--counts", default="100000,300000,1000000")
    parser.add_argument("--dimension", type=int, default=384)
    parser.add_argument("--ways", default="exact,inverted")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        way, count = options.worker.split(",")
        print(json.dumps(_measured(way, int(count), options.dimension)))
        return
    print(
        f"{'way':<9} {'rows':>9} {'wall s':>8} {'processor s':>12} {'anonymous MiB':>14} {'bytes a row':>12} {'on disk MiB':>12} {'recall':>8}"
    )
    for way in options.ways.split(","):
        for count in options.counts.split(","):
            command = [sys.executable, str(Path(__file__).resolve()), "--worker", f"{way},{count}"]
            command += ["--dimension", str(options.dimension)]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            rows = 2 * int(count)
            print(
                f"{way:<9} {rows:9d} {told['wall']:8.1f} {told['processor']:12.1f} {told['grown']:14.0f} "
                f"{told['grown'] * 2**20 / rows:12.0f} {rows * options.dimension * 4 / 2**20:12.0f} {told['recall']:8.4f}",
                flush=True,
            )


def _measured(way: str, count: int, dimension: int) -> dict[str, float]:
    exact = ExactSearch(sweep=sweep)
    with tempfile.TemporaryDirectory() as scratch:
        ways: dict[str, Neighbours] = {
            "exact": exact,
            "inverted": SizedSearch(exact=exact, exact_rows=0, scratch=Path(scratch)),
        }
        sources, targets = (_shards(Path(scratch) / str(side), count, dimension, side) for side in (0, 1))
        # Once small, so that libraries and their threads are there before anything is measured.
        few = sources[:2_000]
        ways[way].both(few, few, 4)
        with _Watch() as watch:
            wall, processor = time.perf_counter(), time.process_time()
            found = ways[way].both(sources, targets, 4)
            told = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    shares = [near.recall.share for near in found if near.recall is not None]
    return {**told, "grown": watch.peak - watch.start, "recall": min(shares, default=1.0)}


def _shards(folder: Path, count: int, dimension: int, seed: int) -> Shards:
    folder.mkdir()
    topics = np.random.default_rng(9).standard_normal((_TOPICS, dimension), dtype=np.float32)
    generator = np.random.default_rng(seed)
    parts = []
    for low in range(0, count, _SHARD):
        rows = min(_SHARD, count - low)
        vectors = generator.standard_normal((rows, dimension), dtype=np.float32)
        vectors += 1.5 * topics[generator.integers(0, _TOPICS, rows)]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.save(folder / f"{low}.npy", vectors)
        parts.append(np.load(folder / f"{low}.npy", mmap_mode="r"))
    return Shards(parts)


class _Watch:
    """The largest anonymous memory of this process, in MiB, looked at fifty times a second."""

    def __enter__(self) -> Self:
        self.start = self.peak = _anonymous()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def _look(self) -> None:
        while not self._done.wait(0.02):
            self.peak = max(self.peak, _anonymous())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


def _anonymous() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


if __name__ == "__main__":
    main()
