"""The twenty backgrounds: twelve plain colours and eight drawn ones, each a little different every time.

A painter takes the random generator and returns uint8 RGB of shape (64, 64, 3). None of them needs a picture from
outside, so their licence is the project's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from base_model.vocabulary import COLOURS, DRAWN_PHRASES, PHRASES, PLAIN_PHRASES

SIZE = 64  # pixels, of every picture in the recipe
Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]


def paint_background(phrase: str, rng: Generator) -> Pixels:
    """Paint the background that a phrase of the vocabulary names."""
    if phrase in PLAIN_PHRASES:
        return _plain(COLOURS[phrase.split()[2]], rng)
    return _PAINTERS[phrase](rng)


def draw_phrase(rng: Generator) -> str:
    """Pick a background's phrase: plain and drawn ones are equally likely."""
    phrases = PLAIN_PHRASES if rng.random() < 0.5 else DRAWN_PHRASES
    return phrases[rng.integers(len(phrases))]


def _shade(colour: Colour, rng: Generator, spread: int = 12) -> NDArray[np.float64]:
    """A colour near the given one: every channel moves by up to `spread` levels of 255."""
    return np.clip(np.add(colour, rng.integers(-spread, spread + 1, 3)), 0, 255).astype(np.float64)


def _blank(colour: Colour = (0, 0, 0)) -> NDArray[np.float64]:
    return np.broadcast_to(np.asarray(colour, np.float64), (SIZE, SIZE, 3)).copy()


def _fill_gradient(canvas: NDArray, rows: slice, top: NDArray, bottom: NDArray) -> None:
    """Blend vertically from one colour to another over some rows of a canvas, in place."""
    count = rows.stop - rows.start
    share = np.linspace(0, 1, count)[:, None, None]
    canvas[rows] = top * (1 - share) + bottom * share


def _finish(canvas: NDArray) -> Pixels:
    return canvas.astype(np.uint8)


def _plain(colour: Colour, rng: Generator) -> Pixels:
    return _finish(_blank(tuple(_shade(colour, rng, 8))))


def _horizon(rng: Generator) -> int:
    return int(rng.integers(36, 46))


def _grass(rng: Generator) -> Pixels:
    canvas, horizon = _blank(), _horizon(rng)
    _fill_gradient(canvas, slice(0, horizon), _shade((120, 185, 240), rng), _shade((200, 230, 250), rng))
    _fill_gradient(canvas, slice(horizon, SIZE), _shade((110, 190, 80), rng), _shade((60, 140, 50), rng))
    return _finish(canvas)


def _beach(rng: Generator) -> Pixels:
    canvas, sand = _blank(), _horizon(rng)
    sea = sand - 10
    _fill_gradient(canvas, slice(0, sea), _shade((100, 190, 240), rng), _shade((180, 225, 245), rng))
    _fill_gradient(canvas, slice(sea, sand), _shade((40, 130, 190), rng), _shade((70, 170, 210), rng))
    _fill_gradient(canvas, slice(sand, SIZE), _shade((240, 220, 160), rng), _shade((220, 190, 120), rng))
    return _finish(canvas)


def _night_sky(rng: Generator) -> Pixels:
    canvas = _blank()
    _fill_gradient(canvas, slice(0, SIZE), _shade((10, 12, 40), rng, 6), _shade((40, 30, 80), rng, 8))
    stars = rng.integers(0, SIZE, (22, 2))
    canvas[stars[:, 0], stars[:, 1], :2] = 255
    canvas[stars[:, 0], stars[:, 1], 2] = rng.integers(180, 256, 22)
    return _finish(canvas)


def _snow(rng: Generator) -> Pixels:
    canvas, horizon = _blank(), _horizon(rng)
    _fill_gradient(canvas, slice(0, horizon), _shade((170, 195, 220), rng), _shade((220, 230, 240), rng))
    _fill_gradient(canvas, slice(horizon, SIZE), np.array((250, 252, 255)), _shade((215, 228, 240), rng))
    return _finish(canvas)


def _brick_wall(rng: Generator) -> Pixels:
    canvas = _blank((190, 180, 170))  # mortar
    base = tuple(_shade((175, 85, 65), rng).astype(int))
    for row in range(8):
        for left in range(-16 + 8 * (row % 2), SIZE, 16):
            canvas[row * 8 + 1 : row * 8 + 7, max(left + 1, 0) : max(left + 15, 0)] = _shade(base, rng, 10)
    return _finish(canvas)


def _wooden_table(rng: Generator) -> Pixels:
    canvas = _blank()
    base = tuple(_shade((170, 120, 75), rng).astype(int))
    for top in range(0, SIZE, 11):
        canvas[top : top + 11] = _shade(base, rng, 10)
        canvas[top] = np.multiply(base, 0.6)  # the gap between two planks
    return _finish(canvas)


def _checkerboard(rng: Generator) -> Pixels:
    canvas = _blank((245, 245, 245))
    rows, columns = np.indices((SIZE, SIZE)) // 8
    canvas[(rows + columns) % 2 == 1] = _shade((60, 60, 70), rng)
    return _finish(canvas)


def _sunset(rng: Generator) -> Pixels:
    canvas, horizon = _blank(), _horizon(rng)
    _fill_gradient(canvas, slice(0, horizon), _shade((250, 150, 80), rng), _shade((255, 215, 140), rng))
    _fill_gradient(canvas, slice(horizon, SIZE), _shade((90, 60, 110), rng), _shade((50, 35, 70), rng))
    return _finish(canvas)


_PAINTERS: dict[str, Callable[[Generator], Pixels]] = {
    "on the grass": _grass,
    "on the beach": _beach,
    "in the night sky": _night_sky,
    "in the snow": _snow,
    "in front of a brick wall": _brick_wall,
    "on a wooden table": _wooden_table,
    "on a checkerboard": _checkerboard,
    "at sunset": _sunset,
}
assert set(_PAINTERS) | set(PLAIN_PHRASES) == set(PHRASES)
