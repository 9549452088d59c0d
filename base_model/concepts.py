"""The demo's concepts: drawings by an artist that the base never saw, and the same nouns by five others.

`examples/concepts/<noun>/` holds a few pictures of one FxEmoji drawing, as a user would bring them: the same thing in
front of different backgrounds. `benchmarks/other_artists/<noun>/<artist>/` holds the same noun by the base's four
artists and by Twemoji, composed in the same way, so that "nearer to its own references than to anybody else's" can be
asked. `similarity_table` shows that the base was not trained on anything like a reference.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image

from base_model.backgrounds import paint_background
from base_model.drawings import Rgba, labelled_drawings, render_icon
from base_model.scenes import place_large
from base_model.sources import ICON_SOURCES, Source, read_json
from base_model.vocabulary import NOUN_OF_LABEL, PHRASES

CONCEPT_ARTIST = "fxemoji"
# Noun, and FxEmoji's own name of the icon.
CONCEPT_ICONS = {
    "dog": "dog", "cat": "cat", "frog": "frog", "penguin": "penguin", "koala": "koala", "turtle": "turtle",
    "guitar": "guitar", "car": "automobile", "rocket": "rocket", "hamburger": "hamburger", "apple": "redapple",
    "tulip": "tulip",
}  # fmt: skip
REFERENCES_PER_CONCEPT = 6
PICTURES_PER_ARTIST = 4
SEED = 778


@dataclass(frozen=True)
class ConceptDrawing:
    """One drawing of a concept's noun."""

    noun: str
    artist: str
    icon: str
    pixels: Rgba


def write_concepts(packages: Path, examples: Path, benchmarks: Path) -> None:
    """Write the concept folders, the other artists' folders, and `concepts.json`; what was there is replaced."""
    rng = np.random.default_rng(SEED)
    for folder in (examples, benchmarks):
        shutil.rmtree(folder, ignore_errors=True)
    table = {}
    for drawing in concept_drawings(packages):
        write_pictures(drawing, examples / drawing.noun, REFERENCES_PER_CONCEPT, rng, captioned=True)
        table[drawing.noun] = _entry(drawing)
    for drawing in other_drawings(packages):
        write_pictures(drawing, benchmarks / drawing.noun / drawing.artist, PICTURES_PER_ARTIST, rng)
    (examples / "concepts.json").write_text(json.dumps(table, indent=2) + "\n")


def concept_drawings(packages: Path) -> list[ConceptDrawing]:
    """The FxEmoji drawing of every concept."""
    icons = read_json(source_of(CONCEPT_ARTIST), packages, "icons.json")
    return [
        ConceptDrawing(noun, CONCEPT_ARTIST, icon, render_icon(icons, icon)) for noun, icon in CONCEPT_ICONS.items()
    ]


def other_drawings(packages: Path) -> Iterator[ConceptDrawing]:
    """The drawings of the concepts' nouns by every other artist."""
    for source in ICON_SOURCES:
        if source.artist != CONCEPT_ARTIST:
            for label, pixels in labelled_drawings(source, packages):
                if NOUN_OF_LABEL.get(label.label) in CONCEPT_ICONS:
                    yield ConceptDrawing(NOUN_OF_LABEL[label.label], label.artist, label.slug, pixels)


def compose_pictures(drawing: Rgba, count: int, rng: Generator) -> list[tuple[str, Image.Image]]:
    """Pictures of a drawing, each in front of another kind of background, which the phrase names."""
    pictures = []
    for phrase in rng.permutation(np.array(PHRASES))[:count]:
        canvas = Image.fromarray(paint_background(str(phrase), rng))
        place_large(canvas, drawing, rng)
        pictures.append((str(phrase), canvas))
    return pictures


def write_pictures(
    drawing: ConceptDrawing, folder: Path, count: int, rng: Generator, *, captioned: bool = False
) -> None:
    """Write numbered pictures; captions say what the background is, so that it is not learned with the concept."""
    folder.mkdir(parents=True)
    for number, (phrase, picture) in enumerate(compose_pictures(drawing.pixels, count, rng)):
        picture.save(folder / f"{number:02d}.png", optimize=True)
        if captioned:
            (folder / f"{number:02d}.txt").write_text(f"a {{name}} {drawing.noun} {phrase}\n")


def _entry(drawing: ConceptDrawing) -> dict[str, str]:
    source = source_of(drawing.artist)
    return {
        "class_noun": drawing.noun,
        "artist": drawing.artist,
        "package": f"{source.package}@{source.version}",
        "icon": drawing.icon,
        "licence": source.licence,
        "source": source.url,
    }


def source_of(artist: str) -> Source:
    """The package of an artist's drawings."""
    return next(source for source in ICON_SOURCES if source.artist == artist)
