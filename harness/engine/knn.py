"""The float32 search of :mod:`harness.search` on a torch device, by blocks of similarities. Knows matrices only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

from harness.search.matrix import Matrix, Vectors, blocks

_QUERY_BLOCK = 4_096
_BASE_BLOCK = 131_072


def torch_knn(
    queries: Matrix, base: Matrix, k: int, *, device: str = "cuda"
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``k`` rows of ``base`` with the largest inner products, as :func:`harness.search.faiss_knn` finds them."""
    scores = np.empty((len(queries), 0), dtype=np.float32)
    rows = np.empty((len(queries), 0), dtype=np.int64)
    with full_products():
        # A block of the base is brought once, and the queries go by it.
        for low, part in blocks(base, _BASE_BLOCK):
            block = _tensor(part, device)
            width = min(k, low + len(block))
            better, places = (
                np.empty((len(queries), width), dtype=np.float32),
                np.empty((len(queries), width), np.int64),
            )
            for start, some in blocks(queries, _QUERY_BLOCK):
                mine = slice(start, start + len(some))
                best, where = (torch.from_numpy(known[mine]).to(device) for known in (scores, rows))
                found, place = torch.topk(_tensor(some, device) @ block.T, min(k, len(block)), dim=1)
                best, where = torch.cat([best, found], dim=1), torch.cat([where, place + low], dim=1)
                best, order = torch.topk(best, width, dim=1)
                better[mine] = best.cpu().numpy()
                places[mine] = torch.gather(where, 1, order).cpu().numpy()
            scores, rows = better, places
    return scores, rows


@contextmanager
def full_products() -> Iterator[None]:
    """CUDA multiplies float32 as float32 and adds in float32 meanwhile: TF32 and sums in bfloat16 would break the error
    bounds on which the exactness of a search rests."""
    matmul = torch.backends.cuda.matmul
    before = matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_tf32 = matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        matmul.allow_tf32, matmul.allow_bf16_reduced_precision_reduction = before


def _tensor(rows: Vectors, device: str) -> torch.Tensor:
    return torch.from_numpy(np.array(rows, dtype=np.float32, order="C")).to(device)
