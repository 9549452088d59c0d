"""Keeping an update away from the directions that earlier concepts' prompts use, row by row.

A row w of a key or value matrix answers a text feature x by w . x. The new concept may change the row at its mask m
only, so on the prompts of earlier concepts, whose features have the second moment S, a change d of those entries moves
the answers by d^T S_mm d on average. A projection takes out of d what is expensive there:

* hard: d <- (I - U U^T) d, U the k eigenvectors of S_mm with the largest eigenvalues, k <= |m| / 3;
* soft: d <- (I + lambda S_mm)^-1 d, which shrinks each eigendirection by 1 / (1 + lambda * its eigenvalue).

Rows have masks of their own, and masks of different sizes: all rows of a matrix are padded to the largest and computed
as one batch. The projectors are made once a training; a step then costs one small batched product a matrix. Where
S comes from is the regularizer's business (`cns.regularizers`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

SMALLEST = 1e-6
"""An eigenvalue below this share of the largest is no direction that prompts use, but rounding."""

Build = Callable[[Tensor, Tensor], Tensor]
"""(S_mm of every row, (O, n, n); |m| of every row, (O,)) -> projectors, (O, n, n)."""


class RowProjection:
    """Projects changes of the masked weights, matrix by matrix, row by row.

    Args:
        masks: Matrix name -> mask, shape (O, I), bool, CPU.
        moments: Matrix name -> S, shape (I, I), float32, CPU.
        build: Makes the projectors: `hard`, or `soft` with its strength.
        device: Where changes will be.
    """

    def __init__(
        self, masks: Mapping[str, Tensor], moments: Mapping[str, Tensor], build: Build, device: torch.device
    ) -> None:
        self._rows = {}
        for name, mask in masks.items():
            sizes = mask.sum(1)
            widest = int(sizes.max())
            if widest == 0:
                continue
            # Stable, so that a row's own columns come first and in order; the rest of `columns` is padding.
            columns = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :widest]
            valid = (torch.arange(widest) < sizes[:, None]).float()
            part = moments[name][columns[:, :, None], columns[:, None, :]]
            within = valid[:, :, None] * valid[:, None, :]
            projectors = build(part * within, sizes) * within
            self._rows[name] = tuple(one.to(device) for one in (columns, valid, projectors))

    def __call__(self, change: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Project a change.

        Args:
            change: Matrix name -> change, shape (O, I), zero outside the mask.

        Returns:
            The same names and shapes, zero outside the mask.
        """
        projected = {}
        for name, values in change.items():
            if name not in self._rows:
                projected[name] = values
                continue
            columns, valid, projectors = self._rows[name]
            own = values.gather(1, columns) * valid
            moved = torch.bmm(projectors, own.unsqueeze(2)).squeeze(2) * valid
            projected[name] = torch.zeros_like(values).scatter_(1, columns, moved)
        return projected


def hard(part: Tensor, sizes: Tensor) -> Tensor:
    """I - U U^T of each row, U its top floor(|m| / 3) eigenvectors; idempotent."""
    values, vectors = torch.linalg.eigh(part)  # ascending
    width = part.shape[1]
    place = torch.arange(width - 1, -1, -1)  # 0 = the largest
    used = (place < (sizes // 3)[:, None]) & (values > SMALLEST * values[:, -1:].clamp_min(1e-30))
    kept = vectors * used.float()[:, None, :]
    return torch.eye(width) - kept @ kept.transpose(1, 2)


def soft(strength: float) -> Build:
    """(I + strength * S_mm)^-1 of each row."""

    def build(part: Tensor, _sizes: Tensor) -> Tensor:
        return torch.linalg.inv(torch.eye(part.shape[1]) + strength * part)

    return build
