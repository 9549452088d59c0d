"""Contact sheets of generated images: one of a single model, and one that travels through history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from PIL import Image

from cns.sampling import Pixels
from cns_cli.figures import short_id
from cns_cli.porcelain.pictures.plan import Stop
from cns_cli.sheets import TILE, Row, contact_sheet

LARGE_TILE = 256  # pixels, for images that are larger than a small tile
WIDE = 8
"""Columns of a sheet, until it would be longer than wide."""


@dataclass
class Tiles:
    """Images no larger than a sheet shows them, so that a thousand of 512x512 pixels are 200 MB and not 800."""

    side: int
    images: list[Image.Image] = field(default_factory=list)

    def add(self, pixels: Pixels) -> None:
        """Take a batch, shape (B, H, W, 3), uint8."""
        for one in pixels:
            image = Image.fromarray(one)
            if max(image.size) > self.side:
                image.thumbnail((self.side, self.side), Image.Resampling.LANCZOS)
            self.images.append(image)


def tile_of(size: int) -> int:
    """Side of a tile, pixels, for images of this side."""
    return TILE if size <= TILE else LARGE_TILE


def grid_sheet(prompt: str, tiles: Tiles, seeds: Sequence[int], side: int) -> Image.Image:
    """All images of one model, in rows as they come; each row says its seeds."""
    columns = max(min(WIDE, len(seeds)), math.isqrt(len(seeds)))
    rows: list[Row] = []
    for start in range(0, len(seeds), columns):
        part = seeds[start : start + columns]
        label = f"seed {part[0]}" if len(part) == 1 else f"seeds {part[0]} to {part[-1]}"
        rows.append((label, tiles.images[start : start + columns]))
    return contact_sheet(rows, title=prompt, tile=side)


def range_sheet(
    prompt: str, stops: Sequence[Stop], tiles: Sequence[Tiles], missing: Sequence[Sequence[str]], side: int
) -> Image.Image:
    """A row for each commit, the oldest first: its short id, its message, and which concepts of the prompt it lacks."""
    rows: list[Row] = []
    for stop, images, lacking in zip(stops, tiles, missing, strict=True):
        without = f"   (without {', '.join(lacking)})" if lacking else ""
        rows.append((f"{short_id(stop.commit_id)}  {stop.commit.subject}{without}", images.images))
    return contact_sheet(rows, title=prompt, tile=side)
