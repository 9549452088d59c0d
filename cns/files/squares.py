"""The square that is trained on: where it stands in an upright picture, and what of a mask it keeps.

Without a mask it is the central one. With a mask it is as large, and stands along the longer side where it keeps most
of what the mask marks; of all such places it takes the one where what is marked stands nearest to the middle.

The module knows Pillow's pictures, no file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_UNLIKE = 0.02
"""Relative difference of the sides' ratios of a picture and its mask that rounding explains (chosen)."""

# EXIF orientations under which an axis of the upright picture runs against the axis that it is stored along.
_AGAINST = {"x": (2, 3, 6, 7), "y": (3, 4, 7, 8)}
_SWAPPED = (5, 6, 7, 8)
ORIENTATION = 0x0112


@dataclass(frozen=True)
class Aim:
    """Where the square of one picture stands.

    Attributes:
        place: How much of the room along the longer side of the upright picture lies before it, 0 to 1.
        kept: Share of what the mask marks that it keeps, 0 to 1.
        mask: The square of the mask, shape (R, R), uint8, 255 where the concept is.
    """

    place: float
    kept: float
    mask: NDArray[np.uint8]


def aim(mask: Image.Image, size: tuple[int, int], resolution: int) -> Aim:
    """Find the square that keeps most of what a mask marks.

    Args:
        mask: Mode L, as upright as the picture that it belongs to; it marks something.
        size: Width and height of the upright picture.
        resolution: Side R of the square.

    Raises:
        ValueError: Its sides have another ratio than the picture's.
    """
    if abs(mask.width * size[1] / (mask.height * size[0]) - 1) > MAX_UNLIKE:
        has, wants = ("x".join(map(str, sides)) for sides in (mask.size, size))
        raise ValueError(f"its mask has {has} pixels, and the picture {wants}: expected sides of the same ratio")
    marked = np.asarray(mask).sum(axis=0 if mask.width >= mask.height else 1, dtype=np.int64)
    sums = np.concatenate([[0], marked.cumsum()])
    edge = min(mask.size)
    kept = sums[edge:] - sums[:-edge]  # of the square at each place along the longer side
    best = np.flatnonzero(kept == kept.max())
    centred = marked @ (np.arange(len(marked)) + 0.5) / sums[-1] - edge / 2
    chosen = int(best[np.abs(best - centred).argmin()])
    place = chosen / (len(kept) - 1) if len(kept) > 1 else 0.5
    square = mask.crop(box(mask.size, place)).resize((resolution, resolution), Image.Resampling.BOX)
    return Aim(place, float(kept[chosen] / sums[-1]), np.asarray(square, np.uint8).copy())


def box(size: tuple[int, int], place: float | None) -> tuple[int, int, int, int]:
    """The largest square of a picture: left, top, right, bottom.

    Args:
        size: Width and height.
        place: As `Aim.place`, along the longer side of this picture; None is the centre.
    """
    edge = min(size)
    left, top = ((side - edge) // 2 if place is None else round((side - edge) * place) for side in size)
    return left, top, left + edge, top + edge


Framing = tuple[int, int, int, int]
"""How a square was cut out of an upright picture: its height and width, and top and left edge of the square once it has
the side that it is trained at. SDXL is told so of every picture (Podell et al. 2024, section 2.2)."""


def framing(size: tuple[int, int], place: float | None, resolution: int) -> Framing:
    """How the largest square of an upright picture is cut out of it.

    Args:
        size: Width and height.
        place: As `Aim.place`; None is the centre.
        resolution: Side of the square once it is resized.
    """
    left, top, _, _ = box(size, place)
    width, height = size
    return height, width, round(top * resolution / min(size)), round(left * resolution / min(size))


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of a stored picture once it is turned."""
    return (size[1], size[0]) if orientation in _SWAPPED else size


def stored_place(place: float | None, size: tuple[int, int], orientation: int) -> float | None:
    """As `Aim.place`, along the longer side of the picture as it is stored.

    Args:
        place: Of the upright picture; None is the centre.
        size: Width and height of the upright picture.
        orientation: EXIF's number for how it is turned.
    """
    axis = "x" if size[0] >= size[1] else "y"
    return place if place is None or orientation not in _AGAINST[axis] else 1 - place
