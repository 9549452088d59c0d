"""`cns diff --images`: two models side by side, with the pictures that `cns generate` makes of each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cns.families import family_named
from cns_cli.porcelain.diff import diff, sheet
from cns_cli.porcelain.generate import generate
from cns_cli.porcelain.options import GenerateOptions
from cns_cli.progress import NullProgress
from cns_cli.sheets import GAP, LABEL_HEIGHT, MARGIN, ROW_GAP, TILE, TITLE_HEIGHT

EDGE = 16  # pixels of a card that its rounded corners may touch


def shown(drawn: Image.Image, row: int, column: int) -> np.ndarray:
    """A picture of the sheet in its own 64 pixels, without its edge."""
    top = MARGIN + TITLE_HEIGHT + LABEL_HEIGHT + row * (LABEL_HEIGHT + TILE + ROW_GAP) + LABEL_HEIGHT
    left = MARGIN + column * (TILE + GAP)
    pixels = np.asarray(drawn)[top + EDGE : top + TILE - EDGE, left + EDGE : left + TILE - EDGE]
    return pixels[::2, ::2]


def made(folder: Path, prompt: str, at: str, seed: int) -> np.ndarray:
    out = folder / "one.png"
    generate(GenerateOptions(start=folder, prompt=prompt, at=at, out=out, seed=seed, device="cpu"), NullProgress())
    with Image.open(out) as image:
        return np.asarray(image.convert("RGB"))[EDGE // 2 : -EDGE // 2, EDGE // 2 : -EDGE // 2]


def test_each_side_shows_what_its_model_draws(learned: Path) -> None:
    """A lacks tom and reads its class noun; B has both."""
    found = diff(learned, "HEAD~1")
    data = sheet(learned, found, n=1, seed=7, device="cpu", progress=NullProgress())
    (learned / "sheet.png").write_bytes(data)
    with Image.open(learned / "sheet.png") as image:
        drawn = image.convert("RGB")
    template = family_named("sd-1").objects.judge[0]
    without, with_tom = shown(drawn, 1, 0), shown(drawn, 1, 1)
    assert np.array_equal(without, made(learned, template.replace("{}", "cat"), "HEAD~1", 7))
    assert np.array_equal(with_tom, made(learned, template.replace("{}", "<tom> cat"), "HEAD", 7))
    assert not np.array_equal(without, with_tom)
