"""Contact sheets of generated images: one of a single model, and one that travels through history."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from PIL import Image

from cns.sampling import Pixels
from cns_cli.figures import short_id
from cns_cli.porcelain.pictures.plan import Stop
from cns_cli.sheets import TILE, Row, contact_sheet

LARGE_TILE = 256  # pixels, for images that are larger than a small tile
WIDE = 8
"""Columns of a sheet, until it would be longer than wide."""


def small_copies(batches: Iterable[Pixels], side: int) -> list[Image.Image]:
    """Images no larger than a sheet shows them, so that a thousand of 512x512 pixels are 200 MB and not 800.

    Args:
        batches: Arrays of shape (B, H, W, 3), uint8, each let go before the next is made.
        side: Of a tile, pixels.
    """
    copies = []
    for image in (Image.fromarray(one) for batch in batches for one in batch):
        if max(image.size) > side:
            image.thumbnail((side, side), Image.Resampling.LANCZOS)
        copies.append(image)
    return copies


def tile_of(size: int) -> int:
    """Side of a tile, pixels, for images of this side."""
    return TILE if size <= TILE else LARGE_TILE


def grid_sheet(prompt: str, tiles: Sequence[Image.Image], seeds: Sequence[int], side: int) -> Image.Image:
    """All images of one model, in rows as they come; each row says its seeds."""
    columns = max(min(WIDE, len(seeds)), math.isqrt(len(seeds)))
    rows: list[Row] = []
    for start in range(0, len(seeds), columns):
        part = seeds[start : start + columns]
        label = f"seed {part[0]}" if len(part) == 1 else f"seeds {part[0]} to {part[-1]}"
        rows.append((label, tiles[start : start + columns]))
    return contact_sheet(rows, title=prompt, tile=side)


def range_sheet(
    prompt: str, stops: Sequence[Stop], tiles: Mapping[str, Sequence[Image.Image]], used: Sequence[str], side: int
) -> Image.Image:
    """A row for each commit, the oldest first: its short id, its message, and which of the concepts used it lacks.

    Args:
        prompt: Stands above.
        stops: The commits.
        tiles: Id of each tree -> its images.
        used: Names of the concepts of the prompt.
        side: Of a tile, pixels.
    """
    rows: list[Row] = []
    for stop in stops:
        lacking = [name for name in used if name not in stop.tree.concepts]
        without = f"   (without {', '.join(lacking)})" if lacking else ""
        rows.append((f"{short_id(stop.commit_id)}  {stop.commit.subject}{without}", tiles[stop.commit.tree]))
    return contact_sheet(rows, title=prompt, tile=side)
