"""A change of rank r in whole numbers: N = O U^T, U (I, r) the same for all matrices of a text width.

The product's step is 2**(e - FINER), e being the matrix's grid exponent: so much finer than the grid that O keeps ten
bits and more where U has seven, and so coarse that sums of many concepts stay below `grid.MAX_TOTAL`. A product of
whole numbers is exact, so a set of such concepts, and of masks beside them, gives the same bits in any order; and its
weights are base + (a matrix of rank r) without any rounding but that of this last sum.

The module knows arrays only; how they are written is said in `cns.codec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns.errors import GridError

FINER = 6
"""The product's grid is 2**FINER times as fine as the matrix's."""

MAX_RANK = 64
"""Of a change that is read (chosen): with it |N| stays far below 2**31."""

UNIT = 127
"""Largest whole number in U: it fits 8 bits."""


@dataclass(frozen=True, eq=False)
class FactorDelta:
    """The change of one matrix; it answers as a `cns.codec.SparseDelta` that holds every weight.

    Attributes:
        outputs: O, shape (O, r), int16.
        basis: U, shape (I, r), int8.
        exponent: One step of the product is 2**exponent.
    """

    outputs: NDArray[np.int16]
    basis: NDArray[np.int8]
    exponent: int

    @property
    def shape(self) -> tuple[int, int]:
        """(O, I) of the matrix."""
        return len(self.outputs), len(self.basis)

    @property
    def rank(self) -> int:
        """The rank r."""
        return int(self.basis.shape[1])

    @property
    def matrix_exponent(self) -> int:
        """Exponent of the matrix's own grid."""
        return self.exponent + FINER

    @property
    def count(self) -> int:
        """How many weights it may change: all."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Row-major positions of the changed weights: all."""
        return np.arange(self.count, dtype=np.int64)

    @property
    def steps(self) -> NDArray[np.int32]:
        """N = O U^T, shape (O * I,), int32; exact: |N| <= r * 2**15 * UNIT."""
        return (self.outputs.astype(np.int32) @ self.basis.astype(np.int32).T).reshape(-1)


def factored(
    outputs: Mapping[str, NDArray[np.floating[Any]]], basis: NDArray[np.floating[Any]], exponents: Mapping[str, int]
) -> dict[str, FactorDelta]:
    """Round trained factors to whole numbers.

    Args:
        outputs: Matrix name -> O, shape (O, r).
        basis: U, shape (I, r): whole numbers of at most `UNIT` times a power of two for each column.
        exponents: Matrix name -> the base's grid exponent.

    Raises:
        GridError: O is NaN or infinite, or too large for 16 bits (the training diverged).
    """
    whole, scale = split_basis(basis)
    found = {}
    for name, one in outputs.items():
        exponent = exponents[name] - FINER
        steps = np.rint(np.ldexp(one.astype(np.float64) * scale, -exponent))
        if not np.isfinite(steps).all() or np.abs(steps).max(initial=0) > np.iinfo(np.int16).max:
            raise GridError(
                f"a direction's output changed by {np.abs(steps).max():g} steps; at most 32767 can be stored: the "
                "training diverged",
                hint="cns add … --lr with a third of the learning rate",
            )
        found[name] = FactorDelta(steps.astype(np.int16), whole, exponent)
    return found


def split_basis(basis: NDArray[np.floating[Any]]) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """U as whole numbers, (I, r) int8, and the power of two that each column was multiplied with, (r,) float64."""
    scale = np.exp2(np.ceil(np.log2(np.abs(basis).max(0).astype(np.float64) / UNIT)))
    return np.rint(basis / scale).astype(np.int8), scale
