"""A folder of training images, read safely, turned upright and cut square.

Folders come from anywhere, so nothing in one is trusted: a file is opened by a descriptor that follows no link and is
looked at before it is read (regular, not too large), one file is decoded within fixed bounds (`decoding.py`), and all
files together have bounds too. What would spoil the training is an error that names each file; what makes a poor set
of images is said (`shortcomings.py`).

Captions and masks beside the images are taken along (`captionfiles.py`, `maskfiles.py`).

The module knows Pillow and numpy, no torch: a bad folder is refused before anything heavy is imported.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cns.errors import ImageError
from cns.files import jpegxl
from cns.files.captionfiles import read_captions
from cns.files.decoding import DECODE_ERRORS, FORMATS, NEEDS_HEIC, OTHER_COST, decode, decode_mask, heic_readable
from cns.files.maskfiles import LABEL, MaskFiles, find_masks
from cns.files.plain import read_regular_file, reason_of
from cns.files.shortcomings import shortcomings
from cns.files.trainingimage import ALPHA, TrainingImage, training_image

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".avif")
HEIC_SUFFIXES = (".heic", ".heif", ".hif")
OTHER_IMAGE_SUFFIXES = (
    *(*HEIC_SUFFIXES, jpegxl.SUFFIX, ".gif", ".tif", ".tiff", ".svg", ".psd", ".xcf", ".tga", ".ico", ".jp2", ".exr"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"),
)

_EXTRA = {
    **dict.fromkeys(HEIC_SUFFIXES, (heic_readable, NEEDS_HEIC)),
    jpegxl.SUFFIX: (jpegxl.readable, jpegxl.NEEDS_PLUGIN),
}
"""Suffixes that a further package reads: whether it is there, and what to say where it is not."""

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
        masks: Where the concept is in each, shape (N, R, R), uint8, 255 there, and all over where there is no mask;
            None where none has one.
        mask_sources: Where masks come from, such as "-masklabel.png files"; empty if there are none.
    """

    images: tuple[TrainingImage, ...]
    pixels: NDArray[np.uint8]
    caption_sources: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    masks: NDArray[np.uint8] | None = None
    mask_sources: tuple[str, ...] = ()

    @property
    def captions(self) -> tuple[str | None, ...]:
        """Caption of each image, or None."""
        return tuple(image.caption for image in self.images)

    @property
    def framings(self) -> NDArray[np.int32] | None:
        """How each was cut out (`cns.files.squares.Framing`), shape (N, 4); None where that is not known of all."""
        known = [image.framing for image in self.images if image.framing]
        return np.array(known, np.int32) if len(known) == len(self.images) else None

    @property
    def mask_digests(self) -> dict[str, str]:
        """Image name -> where its mask comes from, see `TrainingImage.mask`; of those that have one."""
        return {image.name: image.mask for image in self.images if image.mask}

    @property
    def masks_taken(self) -> str:
        """How many masks were taken from where, in a line: "5 of 5, from -masklabel.png files"; "" without any."""
        count = len(self.mask_digests)
        return f"{count} of {len(self.images)}, from {' and '.join(self.mask_sources)}" if count else ""

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
        paths = sorted((path for path in folder.iterdir() if _is_candidate(path)), key=natural_order)
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


def load_images(folder: Path, resolution: int, *, masks: bool = True, further: bool = False) -> ImageSet:
    """Read all images of a folder as squares of one size.

    Each is turned by its EXIF orientation, laid over white where it is transparent, cut to a square and resized by
    Lanczos. The square is the central one, or the one that keeps most of a mask. Of an animation the first frame is
    taken.

    Args:
        folder: Where the images are; not searched below its first level.
        resolution: Side R in pixels.
        masks: Read masks where there are any: files (`maskfiles.py`), else the transparency of a picture.
        further: They come beside images that are known already, so that a single one is not few.

    Raises:
        ImageError: no image, or one that cannot be read: `bad` names each, and nothing is left out silently.
    """
    paths = scan_folder(folder)
    if len(paths) * 3 * resolution**2 > MAX_SET_BYTES:
        raise _too_much(folder, f"{len(paths)} images of {resolution}x{resolution} pixels are more than a set may have")
    captions, found = read_captions(folder, paths), find_masks(folder, paths) if masks else MaskFiles()
    reading = _Reading(folder)
    pixels = np.empty((len(paths), resolution, resolution, 3), np.uint8)
    marked = np.full((len(paths), resolution, resolution), 255, np.uint8)
    images = []
    for place, path in enumerate(paths):
        with reading.noting(path.name):
            data, mask = reading.file(path), reading.mask(found.files.get(path.name))
            alpha = masks and path.name not in found.files
            seen = decode(data, resolution, reading.spend, mask and mask[0], alpha=alpha)
            pixels[place] = seen.pixels
            if seen.mask is not None:
                marked[place] = seen.mask
            digest = mask[1] if mask else None
            images.append(training_image(path, data, captions.texts.get(path.name), seen, digest))
    reading.check(len(paths))
    digests = {image.mask for image in images}
    sources = (*found.sources, *(["transparency"] if ALPHA in digests else []))
    poor = shortcomings(images, pixels, further=further)
    warnings = (*_skipped(folder), *captions.left, *found.left, *reading.left(), *poor)
    kept = marked if any(digests) else None
    return ImageSet(tuple(images), pixels, captions.sources, warnings, kept, sources)


class _Reading:
    """The files of one folder as they are read: what they may cost together, and what is wrong with them.

    Attributes:
        black: Masks that mark nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.black: list[str] = []
        self._folder = folder
        self._bad: list[tuple[str, str]] = []
        self._bytes = 0
        self._cost = 0.0

    def file(self, path: Path) -> bytes:
        data = read_regular_file(path, MAX_FILE_BYTES)
        self._bytes += len(data)
        if self._bytes > MAX_FOLDER_BYTES:
            raise _too_much(self._folder, f"its images have more than {MAX_FOLDER_BYTES:,} bytes in all")
        return data

    def mask(self, path: Path | None) -> tuple[Image.Image, str] | None:
        """A mask and the digest of its file; None without one, or where it marks nothing."""
        if path is None:
            return None
        name = path.name if path.parent == self._folder else f"{path.parent.name}/{path.name}"
        with self.noting(name):
            data = self.file(path)
            if (mask := decode_mask(data, self.spend)) is not None:
                return mask, hashlib.sha256(data).hexdigest()
            self.black.append(name)
        return None

    def left(self) -> Iterator[str]:
        """What was not used, a sentence each."""
        if self.black:
            more = f" ({len(self.black) - 1} more like it)" if len(self.black) > 1 else ""
            yield f"masks: {self.black[0]} is black all over{more}, so that its picture is trained on as a whole"

    def spend(self, cost: float) -> None:
        self._cost += cost
        if self._cost > MAX_FOLDER_COST:
            most = f"{MAX_FOLDER_COST / 1e6:.0f} million in JPEG files, or {MAX_FOLDER_COST / OTHER_COST / 1e6:.0f}"
            raise _too_much(self._folder, f"its images have too many pixels in all: expected at most {most} in others")

    @contextmanager
    def noting(self, name: str) -> Iterator[None]:
        """Note why a file cannot be read, and go on."""
        try:
            yield
        except UnidentifiedImageError:
            self._bad.append((name, f"no image, or not one of {', '.join(FORMATS)}"))
        except DECODE_ERRORS as error:
            self._bad.append((name, reason_of(error)))

    def check(self, total: int) -> None:
        """Raise ImageError where a file could not be read."""
        if not self._bad:
            return
        listed = "; ".join(f"{name}: {reason}" for name, reason in self._bad[:5])
        more = f"; and {len(self._bad) - 5} more" if len(self._bad) > 5 else ""
        hint = "Replace these files or take them out of the folder, then type the command again"
        raise ImageError(
            f"{len(self._bad)} of {total} images in {self._folder} cannot be read: {listed}{more}",
            f"{hint}; or leave masks out: --no-masks" if "mask" in listed else hint,
            folder=self._folder,
            bad=self._bad,
        )


def _too_much(folder: Path, reason: str) -> ImageError:
    return ImageError(
        f"{folder} holds too much: {reason}",
        "Use fewer images, or shrink them first: sides of 1,000 pixels are plenty",
        folder=folder,
    )


def _is_candidate(path: Path) -> bool:
    """Whether a file name asks to be taken as a training image."""
    name = path.name.lower()
    return (
        name.endswith((*SUFFIXES, *(suffix for suffix, reads in _EXTRA.items() if reads[0]())))
        and not name.startswith(".")
        and not name.endswith(LABEL)
        and (path.is_symlink() or not path.is_dir())
    )


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts 2.png before 10.png."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]


def _skipped(folder: Path) -> list[str]:
    """Files that a person may have meant as images, and why they were not taken."""
    skipped = []
    for path in sorted(folder.iterdir(), key=natural_order):
        name = path.name.lower()
        if name.startswith("."):
            continue
        if extra := next((reads for suffix, reads in _EXTRA.items() if name.endswith(suffix)), None):
            skipped += [] if extra[0]() else [f"skipped {path.name}: {extra[1]}"]
        elif name.endswith(OTHER_IMAGE_SUFFIXES):
            skipped.append(f"skipped {path.name}: not one of {', '.join(FORMATS)}")
    return skipped


def _no_image_hint(folder: Path) -> str:
    """Where the images might be instead."""
    others = [path.name for path in sorted(folder.iterdir()) if path.name.lower().endswith(OTHER_IMAGE_SUFFIXES)]
    if any(name.lower().endswith(HEIC_SUFFIXES) for name in others):
        return f"pip install 'cns-cli[heic]'   (reads {others[0]}; or convert it to JPEG)"
    if any(name.lower().endswith(jpegxl.SUFFIX) for name in others):
        return f"pip install pillow-jxl-plugin   (reads {others[0]}; or convert it to PNG)"
    if others:
        return f"Convert {others[0]} to JPEG or PNG first"
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink()]
    below = [shlex.quote(str(path)) for path in inside if any(_is_candidate(one) for one in path.iterdir())]
    if below:
        each = f"; or a concept of each folder: cns add --each {shlex.quote(str(folder))}" if len(below) > 1 else ""
        return f"There are images one level down: cns add NAME {below[0]}{each}"
    return "Put about five images of the concept there, then type the command again"
