"""One image file, decoded to its upright central square, within fixed bounds of memory and time.

The file may be made to harm: small on disk and huge in memory (a bomb), or cheap to store and slow to decode. So the
header is judged before a pixel is decoded: the format, the number of pixels, and what is known to be slow (JPEG with
hundreds of scans, run-length BMP). A large image is shrunk strip by strip, so that beside the decoder's own copy there
is never a second one. What a person would not notice is put right: EXIF rotation, and all that `colours.py` knows.

The module knows bytes and Pillow; it opens no file and knows no folder.
"""

from __future__ import annotations

import importlib.util
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cns.files.colours import Flattening

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "AVIF")
NEEDS_HEIC = "HEIC is read with the extra heic: pip install 'cns-cli[heic]'"
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")

MAX_PIXELS = 64_000_000
COPYING_FORMATS = ("WEBP", "AVIF", "HEIF")  # their decoders hold three more copies of the picture
MAX_COPIED_PIXELS = 25_000_000
LARGE_PIXELS = 16_000_000  # from here on an image is shrunk strip by strip, or while it is decoded (JPEG)
STRIP_PIXELS = 4_000_000
MAX_SCANNED_PIXELS = 1_000_000_000  # pixels times scans of a progressive JPEG; photographs have about ten scans
MAX_RUN_LENGTH_BYTES = 2_000_000  # Pillow reads a run-length BMP in Python, some microseconds a run
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 50_000  # 100 MB in the 8 KB chunks that libpng writes are 12,000
SCAN = b"\xff\xda"  # the marker of a scan; compressed JPEG data never holds it
OTHER_COST = 3.0  # measured: a pixel of a PNG takes about so many times as long as one of a JPEG

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
    ZeroDivisionError,
    AttributeError,
    MemoryError,
    RuntimeError,  # libavif, and recursion
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class TrainingImage:
    """One image as the training sees it.

    Attributes:
        name: File name.
        caption: Its caption, placeholders not filled; None if there is none.
        sha256: Hex digest of the file's bytes.
        size: Width and height of the whole picture in pixels, as it is stored.
        profile_used: False where its colours are a guess, see `Decoded`.
    """

    name: str
    caption: str | None
    sha256: str
    size: tuple[int, int] = (1, 1)
    profile_used: bool = True


@dataclass(frozen=True)
class Decoded:
    """An image file as the training sees it.

    Attributes:
        pixels: Its upright central square, shape (R, R, 3), uint8, sRGB.
        size: Width and height of the whole picture, in pixels, as it is stored.
        profile_used: False where it names its colours by a profile that cannot be read, so that they are a guess.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    profile_used: bool


def decode_square(data: bytes, resolution: int, spend: Callable[[float], None] | None = None) -> NDArray[np.uint8]:
    """The pixels of `decode`."""
    return decode(data, resolution, spend).pixels


def decode(data: bytes, resolution: int, spend: Callable[[float], None] | None = None) -> Decoded:
    """Decode an image file to its upright central square.

    Args:
        data: A whole JPEG, PNG, WEBP, BMP or AVIF file, or HEIC where pi-heif is installed.
        resolution: Side R of the square in pixels.
        spend: Told, before anything is decoded, what decoding costs, in pixels of JPEG; raises where that is too much.

    Raises:
        One of DECODE_ERRORS: it is no such file, is damaged, or is beyond the limits of this module.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of bombs and odd EXIF; the limits here are stricter
        check_chunks(data)
        with Image.open(io.BytesIO(data), formats=_formats_of(data)) as image:
            _check(image, data)
            size = image.size
            large = image.width * image.height > LARGE_PIXELS
            if spend is not None:
                spend(image.width * image.height * _cost(image, data, large))
            if large and image.format == "JPEG":
                image.draft(None, (4 * resolution, 4 * resolution))  # libjpeg leaves out what would be averaged away
            image.load()
            flat = Flattening(image.info.get("icc_profile"))
            square = _shrunk(image, resolution, flat) if large else flat(_cut(_upright(image)))
        resized = square.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return Decoded(np.asarray(resized, dtype=np.uint8).copy(), size, flat.profile_used)


def heic_readable() -> bool:
    """Whether the package that reads HEIC, the photographs of iPhones, is installed; it is not loaded."""
    return importlib.util.find_spec("pi_heif") is not None


def _formats_of(data: bytes) -> tuple[str, ...]:
    """The formats to try on a file; raises ValueError where it is HEIC, by whatever name, and nothing reads it."""
    if data[4:8] != b"ftyp" or data[8:12] not in HEIC_BRANDS:
        return FORMATS
    if not heic_readable():
        raise ValueError(NEEDS_HEIC)
    import pi_heif

    pi_heif.register_heif_opener()
    return ("HEIF",)


def check_chunks(data: bytes) -> None:
    """Refuse a PNG of more chunks than any has, before Pillow reads them one by one.

    Raises:
        ValueError: it has more than `MAX_CHUNKS`.
    """
    place, chunks = len(PNG_MAGIC), 0
    while data.startswith(PNG_MAGIC) and place + 12 <= len(data):
        place += 12 + int.from_bytes(data[place : place + 4], "big")
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise ValueError(f"it has more than {MAX_CHUNKS:,} chunks")


def _check(image: Image.Image, data: bytes) -> None:
    """Judge a header; raises ValueError."""
    pixels = image.width * image.height
    limit = MAX_COPIED_PIXELS if image.format in COPYING_FORMATS else MAX_PIXELS
    if pixels > limit:
        raise ValueError(f"it has {image.width}x{image.height} pixels, the limit of {image.format} is {limit:,}")
    if image.format == "JPEG" and image.info.get("progressive"):
        scans = data.count(SCAN)
        if scans * pixels > MAX_SCANNED_PIXELS:
            raise ValueError(f"it has {scans} scans of {image.width}x{image.height} pixels: save it as a plain JPEG")
    if image.format == "BMP" and image.info.get("compression") and len(data) > MAX_RUN_LENGTH_BYTES:
        raise ValueError(f"it is a compressed BMP of {len(data):,} bytes: save it as PNG")


def _cost(image: Image.Image, data: bytes, large: bool) -> float:
    """What a pixel costs, as multiple of one of a plain JPEG."""
    if image.format != "JPEG":
        return OTHER_COST
    if image.info.get("progressive"):
        return max(1.0, data.count(SCAN) / 10)
    return 0.5 if large else 1.0  # half of the work is left out by `draft`


def _upright(image: Image.Image) -> Image.Image:
    """The image turned by its EXIF orientation; the same object where there is none."""
    ImageOps.exif_transpose(image, in_place=True)
    return image


def _box(image: Image.Image) -> tuple[int, int, int, int]:
    """The largest central square."""
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    return left, top, left + edge, top + edge


def _cut(image: Image.Image) -> Image.Image:
    """The central square; cut before it is resized, since a filter would mix in what lies beside it."""
    return image if image.width == image.height else image.crop(_box(image))


def _shrunk(image: Image.Image, resolution: int, flat: Flattening) -> Image.Image:
    """The upright central square of a large image, averaged down to 4 to 8 times the resolution where it is larger.

    Strip by strip: at no time is there a second copy of the large image.
    """
    left, top, right, _ = _box(image)
    edge = right - left
    factor = max(1, edge // (4 * resolution))
    if factor == 1:
        return flat(_upright_small(_cut(image), image))
    side = edge // factor
    rows = max(1, STRIP_PIXELS // (edge * factor))  # of the small square
    small = Image.new("RGB", (side, side))
    for row in range(0, side, rows):
        last = min(side, row + rows)
        strip = image.crop((left, top + row * factor, left + side * factor, top + last * factor))
        strip.info = image.info
        small.paste(flat(strip).reduce(factor), (0, row))
    return _upright_small(small, image)


def _upright_small(small: Image.Image, image: Image.Image) -> Image.Image:
    """What was made of an image, turned by the image's EXIF orientation: a square keeps its place."""
    exif = Image.Exif()
    exif[0x0112] = image.getexif().get(0x0112, 1)
    small.info = {**image.info, "exif": exif.tobytes()}
    return _upright(small)
