"""The heat map of a concept's neurons as a picture: layers from top to bottom, K and V side by side."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageDraw

from cns_cli import figures
from cns_cli.output import safe
from cns_cli.porcelain.views.neurons import BINS, MatrixNeurons, NeuronsResult
from cns_cli.sheets import FAINT, INK, PAPER, font

CELL, HEIGHT, GAP, MARGIN = 14, 18, 4, 24  # pixels
LABEL, FIGURE, TOP = 90, 76, 78
RAMP = ((236, 232, 223), (244, 165, 96), (180, 47, 40), (66, 10, 38))  # light to dark, also in grey


def neurons_picture(result: NeuronsResult) -> bytes:
    """Draw the heat map.

    Returns:
        A PNG; the same result gives the same bytes.
    """
    layers = list(dict.fromkeys(one.layer for one in result.matrices))
    panel = BINS * CELL + FIGURE
    below = (1 + len(result.overlaps[:20])) * HEIGHT + GAP if result.overlaps else 0
    size = (2 * MARGIN + LABEL + 2 * panel, TOP + len(layers) * (HEIGHT + GAP) + below + 2 * MARGIN)
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    most = max((max(one.bins) for one in result.matrices), default=0.0)
    _head(draw, result, panel, most)
    for one in result.matrices:
        left = MARGIN + LABEL + (panel if one.kind == "V" else 0)
        _strip(draw, one, left, TOP + layers.index(one.layer) * (HEIGHT + GAP), most)
    for row, layer in enumerate(layers):
        draw.text((MARGIN, TOP + row * (HEIGHT + GAP) + 2), safe(layer), font=font(13), fill=INK)
    _overlaps(draw, result, TOP + len(layers) * (HEIGHT + GAP) + MARGIN)
    buffer = BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def _head(draw: ImageDraw.ImageDraw, result: NeuronsResult, panel: int, most: float) -> None:
    title = f"{result.name}: {result.neurons:,} neurons, {figures.percent(result.share_kv)} of K/V"
    draw.text((MARGIN, 16), safe(title), font=font(18), fill=INK)
    note = f"light: none, dark: {figures.percent(most)} of the weights of a {BINS}th of the inputs"
    draw.text((MARGIN + LABEL + panel, 56), f"V     {note}", font=font(12), fill=FAINT)
    draw.text((MARGIN + LABEL, 56), "K", font=font(12), fill=FAINT)


def _strip(draw: ImageDraw.ImageDraw, one: MatrixNeurons, left: int, top: int, most: float) -> None:
    for place, share in enumerate(one.bins):
        box = (left + place * CELL, top, left + (place + 1) * CELL - 2, top + HEIGHT - 1)
        draw.rectangle(box, fill=_colour(share / most if most else 0.0))
    text = figures.percent(one.share)
    draw.text((left + BINS * CELL + 4, top + 2), text, font=font(12), fill=INK)


def _overlaps(draw: ImageDraw.ImageDraw, result: NeuronsResult, top: int) -> None:
    for row, one in enumerate(result.overlaps[:20]):
        text = f"{figures.percent(one.share)} of them are {one.name}'s, too; chance: {figures.percent(one.chance)}"
        draw.text((MARGIN, top + row * HEIGHT), safe(text), font=font(13), fill=INK)


def _colour(level: float) -> tuple[int, int, int]:
    """A colour of the ramp, for a level from 0 to 1."""
    place = min(max(level, 0.0), 1.0) * (len(RAMP) - 1)
    lower = min(int(place), len(RAMP) - 2)
    mixed = [round(a + (b - a) * (place - lower)) for a, b in zip(RAMP[lower], RAMP[lower + 1], strict=True)]
    return mixed[0], mixed[1], mixed[2]
