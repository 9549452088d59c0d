"""A foreign change in the form in which a concept stores one: whole steps of the base's grids.

What has the same directions in every matrix, in whole numbers, as our own files have, is stored as factors where
nothing is lost by that; all else as a mask with its integers. A LoRA has other directions in each matrix, which no
factors of ours hold (`cns.factors`): its mask is every weight that it moves by half a step or more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from cns import grid
from cns.adapters.rules import Array
from cns.adapters.update import Change
from cns.codec import Delta, SparseDelta
from cns.errors import AdapterError, GridError
from cns.factors import MAX_RANK, FactorDelta, factored


def on_grid(changes: Mapping[str, Change], exponents: Mapping[str, int]) -> tuple[Delta, float]:
    """Round changes to what is stored.

    Args:
        changes: Matrix name -> change.
        exponents: Matrix name -> exponent of its grid.

    Returns:
        The delta, and what is lost: |dW - stored| / |dW|, Frobenius, over all matrices; 0 where all is exact.

    Raises:
        AdapterError: A change is too large for the grid.
    """
    if (exact := _as_factors(changes, exponents)) is not None:
        return exact, 0.0
    try:
        delta = {name: _as_mask(change, exponents[name]) for name, change in changes.items()}
    except GridError as error:
        raise AdapterError(
            f"the change is too large to be stored: {error.message.partition(':')[0]}", "cns import … --weight 0.5"
        ) from error
    lost = sum(float((_wrong(delta[name], change) ** 2).sum()) for name, change in changes.items())
    whole = sum(float((change.weight**2).sum()) for change in changes.values())
    return delta, math.sqrt(lost / whole) if whole else 0.0


def dense(delta: SparseDelta | FactorDelta) -> Array:
    """The change that is stored, shape (O, I), float64."""
    change = np.zeros(delta.shape)
    change.reshape(-1)[delta.positions] = np.ldexp(delta.steps.astype(np.float64), delta.exponent)
    return change


def _wrong(stored: SparseDelta | FactorDelta, change: Change) -> Array:
    """What is stored less what was read; of a file that holds weights, the same of these, in float32 as they are."""
    if change.start is None:
        return dense(stored) - change.weight
    ours, theirs = (change.start + one for one in (dense(stored), change.weight))
    return ours.astype(np.float32).astype(np.float64) - theirs


def _as_mask(change: Change, exponent: int) -> SparseDelta:
    rows, columns = change.weight.shape
    steps = grid.quantise(change.weight.reshape(-1), exponent)
    positions = np.flatnonzero(steps) if change.positions is None else change.positions
    return SparseDelta((rows, columns), positions.astype(np.int64), steps[positions], exponent)


def _as_factors(changes: Mapping[str, Change], exponents: Mapping[str, int]) -> dict[str, FactorDelta] | None:
    """The change as factors with one U, where these hold it exactly."""
    factors = {name: change.factors for name, change in changes.items()}
    first = next(iter(factors.values()), None)
    if first is None or len(first[1]) > MAX_RANK or not np.abs(first[1]).max(1).all():
        return None
    if any(one is None or not np.array_equal(one[1], first[1]) for one in factors.values()):
        return None
    outputs = {name: one[0] for name, one in factors.items() if one is not None}
    try:
        found = factored(outputs, first[1].T, exponents)
    except GridError:
        return None
    exact = not any(_wrong(found[name], change).any() for name, change in changes.items())
    return found if exact else None
