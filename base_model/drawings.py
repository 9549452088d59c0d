"""Drawings: every icon of the packages as 64 px RGBA, with its artist and its label.

Labels are those of the Unicode CLDR, whose slugs are the icons' keys (FxEmoji has keys of its own, so its drawings
are asked for one by one). Icons that no label names, hidden aliases and skin-tone variants are left out.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base_model.backgrounds import SIZE
from base_model.sources import ICON_SOURCES, NAMES_SOURCE, Source, read_json

OBJECT_GROUPS = frozenset({3, 4, 5, 6, 7})  # emojibase: animals, food, travel, activities, objects
COMPONENT_GROUP = 2  # skin tones and hair: no drawings of their own

Rgba = NDArray[np.uint8]


@dataclass(frozen=True)
class Label:
    """What one drawing shows: CLDR label, its slug, its emojibase group and the tags that people search it by."""

    artist: str
    slug: str
    label: str
    group: int
    tags: tuple[str, ...]


def render_drawings(packages: Path, folder: Path) -> None:
    """Render every labelled drawing of the artists that the base is trained on; writes `drawings.npy`, `.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    labels, pixels = [], []
    for source in ICON_SOURCES:
        if source.is_trained_on:
            for label, drawing in labelled_drawings(source, packages):
                labels.append(label)
                pixels.append(drawing)
    np.save(folder / "drawings.npy", np.stack(pixels))
    (folder / "drawings.json").write_text(json.dumps([asdict(label) for label in labels]))


def load_drawings(folder: Path) -> tuple[Rgba, list[Label]]:
    """Read what `render_drawings` wrote: uint8 (N, 64, 64, 4), straight alpha, and N labels."""
    entries = json.loads((folder / "drawings.json").read_text())
    labels = [Label(**{**entry, "tags": tuple(entry["tags"])}) for entry in entries]
    return np.load(folder / "drawings.npy"), labels


def labelled_drawings(source: Source, packages: Path) -> Iterator[tuple[Label, Rgba]]:
    """Every drawing of one package that a CLDR label names, in the package's order."""
    named = {slug(entry["label"]): entry for entry in read_json(NAMES_SOURCE, packages, "en/data.json")}
    icons = read_json(source, packages, "icons.json")
    for key, icon in icons["icons"].items():
        entry = named.get(key)
        if icon.get("hidden") or entry is None or entry.get("group", COMPONENT_GROUP) == COMPONENT_GROUP:
            continue
        label = Label(source.artist, key, entry["label"], entry["group"], tuple(entry.get("tags", ())))
        yield label, render_icon(icons, key)


def slug(label: str) -> str:
    """Write a label as the icons' keys are written: "red apple" is "red-apple"."""
    bare = re.sub("['’]", "", label.lower())
    return re.sub("[^a-z0-9]+", "-", bare).strip("-")


def render_icon(icons: dict, key: str) -> Rgba:
    """Render one icon of an Iconify set.

    Args:
        icons: The set, as its `icons.json` holds it.
        key: The icon's key.

    Returns:
        uint8 (64, 64, 4), straight alpha.
    """
    import resvg_py  # here, so that composing scenes from saved drawings needs no renderer

    icon = icons["icons"][key]
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    box = f"{icon.get('left', 0)} {icon.get('top', 0)} {width} {height}"
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{box}" width="{SIZE}" height="{SIZE}">{icon["body"]}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, skip_system_fonts=True))
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA").resize((SIZE, SIZE), Image.Resampling.LANCZOS))
