"""A metric: how much a generated image is like the reference that it is most like."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cns.metrics import Metric


def nearest_reference(generated: NDArray[np.floating], references: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the largest cosine of each image with any reference, (N, D) and (M, D) -> (N,)."""
    return np.asarray((generated @ references.T).max(1), np.float64)


NEAREST = Metric("nearest reference", encoder="clip", against="references", per_image=nearest_reference)
