"""Candidates for both directions of a search from one sweep over all similarities. Knows matrices and torch.

Similarities are computed block by block in a low precision, bfloat16 where the device multiplies such matrices in hardware.
Of each block only what may be among the ``k`` nearest of its row or of its column is looked at, where "may be" is a bound
(:mod:`harness.engine.lowered`). What cannot be proven is said so, for :mod:`harness.search.exact` to search again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.engine.hardware import multiplies_bfloat16
from harness.engine.knn import full_products
from harness.engine.lowered import FAR, bounds, sides
from harness.search.exact import Candidates
from harness.search.matrix import Matrix, blocks

# A base block stays in memory in the low precision while all queries pass by, a panel at a time, over its tiles.
_BASE_ROWS = 65_536
_PANEL = {"cpu": 2_048, "cuda": 8_192}
_TILE = {"cpu": 4_096, "cuda": 32_768}
_GROUP = 32
_SPARE = 28
# Above this a threshold cannot be reached by what fills up a group.
_FLOOR = FAR / 2**10
# Half of the last place of a product's output, relatively; float32's is among the additions of the bound.
_OUTPUT = {torch.bfloat16: 2.0**-8 * (1 + 2.0**-10), torch.float32: 0.0}


def sweep_dtype(device: str) -> torch.dtype:
    """bfloat16 where the device multiplies matrices of it in hardware, adding in float32; else float32."""
    return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32


def sweep(
    queries: Matrix,
    base: Matrix,
    k: int,
    back: int,
    *,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
) -> tuple[Candidates, Candidates]:
    """What may be among the ``k`` nearest rows of ``base`` of each query, and the ``back`` nearest queries of each row.

    Memory is that of one base block, one panel with the products of its tile, and ``k + 28`` numbers of 6 bytes for each row,
    and about 80 bytes for each product of a tile that reaches a threshold; both matrices may lie on disk.

    Args:
        queries: Shape ``(queries, dimension)``, finite, at least one row.
        base: Shape ``(base, dimension)``, finite, at least one row.
        k: At most the number of rows of ``base``; 0 leaves the direction out.
        back: At most the number of queries; 0 leaves the direction out.
        device: Of torch.
        dtype: The low precision, None for :func:`sweep_dtype`.

    Returns:
        Candidates of each query, and of each row of ``base``.
    """
    dtype = sweep_dtype(device) if dtype is None else dtype
    ours, theirs = sides(queries, base, device, dtype)
    errors, their_errors = ours.errors(), theirs.errors()
    forward = _Shortlist.empty(bounds(errors, their_errors, base.shape[1]), k, len(base), dtype)
    backward = _Shortlist.empty(bounds(their_errors, errors, base.shape[1]), back, len(queries), dtype)
    panel, tile = (sizes[device.split(":")[0]] for sizes in (_PANEL, _TILE))
    room = torch.empty(panel * tile, dtype=dtype, device=device)
    with full_products():
        for low, block in blocks(base, _BASE_ROWS):
            columns = theirs.numbers(block, _GROUP)
            for high, some in blocks(queries, panel):
                lines = ours.numbers(some, _GROUP)
                for start in range(0, len(columns), tile):
                    part = columns[start : start + tile]
                    found = room[: len(lines) * len(part)].view(len(lines), len(part))
                    torch.mm(lines, part.T, out=found)
                    forward.take_rows(found, high, low + start)
                    backward.take_columns(found, low + start, high)
    return forward.candidates(), backward.candidates()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shortlist:
    """The best of each line so far, where a line is a query or, backwards, a row of the base.

    Attributes:
        k: Neighbours that are wanted.
        output: Relative rounding of a product's output.
        error: Bound on a line's products before that, shape ``(lines,)``.
        values: The best products, shape ``(lines, width)``, best first; ``rows`` which they are, -1 for none.
        dropped: The best product that found no room.
        threshold: Below it no product can be a neighbour's.
    """

    k: int
    output: float
    error: Tensor
    values: Tensor
    rows: Tensor
    dropped: Tensor
    threshold: Tensor

    @classmethod
    def empty(cls, error: Tensor, k: int, others: int, dtype: torch.dtype) -> _Shortlist:
        lines, device = len(error), error.device
        shape = (lines, min(k + _SPARE, others) if k else 0)
        return cls(
            k=k,
            output=_OUTPUT[dtype],
            error=error,
            values=torch.full(shape, -torch.inf, dtype=dtype, device=device),
            rows=torch.full(shape, -1, dtype=torch.int32, device=device),
            dropped=torch.full((lines,), -torch.inf, dtype=dtype, device=device),
            threshold=torch.full((lines,), _FLOOR, device=device),
        )

    def take_rows(self, found: Tensor, first: int, column: int) -> None:
        """Take products as lines by rows: the first row is line ``first``, the first column the other side's ``column``."""
        groups = found.shape[1] // _GROUP
        grouped = found.view(len(found), _GROUP, groups)
        self._take(grouped, grouped.amax(dim=1), first, column, groups, 1)

    def take_columns(self, found: Tensor, first: int, row: int) -> None:
        """Take products whose columns are the lines."""
        grouped = found.view(len(found) // _GROUP, _GROUP, found.shape[1])
        self._take(grouped.permute(2, 1, 0), grouped.amax(dim=1).T, first, row, 1, _GROUP)

    def _take(self, grouped: Tensor, tops: Tensor, first: int, other: int, member: int, group: int) -> None:
        """Keep what reaches the threshold.

        Args:
            grouped: Products, shape ``(lines, members, groups)``.
            tops: The best of each group, shape ``(lines, groups)``; few lie above the threshold, only these are opened.
            first: Number of the first line; lines behind the last are filling.
            other: Number of the first member of the first group.
            member: From one member to the next; ``group`` from one group to the next.
        """
        count = min(len(tops), len(self.error) - first)
        if not self.k:
            return
        tops, lines = tops[:count], slice(first, first + count)
        if other == 0 and tops.shape[1] >= self.k:
            kth = tops.topk(self.k, dim=1).values[:, -1]
            self.threshold[lines] = self._edge(kth, self.error[lines])
        edge = self.threshold[lines, None]
        above = tops >= edge
        # Where half of all groups reach the threshold nothing can be told apart, and opening them would cost as much as all
        # products: such a line is given up, to be searched again.
        crowded = above.sum(dim=1) > max(self.values.shape[1], tops.shape[1] // 2)
        self.dropped[lines].masked_fill_(crowded, torch.inf)
        self.threshold[lines].masked_fill_(crowded, torch.inf)
        above &= ~crowded[:, None]
        line, place = above.nonzero(as_tuple=True)
        values = grouped[line, :, place]
        hit, offset = (values >= edge[line]).nonzero(as_tuple=True)
        if len(hit):
            rows = other + offset * member + place[hit] * group
            self._merge(first + line[hit], rows.int(), values[hit, offset])

    def _edge(self, kth: Tensor, error: Tensor) -> Tensor:
        """What a product must reach to be a neighbour's, where ``k`` different ones reach ``kth``.

        Before its output was rounded the ``k``-th was at least ``kth - output |kth|``, so a true similarity lies at most one
        error below that, and a neighbour's product another one; then that is rounded.
        """
        kth = kth.float().clamp_min(FAR)
        least = kth - self.output * kth.abs() - 2 * error
        return (least - self.output * least.abs()).clamp_min(_FLOOR)

    def _merge(self, lines: Tensor, rows: Tensor, values: Tensor) -> None:
        """Add products, sorted by line, to their lines' best."""
        touched, which, counts = torch.unique_consecutive(lines, return_inverse=True, return_counts=True)
        width = self.values.shape[1]
        place = width + torch.arange(len(lines), device=lines.device) - (counts.cumsum(0) - counts)[which]
        shape = (len(touched), width + int(counts.max()))
        every = torch.full(shape, -torch.inf, dtype=values.dtype, device=values.device)
        numbers = torch.full(shape, -1, dtype=torch.int32, device=values.device)
        every[:, :width], numbers[:, :width] = self.values[touched], self.rows[touched]
        every[which, place], numbers[which, place] = values, rows
        best, order = every.topk(width + 1, dim=1)
        self.values[touched] = best[:, :width]
        self.rows[touched] = numbers.gather(1, order[:, :width])
        self.dropped[touched] = torch.maximum(self.dropped[touched], best[:, width])
        edge = self._edge(best[:, self.k - 1], self.error[touched])
        self.threshold[touched] = torch.maximum(self.threshold[touched], edge)

    def candidates(self) -> Candidates:
        """What is left, and for which lines nothing was lost."""
        kept = self.values >= self.threshold[:, None]
        # At least k wide, also where every line was given up.
        widest = max(self.k, int(kept.sum(dim=1).max())) if self.k else 0
        rows = torch.where(kept, self.rows, -1)[:, :widest]
        return Candidates(
            rows=rows.cpu().numpy().astype(np.int64), proven=(self.dropped < self.threshold).cpu().numpy()
        )
