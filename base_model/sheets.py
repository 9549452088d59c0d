"""Contact sheets: rows of pictures, each with a line of text before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

GAP = 2  # pixels
LABEL_WIDTH = 250  # pixels; the longest prompt of the evaluation in Pillow's own font


def contact_sheet(rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]], path: Path, scale: int) -> None:
    """Write rows of equally large pictures as one PNG.

    Args:
        rows: A label and pictures, uint8 (H, W, 3); without any label the column of labels is left out.
        path: Where to write.
        scale: Whole number by which the pictures are enlarged.
    """
    height, width = (side * scale + GAP for side in rows[0][1][0].shape[:2])
    left = LABEL_WIDTH if any(label for label, _ in rows) else 0
    columns = max(len(pictures) for _, pictures in rows)
    sheet = Image.new("RGB", (left + columns * width, len(rows) * height), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (label, pictures) in enumerate(rows):
        pen.text((4, row * height + height // 2 - 6), label, fill="black")
        for column, picture in enumerate(pictures):
            enlarged = Image.fromarray(picture).resize((width - GAP, height - GAP), Image.Resampling.NEAREST)
            sheet.paste(enlarged, (left + column * width, row * height))
    sheet.save(path, optimize=True)
