"""What two sparse changes have in common: shared neurons, what each adds there, and whether they pull the same way.

Energy is the squared change, summed: sum of (2**e * n)^2, in squared weights. Integers are summed exactly within a
matrix, and matrices by `math.fsum`, so that no figure depends on an order. numpy alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cns.codec import Delta, SparseDelta
from cns.factors import FactorDelta

Steps = NDArray[np.int16] | NDArray[np.int32]


@dataclass(frozen=True)
class Overlap:
    """Two changes, `one` and `other`, in one matrix or in all; every field is a sum over weights.

    Attributes:
        one, other: Neurons of each.
        shared: Neurons that lie in both masks.
        chance: Neurons that masks of these sizes, laid at random in each matrix, would share.
        one_energy, other_energy: Energy of each change, whole.
        one_shared, other_shared: Energy of each on the shared neurons alone.
        product: Inner product of the changes; only shared neurons contribute.
    """

    one: int = 0
    other: int = 0
    shared: int = 0
    chance: float = 0.0
    one_energy: float = 0.0
    other_energy: float = 0.0
    one_shared: float = 0.0
    other_shared: float = 0.0
    product: float = 0.0

    @property
    def share(self) -> float:
        """Share of one's neurons that other has, too; 0 to 1."""
        return self.shared / max(1, self.one)

    @property
    def relative_energy(self) -> float | None:
        """What other adds on the shared neurons, relative to one's own energy there; None where one has none there."""
        return self.other_shared / self.one_shared if self.one_shared else None

    @property
    def cosine(self) -> float | None:
        """Cosine of the two whole changes, -1 to 1: 0 for disjoint masks; None where one of them changes nothing."""
        lengths = math.sqrt(self.one_energy) * math.sqrt(self.other_energy)
        return max(-1.0, min(1.0, self.product / lengths)) if lengths else None


def overlaps(one: Delta, other: Delta) -> dict[str, Overlap]:
    """Compare two changes matrix by matrix: every matrix that either of them names, by name."""
    return {name: _compared(one.get(name), other.get(name)) for name in sorted({*one, *other})}


def overlap(one: Delta, other: Delta) -> Overlap:
    """Compare two changes over all matrices."""
    return total(overlaps(one, other).values())


def total(parts: Iterable[Overlap]) -> Overlap:
    """Add up what was found in several matrices."""
    found = list(parts)
    sums: dict[str, Any] = {one.name: math.fsum(getattr(part, one.name) for part in found) for one in fields(Overlap)}
    return Overlap(**sums | {name: int(sums[name]) for name in ("one", "other", "shared")})


def _compared(one: SparseDelta | FactorDelta | None, other: SparseDelta | FactorDelta | None) -> Overlap:
    if one is None or other is None:
        return Overlap(
            one=one.count if one else 0,
            other=other.count if other else 0,
            one_energy=_energy(one, one.steps) if one else 0.0,
            other_energy=_energy(other, other.steps) if other else 0.0,
        )
    both, mine, yours = np.intersect1d(one.positions, other.positions, assume_unique=True, return_indices=True)
    product = _dot(one.steps[mine], other.steps[yours])
    return Overlap(
        one=one.count,
        other=other.count,
        shared=int(both.size),
        chance=one.count * other.count / max(1, one.shape[0] * one.shape[1]),
        one_energy=_energy(one, one.steps),
        other_energy=_energy(other, other.steps),
        one_shared=_energy(one, one.steps[mine]),
        other_shared=_energy(other, other.steps[yours]),
        product=math.ldexp(product, one.exponent + other.exponent),
    )


def _energy(delta: SparseDelta | FactorDelta, steps: Steps) -> float:
    return math.ldexp(_dot(steps, steps), 2 * delta.exponent)


def _dot(one: Steps, other: Steps) -> int:
    """Exact: 2**24 products of 16-bit steps fit 64 bits; those of factors, of at most 2**56, by sixty-four."""
    products = one.astype(np.int64) * other.astype(np.int64)
    if one.itemsize == other.itemsize == 2:
        return int(products.sum())
    return sum(int(part) for part in np.add.reduceat(products, np.arange(0, products.size, 2**6)))
