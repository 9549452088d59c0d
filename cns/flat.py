"""What a step of a training needs: the masked weights as one flat tensor, the learning rate, a loss that is a number.

The optimizer sees the flat tensor alone, so that nothing outside the mask can move.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from cns import grid
from cns.codec import Delta, SparseDelta
from cns.errors import MethodError
from cns.masks import positions_of


class Flat:
    """The masked weights of live matrices.

    Attributes:
        values: What is trained, shape (M,), in the order of the matrices and row-major within each.
        start: What they were, (M,).
    """

    def __init__(self, live: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
        self.live = live
        self.places = {name: positions_of(masks[name]).to(one.device) for name, one in live.items()}
        self.values = torch.cat([one.detach().reshape(-1)[self.places[name]] for name, one in live.items()])
        self.start = self.values.detach().clone()

    def gather(self, slopes: Sequence[Tensor]) -> None:
        """Take the gradient out of the matrices' gradients, which are in their order."""
        pairs = zip(self.places.values(), slopes, strict=True)
        self.values.grad = torch.cat([slope.reshape(-1)[place] for place, slope in pairs])

    def dense(self, values: Tensor) -> dict[str, Tensor]:
        """Matrix name -> shape (O, I): values in the order of the flat tensor at their places, zero elsewhere."""
        matrices = {name: torch.zeros_like(self.live[name], requires_grad=False) for name in self.places}
        self._put(values, matrices)
        return matrices

    def pick(self, matrices: Mapping[str, Tensor]) -> Tensor:
        """Take back what `dense` has laid out."""
        return torch.cat([matrices[name].reshape(-1)[place] for name, place in self.places.items()])

    def delta(self, exponents: Mapping[str, int], parent: Mapping[str, Tensor]) -> dict[str, SparseDelta]:
        """The change of the live matrices on the grid.

        Args:
            exponents: Matrix name -> exponent of its grid.
            parent: Matrix name -> what it was, float32, CPU.
        """
        found = {}
        for name, one in self.live.items():
            rows, columns = one.shape
            change = (one.detach().to("cpu", torch.float32) - parent[name]).reshape(-1)
            positions = self.places[name].cpu()
            steps = grid.quantise(change[positions].numpy(), exponents[name])
            found[name] = SparseDelta((rows, columns), positions.numpy(), steps, exponents[name])
        return found

    def begin_at(self, delta: Delta) -> None:
        """Set the live matrices to what they were plus a change, which has this mask."""
        changes = [delta[name].steps * 2.0 ** delta[name].exponent for name in self.places if name in delta]
        self.become(self.start + torch.from_numpy(np.concatenate(changes)).to(self.start))
        self.scatter()

    @torch.no_grad()
    def become(self, values: Tensor) -> None:
        """Take other values, in place: the optimizer knows the tensor."""
        self.values.copy_(values)

    @torch.no_grad()
    def scatter(self) -> None:
        """Write the values into the live matrices."""
        self._put(self.values, self.live)

    def _put(self, values: Tensor, matrices: Mapping[str, Tensor]) -> None:
        parts = values.split([len(place) for place in self.places.values()])
        for (name, place), part in zip(self.places.items(), parts, strict=True):
            matrices[name].view(-1)[place] = part


def learning_rate(step: int, steps: int) -> float:
    """Factor on the learning rate: ten steps up, constant, then linear to 5 % over the last 40 %."""
    remaining = (steps - step) / (0.4 * steps)
    return min(1.0, (step + 1) / 10) * max(0.05, min(1.0, remaining))


def finite(loss: Tensor) -> float:
    """The loss as a number.

    Raises:
        MethodError: It is none.
    """
    value = float(loss.detach())
    if not math.isfinite(value):
        raise MethodError(
            "the loss became NaN or infinite: the training diverged", hint="cns add … --lr with a third of it"
        )
    return value
