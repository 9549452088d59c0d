"""The integer grid: every change to a weight is a whole number of steps.

Floating-point sums depend on their order and cannot be undone: ``(w + d) - d == w`` fails for several percent of
weights. So each touched matrix W has one step, a power of two, and a concept stores integers n with
``change = step * n``. Integers add exactly in any order, and ``compose_matrix`` starts from the base model's float32
weights every time, so a set of concepts gives the same bits on any machine, along any path.

This module knows arrays only: no tensors, no files, no concepts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns.errors import GridError

MAX_CHANGE = 32767
"""Largest |n| that one concept may store for one weight (it must fit 16 bits)."""

MAX_TOTAL = 2**24
"""|N| of all concepts together stays below this, so that step * N is exact in float32."""


def exponent(weight: NDArray[np.float32], bits: int) -> int:
    """Return e, the exponent of the grid step 2**e of one matrix.

    e = floor(log2(m)) - bits, where m is the lower median of |weight|: an order statistic, so that no summation
    order can change it.

    Args:
        weight: The base model's matrix, shape (O, I), float32, finite.
        bits: How fine the grid is; b gives 2**b to 2**(b + 1) steps in the median |weight|. Each family names its own.

    Returns:
        e. A matrix whose median is 0 falls back to its largest |weight|, an all-zero one to m = 1.

    Raises:
        GridError: The matrix holds NaN or infinity.
    """
    magnitude = np.abs(weight).ravel()
    if magnitude.size == 0 or not np.isfinite(magnitude).all():
        raise GridError("a weight matrix is empty or holds NaN or infinity", hint="cns doctor")
    middle = (magnitude.size - 1) // 2
    median = float(np.partition(magnitude, middle)[middle]) or float(magnitude.max()) or 1.0
    return int(np.frexp(median)[1]) - 1 - bits


def quantise(change: NDArray[np.floating[Any]], grid_exponent: int) -> NDArray[np.int16]:
    """Round a change of weights to whole steps: n = rint(change / 2**e), halves to even.

    Args:
        change: W_trained - W_parent on the mask, any shape, float32 or float64.
        grid_exponent: e of the matrix, from `exponent`.

    Returns:
        n, same shape, int16.

    Raises:
        GridError: A change is NaN or infinite, or larger than `MAX_CHANGE` steps (the training diverged).
    """
    steps = np.rint(np.ldexp(change.astype(np.float64), -grid_exponent))
    if not np.isfinite(steps).all() or (np.abs(steps) > MAX_CHANGE).any():
        worst = float(np.abs(steps).max()) if steps.size else 0.0
        raise GridError(
            f"a weight changed by {worst:g} grid steps; at most {MAX_CHANGE} can be stored: the training diverged",
            hint="cns add … --lr with a third of the learning rate",
        )
    return steps.astype(np.int16)


def compose_matrix(
    base: NDArray[np.float32], grid_exponent: int, total: NDArray[np.signedinteger]
) -> NDArray[np.float32]:
    """Return float32(base) + float32(2**e * total), the weights of a set of concepts.

    Args:
        base: The base model's matrix, shape (O, I), float32.
        grid_exponent: e of the matrix.
        total: Sum of the concepts' integers, shape (O, I).

    Returns:
        Shape (O, I), float32; equal to `base` bit for bit wherever `total` is 0.

    Raises:
        GridError: |total| reaches `MAX_TOTAL`.
    """
    if total.size and max(int(total.max()), -int(total.min())) >= MAX_TOTAL:
        raise GridError("the concepts' changes to one weight add up to more than 2**24 steps", hint="cns rm NAME")
    # Subtracting the opposite is the same sum, and where the total is 0 it takes +0.0 away, which even -0.0 survives.
    opposite = total.astype(np.float32)
    np.subtract(0, opposite, out=opposite)
    if -126 <= grid_exponent <= 103:  # the step and every product are normal numbers, so the product is exact
        opposite *= np.float32(2.0**grid_exponent)
    else:
        np.ldexp(opposite, grid_exponent, out=opposite)  # the same for any step, many times as slow
    return np.subtract(base, opposite, out=opposite)
