"""Contact sheets: rows of small pictures with a label, as one PNG that is pleasant to look at.

A sheet answers "what did it learn?" at a glance: references above, generated images below, same order, same size. Small
pictures are enlarged by whole factors without smoothing where they are drawings of few pixels, and smoothly otherwise.
The module knows pictures and labels, nothing of concepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from cns_cli.mark import MADE_BY_MODEL, marked
from cns_cli.output import safe

Row = tuple[str, Sequence[Image.Image]]

TILE = 128  # pixels: two 64-pixel drawings a tile side, a readable thumbnail of a photo
GAP = 10
ROW_GAP = 16
MARGIN = 24
LABEL_HEIGHT = 26
TITLE_HEIGHT = 46
SMALL = 128  # up to this side a picture is enlarged by NEAREST in whole steps first
PAPER, CARD, INK, FAINT = "#faf9f7", "#ffffff", "#26241f", "#8a857b"
MAX_LABEL = 120


def as_png(sheet: Image.Image, source_type: str = MADE_BY_MODEL) -> bytes:
    """Return a sheet as a PNG that says in XMP where its pictures come from; see `cns_cli.mark`."""
    buffer = BytesIO()
    sheet.save(buffer, format="PNG", pnginfo=marked(source_type))  # `optimize` takes ten times as long, for 1 %
    return buffer.getvalue()


def contact_sheet(rows: Sequence[Row], *, title: str = "", heads: Sequence[str] = (), tile: int = TILE) -> Image.Image:
    """Lay out labelled rows of pictures on one sheet.

    Args:
        rows: (label, pictures) from top to bottom; rows may differ in length.
        title: A line above the first row.
        heads: Headings, each above as many columns as the others.
        tile: Side of each picture on the sheet, pixels.

    Returns:
        The sheet, RGB.
    """
    longest = max((len(pictures) for _, pictures in rows), default=0)
    head = TITLE_HEIGHT * bool(title) + LABEL_HEIGHT * bool(heads)
    height = 2 * MARGIN + head + len(rows) * (LABEL_HEIGHT + tile + ROW_GAP) - (ROW_GAP if rows else 0)
    texts = [(title, font(22))] * bool(title) + [(label, font(15)) for label, _ in rows]
    measure = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    widest = max((int(measure.textlength(_printable(text), font=face)) for text, face in texts), default=0)
    pictures_width = longest * (tile + GAP) - GAP
    sheet = Image.new("RGB", (2 * MARGIN + max(pictures_width, min(widest, 8 * tile), tile), height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if title:
        draw.text((MARGIN, MARGIN - 6), _printable(title), font=font(22), fill=INK)
    top = MARGIN + head
    for place, text in enumerate(heads):
        left = MARGIN + place * (longest // len(heads)) * (tile + GAP)
        draw.text((left, top - LABEL_HEIGHT), _printable(text), font=font(15), fill=FAINT)
    for label, pictures in rows:
        draw.text((MARGIN, top), _printable(label), font=font(15), fill=INK if pictures else FAINT)
        for i, picture in enumerate(pictures):
            _place(sheet, picture, MARGIN + i * (tile + GAP), top + LABEL_HEIGHT, tile)
        top += LABEL_HEIGHT + tile + ROW_GAP
    return sheet


def _place(sheet: Image.Image, picture: Image.Image, left: int, top: int, tile: int) -> None:
    """Paste a picture, fitted into a square card with rounded corners and a thin edge."""
    fitted = _fitted(picture.convert("RGB"), tile)
    card = Image.new("RGB", (tile, tile), CARD)
    card.paste(fitted, ((tile - fitted.width) // 2, (tile - fitted.height) // 2))
    # The mask is drawn four times as large: PIL draws corners without smoothing.
    corner = Image.new("L", (4 * tile, 4 * tile), 0)
    ImageDraw.Draw(corner).rounded_rectangle((0, 0, 4 * tile - 1, 4 * tile - 1), radius=32, fill=255)
    sheet.paste(card, (left, top), corner.resize((tile, tile), Image.Resampling.LANCZOS))
    edge = ImageDraw.Draw(sheet)
    edge.rounded_rectangle((left, top, left + tile - 1, top + tile - 1), radius=8, outline="#e4e1da")


def _fitted(picture: Image.Image, tile: int) -> Image.Image:
    """Scale a picture to fit a square: whole steps by NEAREST while it is small, the rest by LANCZOS."""
    side = max(picture.size)
    if side <= SMALL and tile >= 2 * side:
        factor = tile // side
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
        side *= factor
    if side == tile:
        return picture
    size = (max(1, round(picture.width * tile / side)), max(1, round(picture.height * tile / side)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _printable(text: str) -> str:
    """Return a label that fits one line and holds no control character."""
    line = safe(text)
    return line if len(line) <= MAX_LABEL else line[: MAX_LABEL - 1] + "…"


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font, so that a sheet looks the same on every machine."""
    return ImageFont.load_default(size)
