"""Rows in a low precision, and a bound on what their products then are away from the true ones. Knows matrices and torch.

The numbers of a product of two :class:`Side` values are similarities but for rounding; :func:`bounds` says for each row how
much that can be at most. Nothing is assumed of the data: the bound is made of the lengths of what rounding really took.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from harness.search.matrix import BLOCK_ROWS, Matrix, Vectors, blocks

# A bias in three parts of 8 or more bits each is a float32's worth of digits.
_PARTS = 3
# Matrix units work on so many columns at once; oneDNN is three times as slow beside such a number.
_COLUMNS = 32
# What fills up a group of rows is so far from everything that it is never near.
FAR = -(2.0**100)
# One addition in float32, with a bit for units that cut instead of rounding.
_ADDITION = 2.0**-23
_UNIT_ROUNDOFF = 2.0**-24
# Norms and bounds are themselves computed in float32, of at most 2¹³ numbers.
_SLACK = 1 + 2.0**-10
# Units may take numbers below 2⁻¹²⁶ for 0; rows are scaled so that this is far below anything that counts.
_UNDERFLOW = 2.0**-90
_MODERATE_EXPONENT = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two matrices of a search: scaled by a power of two, centred, rounded.

    With the mean rows ``a`` and ``c`` a query is ``a + x``, a row of the base ``c + y``, and their product
    ``x·y + x·c + a·y + a·c``. Vectors of an encoder share most of their length with their mean; what is left is short, so
    rounding, which is relative, takes little. The last term is the same for all pairs and left out; ``x·c`` and
    ``a·y`` are columns of their own, in parts.

    Attributes:
        matrix: The rows; they are divided by 2 to the power of ``exponent``.
        centre: The scaled mean row; ``other`` that of the other side.
        left: Whether this is the left factor of the product.
        dtype: The low precision.
    """

    matrix: Matrix
    exponent: int
    centre: Tensor
    other: Tensor
    left: bool
    dtype: torch.dtype

    def numbers(self, block: Vectors, group: int) -> Tensor:
        """Rows as factors of the product, filled up to a multiple of ``group``, shape ``(rows, columns)``."""
        exact = self._centred(block)
        own, _ = self._bias(exact)
        count, dimension = exact.shape
        columns = dimension + 2 * _PARTS
        found = torch.zeros(
            (count + -count % group, columns + -columns % _COLUMNS), dtype=self.dtype, device=exact.device
        )
        found[:count, :dimension] = exact
        mine, theirs = (dimension, dimension + _PARTS) if self.left else (dimension + _PARTS, dimension)
        found[:count, mine : mine + _PARTS] = own
        found[count:, mine] = FAR
        found[:, theirs : theirs + _PARTS] = 1.0
        return found

    def errors(self) -> Tensor:
        """What rounding takes from each row: shape ``(rows, 5)``, float32.

        Length in the low precision, true length, length of the difference, absolute bias, what the bias's parts leave.
        """
        return torch.cat([self._error(self._centred(block)) for _, block in blocks(self.matrix, 4_096)])

    def _error(self, exact: Tensor) -> Tensor:
        low = exact.to(self.dtype).float()
        length, true, lost = (torch.linalg.vector_norm(rows, dim=1) for rows in (low, exact, exact - low))
        own, bias = self._bias(exact)
        # Centring rounds too: to float32, which the row and its bias feel.
        centring = _UNIT_ROUNDOFF * true * _SLACK
        missing = (bias - own.double().sum(dim=1)).abs().float()
        missing += centring * torch.linalg.vector_norm(self.other)
        return torch.stack([length, true, lost + centring, bias.abs().float(), missing], dim=1) * _SLACK

    def _centred(self, block: Vectors) -> Tensor:
        rows = (
            np.ldexp(block, -self.exponent) if self.exponent else np.array(block, dtype=np.float32, order="C")
        )
        return torch.from_numpy(rows).to(self.centre.device) - self.centre

    def _bias(self, exact: Tensor) -> tuple[Tensor, Tensor]:
        """The product with the other side's mean: in parts, shape ``(rows, parts)``, and in float64."""
        bias = exact.double() @ self.other.double()
        parts, left = [], bias
        for _ in range(_PARTS):
            parts.append(left.to(self.dtype))
            left = left - parts[-1].double()
        return torch.stack(parts, dim=1), bias


def sides(queries: Matrix, base: Matrix, device: str, dtype: torch.dtype) -> tuple[Side, Side]:
    """Both matrices, as the left and the right factor."""
    (ours, mine), (theirs, other) = (_survey(matrix, device) for matrix in (queries, base))
    return (
        Side(matrix=queries, exponent=ours, centre=mine, other=other, left=True, dtype=dtype),
        Side(matrix=base, exponent=theirs, centre=other, other=mine, left=False, dtype=dtype),
    )


def _survey(matrix: Matrix, device: str) -> tuple[int, Tensor]:
    """The exponent by which a matrix is scaled, 0 where its numbers are moderate, and its scaled mean row."""
    largest, total = 0.0, np.zeros(matrix.shape[1])
    for _, block in blocks(matrix, BLOCK_ROWS):
        largest = max(largest, float(np.abs(block).max()))
        total += block.sum(axis=0, dtype=np.float64)
    exponent = int(np.frexp(largest)[1]) if largest else 0
    exponent = exponent if abs(exponent) > _MODERATE_EXPONENT else 0
    mean = np.ldexp(total / len(matrix), -exponent).astype(np.float32)
    return exponent, torch.from_numpy(mean).to(device)


def bounds(mine: Tensor, theirs: Tensor, columns: int) -> Tensor:
    """For each row the most by which its products, before they are rounded themselves, can be wrong.

    For rows ``x``, ``y`` and their low ``x'``, ``y'``, by Cauchy and Schwarz,
    ``|x·y - x'·y'| <= |x - x'| |y| + |x'| |y - y'|``, and ``n`` additions in float32, in whatever order, are wrong by at most
    ``n · 2⁻²⁴`` of the sum of what they add, absolutely taken (Higham 2002, Accuracy and Stability, section 3.1), to
    first order; products of two low numbers are exact in float32, or one rounding more.

    Args:
        mine: Errors of the rows, shape ``(rows, 5)``; see :meth:`Side.errors`.
        theirs: Those of the other side, of which the largest count.
        columns: The dimension.

    Returns:
        Shape ``(rows,)``, float32.
    """
    length, _, lost, bias, missing = mine.unbind(1)
    their_length, their_true, their_lost, their_bias, their_missing = theirs.amax(dim=0)
    rounding = lost * their_true + length * their_lost + missing + their_missing
    additions = (columns + 2 * _PARTS + 4) * _ADDITION * (length * their_length + bias + their_bias)
    most: Tensor = (rounding + additions + _UNDERFLOW) * _SLACK
    return most
