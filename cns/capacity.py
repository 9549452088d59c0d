"""How full a model is: which share of its key and value weights concepts hold, is general, or is free.

Concepts may share weights (their integers add up), so the union of their masks counts, and a model is never full in the
sense that nothing more could be learned; but what is shared is where one concept can harm another. numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cns.codec import Delta

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Capacity:
    """Shares of all key and value weights, 0 to 1.

    Attributes:
        held: In the mask of at least one concept.
        general: General neurons, which no concept may have.
        free: Neither.
        reused: Of the newest concept's weights those that earlier ones hold, too; as a share of its own weights.
    """

    held: float
    general: float
    free: float
    reused: float

    def figures(self) -> dict[str, float]:
        """The shares by name, as a record keeps them."""
        return {
            "capacity_held": self.held,
            "general_share": self.general,
            "capacity_free": self.free,
            "reused": self.reused,
        }


def capacity(new: Delta, earlier: Sequence[Delta], general: Mapping[str, Mask]) -> Capacity:
    """Measure a model that holds some concepts.

    Args:
        new: The newest concept.
        earlier: The others.
        general: Matrix name -> general neurons, shape (O, I); names every key and value matrix.
    """
    held = reused = both = size = own = 0
    for name, mask in general.items():
        before = _union(name, earlier, mask.size)
        positions = new[name].positions if name in new else np.zeros(0, np.int64)
        reused += int(before[positions].sum())
        own += positions.size
        before[positions] = True
        held += int(before.sum())
        both += int((before | mask.reshape(-1)).sum())
        size += mask.size
    marked = sum(int(mask.sum()) for mask in general.values())
    return Capacity(held / size, marked / size, 1 - both / size, reused / max(1, own))


def held_share(deltas: Sequence[Delta], size: int) -> float:
    """Share of `size` key and value weights that lie in the mask of at least one concept."""
    shapes = {name: sparse.shape for delta in deltas for name, sparse in delta.items()}
    return sum(int(_union(name, deltas, rows * columns).sum()) for name, (rows, columns) in shapes.items()) / size


def shared_weights(mine: Delta, others: Sequence[Delta]) -> int:
    """How many neurons of a concept at least one of the others has, too."""
    unions = {name: _union(name, others, sparse.shape[0] * sparse.shape[1]) for name, sparse in mine.items()}
    return sum(int(unions[name][sparse.positions].sum()) for name, sparse in mine.items())


def _union(name: str, deltas: Sequence[Delta], size: int) -> Mask:
    marked = np.zeros(size, np.bool_)
    for delta in deltas:
        if name in delta:
            marked[delta[name].positions] = True
    return marked
