"""Is a concept anywhere in a picture? For pictures that show several: the best likeness over some windows.

Two things side by side fill half a picture each, so neither is like a reference that fills the whole. A window is a
crop of 36/64 of the side; nine of them overlap so that a thing in a half or a third of the picture fits into one, and
the whole picture is a tenth. The module knows pixels and features; not what a concept is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cns.metrics import image_similarities

WINDOW = 36 / 64
"""Side of a window, as a share of the picture's: on the embedded base a thing of a pair is about 31/64 wide, of three
21/64."""

LEFTS, TOPS = (0, 14 / 64, 28 / 64), (8 / 64, 18 / 64, 28 / 64)
"""Where windows begin: things stand in the lower two thirds."""

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]


def windows(images: Pixels) -> Iterator[Pixels]:
    """The images themselves, then each window of them at their own size.

    Args:
        images: Shape (N, H, W, 3), uint8, H = W.
    """
    yield images
    side = images.shape[1]
    width = round(WINDOW * side)
    for left, top in itertools.product(LEFTS, TOPS):
        x, y = round(left * side), round(top * side)
        cut = images[:, y : y + width, x : x + width]
        yield np.stack([np.asarray(Image.fromarray(one).resize((side, side))) for one in cut])


def best_similarities(
    images: Pixels, embed: Callable[[Pixels], Features], references: list[Features]
) -> list[NDArray[np.float64]]:
    """How much the most alike window of each image is like each concept.

    Args:
        images: Shape (N, H, W, 3), uint8, H = W.
        embed: Images to unit rows, (N, D).
        references: Unit rows of each concept's references, each (M, D).

    Returns:
        For each concept the largest mean cosine over the windows, shape (N,), float64.
    """
    features = [embed(window) for window in windows(images)]
    return [np.max([image_similarities(one, target) for one in features], axis=0) for target in references]
