"""Scenes: one or two drawings on a background, each with the caption that says so.

A scene set is a function of (drawings, count, seed, kind) alone. Pairs of a noun and a background that the evaluation
asks for (`vocabulary.is_held_out`) never occur in a training set, and the sets that measure have seeds of their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from base_model.backgrounds import SIZE, Pixels, draw_phrase, paint_background
from base_model.drawings import OBJECT_GROUPS, Label, Rgba
from base_model.sources import STYLES
from base_model.vocabulary import NOUN_OF_LABEL, is_held_out, pair_caption, single_caption

PAIR_SHARE = 0.2
SMALL_SHARE = 0.12
STYLE_SHARE = 0.6
SECOND_STYLE_SHARE = 0.4
TILT_DEGREES = 3.0  # standard deviation; no flips: a flip doubles what must be learned


@dataclass(frozen=True)
class Artwork:
    """A drawing with the two words by which captions call it; `style` names the artist."""

    pixels: Rgba
    noun: str
    style: str

    def words(self, with_style: bool) -> str:
        """Style and noun, or the noun alone."""
        return f"{self.style} {self.noun}" if with_style else self.noun


@dataclass(frozen=True)
class Scene:
    """uint8 (64, 64, 3) and its caption."""

    pixels: Pixels
    caption: str


def noun_artworks(pixels: Rgba, labels: Sequence[Label]) -> list[Artwork]:
    """The drawings of the base's nouns."""
    return [
        Artwork(drawing, NOUN_OF_LABEL[label.label], STYLES[label.artist])
        for drawing, label in zip(pixels, labels, strict=True)
        if label.label in NOUN_OF_LABEL
    ]


def all_artworks(pixels: Rgba, labels: Sequence[Label], groups: frozenset[int] = OBJECT_GROUPS) -> list[Artwork]:
    """The drawings of every noun of some groups, under the whole CLDR label where the base has no shorter noun."""
    return [
        Artwork(drawing, NOUN_OF_LABEL.get(label.label, label.label), STYLES[label.artist])
        for drawing, label in zip(pixels, labels, strict=True)
        if label.group in groups
    ]


def scenes(artworks: Sequence[Artwork], count: int, seed: int, *, training: bool) -> Iterator[Scene]:
    """Compose scenes that show every drawing equally often.

    Args:
        artworks: What to show.
        count: How many scenes.
        seed: Of everything random.
        training: Leave out the pairs of noun and background that the evaluation asks for.
    """
    rng = np.random.default_rng(seed)
    queue = _endless_shuffles(len(artworks), rng)
    for _ in range(count):
        first = artworks[next(queue)]
        if rng.random() < PAIR_SHARE:
            yield _pair_scene(first, artworks[next(queue)], rng, training)
        else:
            yield _single_scene(first, rng, training)


def scene_arrays(produced: Iterator[Scene], count: int) -> tuple[NDArray[np.uint8], list[str]]:
    """Gather scenes into uint8 (count, 64, 64, 3) and captions."""
    pixels, captions = np.empty((count, SIZE, SIZE, 3), np.uint8), []
    for position, scene in enumerate(produced):
        pixels[position] = scene.pixels
        captions.append(scene.caption)
    return pixels, captions


def save_scenes(path: Path, pixels: NDArray[np.uint8], captions: Sequence[str]) -> None:
    """Write `<path>.npy` and `<path>.json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".npy"), pixels)
    path.with_suffix(".json").write_text(json.dumps(list(captions)))


def load_scenes(path: Path) -> tuple[NDArray[np.uint8], list[str]]:
    """Read what `save_scenes` wrote; the pixels stay on disk until they are indexed."""
    return np.load(path.with_suffix(".npy"), mmap_mode="r"), json.loads(path.with_suffix(".json").read_text())


def place(canvas: Image.Image, drawing: Rgba, centre: tuple[int, int], size: int, rng: Generator) -> None:
    """Paste a drawing onto a canvas in place, `size` pixels wide and a little tilted."""
    tilted = Image.fromarray(drawing).rotate(float(rng.normal(0, TILT_DEGREES)), Image.Resampling.BICUBIC)
    scaled = tilted.resize((size, size), Image.Resampling.LANCZOS)
    canvas.paste(scaled, (centre[0] - size // 2, centre[1] - size // 2), scaled)


def place_large(canvas: Image.Image, drawing: Rgba, rng: Generator) -> None:
    """Paste a drawing near the middle at the size of most scenes, in place."""
    centre = (32 + int(rng.integers(-4, 5)), 33 + int(rng.integers(-3, 4)))
    place(canvas, drawing, centre, int(rng.integers(44, 56)), rng)


def _single_scene(artwork: Artwork, rng: Generator, training: bool) -> Scene:
    phrase = _phrase_for((artwork.noun,), rng, training)
    canvas = Image.fromarray(paint_background(phrase, rng))
    small = bool(rng.random() < SMALL_SHARE)
    if small:
        centre = (int(rng.integers(20, 45)), int(rng.integers(22, 45)))
        place(canvas, artwork.pixels, centre, int(rng.integers(24, 30)), rng)
    else:
        place_large(canvas, artwork.pixels, rng)
    style = artwork.style if rng.random() < STYLE_SHARE else None
    return Scene(np.asarray(canvas), single_caption(artwork.noun, phrase, style, small))


def _pair_scene(first: Artwork, second: Artwork, rng: Generator, training: bool) -> Scene:
    phrase = _phrase_for((first.noun, second.noun), rng, training)
    canvas = Image.fromarray(paint_background(phrase, rng))
    size = int(rng.integers(29, 33))
    for artwork, middle in ((first, 16), (second, 48)):
        centre = (middle + int(rng.integers(-1, 2)), 35 + int(rng.integers(-3, 4)))
        place(canvas, artwork.pixels, centre, size, rng)
    words = (first.words(rng.random() < STYLE_SHARE), second.words(rng.random() < SECOND_STYLE_SHARE))
    return Scene(np.asarray(canvas), pair_caption(*words, phrase))


def _phrase_for(nouns: Sequence[str], rng: Generator, training: bool) -> str:
    """Draw backgrounds until none of the nouns is held out on it."""
    while True:
        phrase = draw_phrase(rng)
        if not training or not any(is_held_out(noun, phrase) for noun in nouns):
            return phrase


def _endless_shuffles(count: int, rng: Generator) -> Iterator[int]:
    while True:
        yield from rng.permutation(count).tolist()
