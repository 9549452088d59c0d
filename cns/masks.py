"""The forms of a mask beside its own, a bool tensor (O, I): positions as a delta has them, and packed bits.

Sets are stored by gaps (`cns.codec`); bits are for what is kept for a while only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cns.codec import SparseDelta
from cns.factors import FactorDelta


def positions_of(mask: Tensor) -> Tensor:
    """Row-major positions of the weights that a mask holds, shape (n,), int64, ascending, on the mask's device."""
    return mask.reshape(-1).nonzero().squeeze(1)


def mask_of(sparse: SparseDelta | FactorDelta) -> Tensor:
    """The weights that a change may touch, shape (O, I), bool, CPU."""
    mask = torch.zeros(sparse.shape, dtype=torch.bool)
    mask.view(-1)[torch.from_numpy(sparse.positions)] = True
    return mask


def pack(mask: Tensor) -> NDArray[np.uint8]:
    """A mask on the CPU as bits, eight weights a byte, row-major; shape (ceil(O * I / 8),)."""
    return np.packbits(mask.numpy())


def unpack(packed: NDArray[np.uint8], shape: Sequence[int]) -> Tensor:
    """The mask, shape (O, I), that `pack` made bits of; raises ValueError or TypeError where there is none in them."""
    rows, columns = (int(side) for side in shape)
    return torch.from_numpy(np.unpackbits(packed, count=rows * columns).astype(bool).reshape(rows, columns))
