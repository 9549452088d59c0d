"""A folder of training images, read safely, turned upright and cut square.

Folders come from anywhere, so nothing in one is trusted: a file is opened by a descriptor that follows no link and is
looked at before it is read (regular, not too large), one file is decoded within fixed bounds (`decoding.py`), and all
files together have bounds too. What would spoil the training is an error that names each file; what makes a poor set
of images is said (`shortcomings.py`).

Captions beside the images are taken along (`captionfiles.py`).

The module knows Pillow and numpy, no torch: a bad folder is refused before anything heavy is imported.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from cns.errors import ImageError
from cns.files.captionfiles import read_captions
from cns.files.decoding import DECODE_ERRORS, FORMATS, NEEDS_HEIC, OTHER_COST, TrainingImage, decode, heic_readable
from cns.files.plain import read_regular_file, reason_of
from cns.files.shortcomings import shortcomings

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".avif")
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
OTHER_IMAGE_SUFFIXES = (*HEIC_SUFFIXES, ".gif", ".tif", ".tiff", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".nef")

MAX_IMAGES = 1_000
MAX_FILE_BYTES = 100_000_000
MAX_FOLDER_BYTES = 300_000_000
# In pixels of JPEG, of which a slow machine decodes some 60 million a second: 100 million pixels of another format.
MAX_FOLDER_COST = 300_000_000
MAX_SET_BYTES = 192 * 2**20  # of the decoded squares: they are kept in memory, and as one object of the registry


@dataclass(frozen=True)
class ImageSet:
    """The training images of one concept, in the order of their names.

    Attributes:
        images: At least one.
        pixels: All of them, shape (N, R, R, 3), uint8, sRGB.
        caption_sources: Where captions come from, such as "metadata.csv"; empty if there are none.
        warnings: What was left out, and what makes these images a poor set, a sentence each.
    """

    images: tuple[TrainingImage, ...]
    pixels: NDArray[np.uint8]
    caption_sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def captions(self) -> tuple[str | None, ...]:
        """Caption of each image, or None."""
        return tuple(image.caption for image in self.images)

    def with_captions(self, captions: Sequence[str | None]) -> ImageSet:
        """The same images with these captions, one for each."""
        pairs = zip(self.images, captions, strict=True)
        return replace(self, images=tuple(replace(image, caption=caption) for image, caption in pairs))


def scan_folder(folder: Path) -> list[Path]:
    """The files of a folder that are to be training images, by their names alone: a check that costs nothing.

    Raises:
        ImageError: there is no such folder, or it has no image.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "not there"
        raise ImageError(
            f"{folder} is {what}: expected a folder with about five images",
            "Put the images in a folder: cns add NAME FOLDER",
            folder=folder,
        )
    try:
        paths = sorted((path for path in folder.iterdir() if _is_candidate(path)), key=_natural_order)
    except OSError as error:
        raise ImageError(f"{folder} cannot be read: {reason_of(error)}", folder=folder) from error
    if len(paths) > MAX_IMAGES:
        raise ImageError(
            f"{folder} holds {len(paths):,} images: expected at most {MAX_IMAGES:,}, and about five are enough",
            "Put the best few in a folder of their own: cns add NAME FOLDER",
            folder=folder,
        )
    if not paths:
        raise ImageError(
            f"no image in {folder}: expected files ending in {', '.join(SUFFIXES)}",
            _no_image_hint(folder),
            folder=folder,
        )
    return paths


def load_images(folder: Path, resolution: int) -> ImageSet:
    """Read all images of a folder as squares of one size.

    Each is turned by its EXIF orientation, laid over white where it is transparent, cut to its central square and
    resized by Lanczos. Of an animation the first frame is taken.

    Args:
        folder: Where the images are; not searched below its first level.
        resolution: Side R in pixels.

    Raises:
        ImageError: no image, or one that cannot be read: `bad` names each, and nothing is left out silently.
    """
    paths = scan_folder(folder)
    if len(paths) * 3 * resolution**2 > MAX_SET_BYTES:
        raise _too_much(folder, f"{len(paths)} images of {resolution}x{resolution} pixels are more than a set may have")
    captions = read_captions(folder, paths)
    budget = _Budget(folder)
    pixels = np.empty((len(paths), resolution, resolution, 3), np.uint8)
    images, bad = [], []
    for place, path in enumerate(paths):
        try:
            data = read_regular_file(path, MAX_FILE_BYTES)
            budget.read(len(data))
            seen = decode(data, resolution, budget.decode)
        except UnidentifiedImageError:
            bad.append((path.name, f"no image, or not one of {', '.join(FORMATS)}"))
            continue
        except DECODE_ERRORS as error:
            bad.append((path.name, reason_of(error)))
            continue
        name = path.name.encode("utf-8", "backslashreplace").decode("utf-8")  # a record holds no broken UTF-8
        digest = hashlib.sha256(data).hexdigest()
        images.append(TrainingImage(name, captions.texts.get(path.name), digest, seen.size, seen.profile_used))
        pixels[place] = seen.pixels
    if bad:
        listed = "; ".join(f"{name}: {reason}" for name, reason in bad[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise ImageError(
            f"{len(bad)} of {len(paths)} images in {folder} cannot be read: {listed}{more}",
            "Replace these files or take them out of the folder, then type the command again",
            folder=folder,
            bad=bad,
        )
    warnings = (*_skipped(folder), *captions.left, *shortcomings(images, pixels))
    return ImageSet(tuple(images), pixels, captions.sources, warnings)


class _Budget:
    """What the files of one folder may cost together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bytes = 0
        self.cost = 0.0

    def read(self, size: int) -> None:
        self.bytes += size
        if self.bytes > MAX_FOLDER_BYTES:
            raise _too_much(self.folder, f"its images have more than {MAX_FOLDER_BYTES:,} bytes in all")

    def decode(self, cost: float) -> None:
        self.cost += cost
        if self.cost > MAX_FOLDER_COST:
            most = f"{MAX_FOLDER_COST / 1e6:.0f} million in JPEG files, or {MAX_FOLDER_COST / OTHER_COST / 1e6:.0f}"
            raise _too_much(self.folder, f"its images have too many pixels in all: expected at most {most} in others")


def _too_much(folder: Path, reason: str) -> ImageError:
    return ImageError(
        f"{folder} holds too much: {reason}",
        "Use fewer images, or shrink them first: sides of 1,000 pixels are plenty",
        folder=folder,
    )


def _is_candidate(path: Path) -> bool:
    """Whether a file name asks to be taken as a training image."""
    name = path.name.lower()
    is_mask = name.endswith("-masklabel.png")
    return (
        name.endswith((*SUFFIXES, *HEIC_SUFFIXES) if heic_readable() else SUFFIXES)
        and not name.startswith(".")
        and not is_mask
        and (path.is_symlink() or not path.is_dir())
    )


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts 2.png before 10.png."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]


def _skipped(folder: Path) -> list[str]:
    """Files that a person may have meant as images, and why they were not taken."""
    skipped = []
    for path in sorted(folder.iterdir(), key=_natural_order):
        name = path.name.lower()
        if name.startswith("."):
            continue
        if name.endswith("-masklabel.png"):
            skipped.append(f"skipped {path.name}: a mask; masks are not used")
        elif name.endswith(HEIC_SUFFIXES):
            skipped += [] if heic_readable() else [f"skipped {path.name}: {NEEDS_HEIC}"]
        elif name.endswith(OTHER_IMAGE_SUFFIXES):
            skipped.append(f"skipped {path.name}: not one of {', '.join(FORMATS)}")
    return skipped


def _no_image_hint(folder: Path) -> str:
    """Where the images might be instead."""
    others = [path.name for path in sorted(folder.iterdir()) if path.name.lower().endswith(OTHER_IMAGE_SUFFIXES)]
    if any(name.lower().endswith(HEIC_SUFFIXES) for name in others):
        return f"pip install 'cns-cli[heic]'   (reads {others[0]}; or convert it to JPEG)"
    if others:
        return f"Convert {others[0]} to JPEG or PNG first"
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.is_symlink() and any(_is_candidate(path) for path in child.iterdir()):
            return f"There are images one level down: cns add NAME '{child}'"
    return "Put about five images of the concept there, then type the command again"
