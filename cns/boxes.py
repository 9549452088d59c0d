"""Rectangles of an image, as fractions of it, and the cells that they hold on a feature map of any size.

A box is written `x0,y0,x1,y1`, from the image's left-top corner (0,0) to its right-bottom corner (1,1). On a map of
H x W cells it holds the cells whose centre lies in it, so that boxes which touch share no cell and leave none out. A
coarse map may have no such cell for a small box: then the box holds the one cell in which its own centre lies, unless
the caller needs to know (`exact_cells`). No torch here, and no knowledge of what a box is for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from cns.errors import RegionError

EXPECTED = "x0,y0,x1,y1: four fractions of the image, left and top first, such as 0,0.3,0.5,1"
MAX_TEXT = 2_000  # characters of one region as it is typed


@dataclass(frozen=True)
class Box:
    """A rectangle: 0 <= left < right <= 1, 0 <= top < bottom <= 1.

    Attributes:
        left, top, right, bottom: Fractions of the image's width and height.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        """Refuse what is no rectangle of an image.

        Raises:
            RegionError: A side is no number between 0 and 1, or the box has no area.
        """
        for side in (self.left, self.top, self.right, self.bottom):
            if not (math.isfinite(side) and 0 <= side <= 1):
                raise RegionError(f"{side:g} of a box lies outside the image; expected {EXPECTED}")
        if self.left >= self.right or self.top >= self.bottom:
            raise RegionError(f"the box {self} is empty; expected {EXPECTED}")

    def __str__(self) -> str:
        """As it is typed; `parse_box` gives the same box again."""
        return ",".join(repr(float(side)).removesuffix(".0") for side in (self.left, self.top, self.right, self.bottom))

    def exact_cells(self, height: int, width: int) -> list[int]:
        """Row-major numbers of the cells of a map of H x W whose centre lies in the box; may be empty."""
        columns = [x for x in range(width) if self.left <= (x + 0.5) / width < self.right]
        rows = [y for y in range(height) if self.top <= (y + 0.5) / height < self.bottom]
        return [y * width + x for y in rows for x in columns]

    def cells(self, height: int, width: int) -> list[int]:
        """As `exact_cells`, but never empty: at least the cell in which the box's own centre lies."""
        middle_x = min(int((self.left + self.right) / 2 * width), width - 1)
        middle_y = min(int((self.top + self.bottom) / 2 * height), height - 1)
        return self.exact_cells(height, width) or [middle_y * width + middle_x]


def parse_box(text: str) -> Box:
    """Read a box as a person types it.

    Raises:
        RegionError: It is not four numbers, or they are no box.
    """
    parts = text.split(",")
    try:
        left, top, right, bottom = (float(part) for part in parts)
    except ValueError:
        raise RegionError(f"{text[:80]!r} is no box; expected {EXPECTED}") from None
    return Box(left, top, right, bottom)


def split_region(text: str) -> tuple[str, Box]:
    """Read a region as a person types it: `rex@0,0.3,0.5,1`, or a prompt in the place of the concept's name.

    Returns:
        What stands before the last `@`, and the box behind it.

    Raises:
        RegionError: There is no `@`, nothing before it, or no box behind it.
    """
    what, _, box = text.rpartition("@")
    if not what.strip() or len(text) > MAX_TEXT:
        raise RegionError(f"{text[:80]!r} is no region; expected NAME@{EXPECTED}")
    return what.strip(), parse_box(box)


def is_prompt(what: str) -> bool:
    """Tell whether what stands before the `@` is a prompt of its own: names of concepts hold no blank and no `<`."""
    return any(char.isspace() or char == "<" for char in what)
