"""The float32 search of :mod:`harness.search` on a torch device, by blocks of similarities. Knows matrices only."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from harness.search import Vectors

_QUERY_BLOCK = 4_096
_BASE_BLOCK = 131_072


def torch_knn(
    queries: Vectors, base: Vectors, k: int, *, device: str = "cuda"
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``k`` rows of ``base`` with the largest inner products, as :func:`harness.search.faiss_knn` finds them.

    Computes in full float32: TF32 would break the error bound on which the exactness of the search rests.
    """
    scores = np.empty((len(queries), k), dtype=np.float32)
    rows = np.empty((len(queries), k), dtype=np.int64)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        for start in range(0, len(queries), _QUERY_BLOCK):
            asked = _tensor(queries[start : start + _QUERY_BLOCK], device)
            best = torch.empty((len(asked), 0), device=device)
            where = torch.empty((len(asked), 0), dtype=torch.int64, device=device)
            for low in range(0, len(base), _BASE_BLOCK):
                block = _tensor(base[low : low + _BASE_BLOCK], device)
                found, place = torch.topk(asked @ block.T, min(k, len(block)), dim=1)
                best, where = torch.cat([best, found], dim=1), torch.cat([where, place + low], dim=1)
                best, order = torch.topk(best, min(k, best.shape[1]), dim=1)
                where = torch.gather(where, 1, order)
            scores[start : start + len(asked)] = best.cpu().numpy()
            rows[start : start + len(asked)] = where.cpu().numpy()
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return scores, rows


def _tensor(rows: Vectors, device: str) -> torch.Tensor:
    return torch.from_numpy(np.array(rows, dtype=np.float32, order="C")).to(device)
