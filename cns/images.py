"""A folder of training images, read safely, turned upright and cut square.

Folders come from anywhere, so nothing in one is trusted: a file is opened by a descriptor that follows no link and is
looked at before it is read (regular, not too large), only five image formats are decoded, and the number of pixels is
checked before any is decoded. What a person would not notice is put right (EXIF rotation, transparency, colour
profile, 16 bits); what would spoil the training is an error that names each file.

Captions beside the images are taken along (`captions.py`).

The module knows Pillow and numpy, no torch: a bad folder is refused before anything heavy is imported.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from cns.captions import class_noun_in, fill_caption, read_captions
from cns.errors import ImageError
from cns.safefiles import read_regular_file, reason_of

__all__ = [
    "ImageSet",
    "TrainingImage",
    "class_noun_in",
    "decode_square",
    "fill_caption",
    "load_images",
    "scan_folder",
]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "AVIF")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".avif")
OTHER_IMAGE_SUFFIXES = (".gif", ".heic", ".heif", ".tif", ".tiff", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".nef")

MAX_FILE_BYTES = 100_000_000
MAX_PIXELS = 64_000_000
MAX_PROFILE_BYTES = 4_000_000

# All that Pillow's decoders, its EXIF reader and lcms raise on damaged or hostile data, by reading and by fuzzing.
DECODE_ERRORS = (
    OSError,  # with UnidentifiedImageError, and truncated files
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    MemoryError,
    RuntimeError,  # libavif
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class TrainingImage:
    """One image as the training sees it.

    Attributes:
        name: File name.
        pixels: Shape (R, R, 3), uint8, sRGB.
        caption: Its caption, placeholders not filled; None if there is none.
        sha256: Hex digest of the file's bytes.
    """

    name: str
    pixels: NDArray[np.uint8]
    caption: str | None
    sha256: str


@dataclass(frozen=True)
class ImageSet:
    """The training images of one concept, in the order of their names.

    Attributes:
        images: At least one.
        skipped: (file name, reason) of files that look like images and were not taken.
        warning: What makes these images a poor set, or None.
    """

    images: tuple[TrainingImage, ...]
    skipped: tuple[tuple[str, str], ...]
    warning: str | None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """All images, shape (N, R, R, 3), uint8."""
        return np.stack([image.pixels for image in self.images])

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
    captions = read_captions(folder, paths)
    images, bad = [], []
    for path in paths:
        try:
            data = read_regular_file(path, MAX_FILE_BYTES)
            pixels = decode_square(data, resolution)
        except UnidentifiedImageError:
            bad.append((path.name, f"no image, or not one of {', '.join(FORMATS)}"))
            continue
        except DECODE_ERRORS as error:
            bad.append((path.name, reason_of(error)))
            continue
        images.append(TrainingImage(path.name, pixels, captions.get(path.name), hashlib.sha256(data).hexdigest()))
    if bad:
        listed = "; ".join(f"{name}: {reason}" for name, reason in bad[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise ImageError(
            f"{len(bad)} of {len(paths)} images in {folder} cannot be read: {listed}{more}",
            "Replace these files or take them out of the folder, then type the command again",
            folder=folder,
            bad=bad,
        )
    return ImageSet(tuple(images), _skipped(folder), _warning(images))


def decode_square(data: bytes, resolution: int) -> NDArray[np.uint8]:
    """Decode an image file to its upright central square.

    Args:
        data: A whole JPEG, PNG, WEBP, BMP or AVIF file.
        resolution: Side R of the square in pixels.

    Returns:
        Shape (R, R, 3), uint8, sRGB.

    Raises:
        One of DECODE_ERRORS: it is no such file, is damaged, or has more than 64 million pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of bombs and odd EXIF; the limit below is stricter
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"it has {image.width}x{image.height} pixels, the limit is {MAX_PIXELS:,}")
            image.load()
            upright = ImageOps.exif_transpose(image)
            square = _central_square(_flatten(upright), resolution)
    return np.asarray(square, dtype=np.uint8).copy()


def _central_square(image: Image.Image, side: int) -> Image.Image:
    """The largest central square, resized; cut first, since a filter would mix in what lies beside it."""
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    return image.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode to 8-bit sRGB, transparency laid over white."""
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow would clip 16-bit greys at 255 instead of scaling them.
        return Image.fromarray((np.asarray(image).clip(0, 65535) / 257 + 0.5).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    profile = image.info.get("icc_profile")
    if profile and image.mode == "RGB" and len(profile) <= MAX_PROFILE_BYTES:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            return image  # an unreadable profile is what most viewers ignore too
        return converted or image
    return image.convert("RGB")


def _is_candidate(path: Path) -> bool:
    """Whether a file name asks to be taken as a training image."""
    name = path.name.lower()
    is_mask = name.endswith("-masklabel.png")
    return (
        name.endswith(SUFFIXES)
        and not name.startswith(".")
        and not is_mask
        and (path.is_symlink() or not path.is_dir())
    )


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key that puts 2.png before 10.png."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part) if part.isdecimal() else -1, part) for part in parts]


def _skipped(folder: Path) -> tuple[tuple[str, str], ...]:
    """Files that a person may have meant as images."""
    skipped = []
    for path in sorted(folder.iterdir(), key=_natural_order):
        name = path.name.lower()
        if name.startswith("."):
            continue
        if name.endswith("-masklabel.png"):
            skipped.append((path.name, "a mask; masks are not used"))
        elif name.endswith(OTHER_IMAGE_SUFFIXES):
            skipped.append((path.name, f"not one of {', '.join(FORMATS)}"))
    return tuple(skipped)


def _warning(images: Sequence[TrainingImage]) -> str | None:
    """What makes a set of images poor."""
    if len(images) == 1:
        return "one image only: the concept will look like this one picture; five from different sides teach more"
    distinct = len({image.sha256 for image in images})
    if distinct < len(images):
        return f"{len(images)} images, but only {distinct} different files"
    return None


def _no_image_hint(folder: Path) -> str:
    """Where the images might be instead."""
    others = [path.name for path in sorted(folder.iterdir()) if path.name.lower().endswith(OTHER_IMAGE_SUFFIXES)]
    if others:
        return f"Convert {others[0]} to JPEG or PNG first"
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.is_symlink() and any(_is_candidate(path) for path in child.iterdir()):
            return f"There are images one level down: cns add NAME '{child}'"
    return "Put about five images of the concept there, then type the command again"
