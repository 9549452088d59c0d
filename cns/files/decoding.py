"""One image file, decoded to an upright square, within fixed bounds of memory and time.

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cns.files import jpegxl
from cns.files.colours import Flattening
from cns.files.squares import ORIENTATION, Framing, aim, box, framing, stored_place, upright_size

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "AVIF")
NEEDS_HEIC = "HEIC is read with the extra heic: pip install 'cns-cli[heic]'"
HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis")

MAX_PIXELS = 64_000_000
COPYING_FORMATS = ("WEBP", "AVIF", "HEIF", "JXL")  # their decoders hold three more copies of the picture
MAX_COPIED_PIXELS = 25_000_000
LARGE_PIXELS = 16_000_000  # from here on an image is shrunk strip by strip, or while it is decoded (JPEG)
STRIP_PIXELS = 4_000_000
MAX_SCANNED_PIXELS = 1_000_000_000  # pixels times scans of a progressive JPEG; photographs have about ten scans
MAX_RUN_LENGTH_BYTES = 2_000_000  # Pillow reads a run-length BMP in Python, some microseconds a run
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 50_000  # 100 MB in the 8 KB chunks that libpng writes are 12,000
SCAN = b"\xff\xda"  # the marker of a scan; compressed JPEG data never holds it
MASK_SIDE = 2048  # of a mask; larger ones are thinned out before they are read
MAX_COLOUR = 16.0  # mean difference of a mask's channels, of 255; JPEG leaves greys with 2 (chosen)
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
class Decoded:
    """An image file as the training sees it.

    Attributes:
        pixels: Its upright square, shape (R, R, 3), uint8, sRGB.
        size: Width and height of the whole picture, in pixels, as it is stored.
        profile_used: False where it names its colours by a profile that cannot be read, so that they are a guess.
        framing: How the square was cut out.
        mask: Where the concept is, shape (R, R), uint8, 255 there; None without a mask.
        mask_kept: Share of what the mask marks that the square keeps; 1 without one.
    """

    pixels: NDArray[np.uint8]
    size: tuple[int, int]
    profile_used: bool
    framing: Framing
    mask: NDArray[np.uint8] | None = None
    mask_kept: float = 1.0


def decode_square(data: bytes, resolution: int, spend: Callable[[float], None] | None = None) -> NDArray[np.uint8]:
    """The pixels of `decode`."""
    return decode(data, resolution, spend).pixels


def decode(
    data: bytes,
    resolution: int,
    spend: Callable[[float], None] | None = None,
    mask: Image.Image | None = None,
    *,
    alpha: bool = False,
) -> Decoded:
    """Decode an image file to an upright square: the central one, or the one that keeps most of a mask.

    Args:
        data: A whole JPEG, PNG, WEBP, BMP or AVIF file, or HEIC where pi-heif is installed,
            or JPEG XL where pillow-jxl-plugin is.
        resolution: Side R of the square in pixels.
        spend: Told, before anything is decoded, what decoding costs, in pixels of JPEG; raises where that is too much.
        mask: Where the concept is, as `decode_mask` gives it.
        alpha: Without a mask, take the picture's transparency for one, if it is neither opaque nor clear all over.

    Raises:
        One of DECODE_ERRORS: it is no such file, is damaged, or is beyond the limits of this module; or the mask does
            not fit it.
    """
    with _opened(data, spend) as (image, large):
        size = image.size
        if large and image.format == "JPEG":
            image.draft(None, (4 * resolution, 4 * resolution))  # libjpeg leaves out what would be averaged away
        image.load()
        orientation = image.getexif().get(ORIENTATION, 1)
        flat = Flattening(image.info.get("icc_profile"))
        mask = _opacity(image) if mask is None and alpha and image.has_transparency_data else mask
        upright = upright_size(size, orientation)
        aimed = None if mask is None else aim(mask, upright, resolution)
        place = aimed.place if aimed else None
        if large:
            square = _shrunk(image, resolution, flat, stored_place(place, upright, orientation))
        else:
            square = flat(_cut(_upright(image), place))
        resized = square.resize((resolution, resolution), Image.Resampling.LANCZOS)
    pixels = np.asarray(resized, dtype=np.uint8).copy()
    cut = framing(upright, place, resolution)
    return Decoded(pixels, size, flat.profile_used, cut, *((aimed.mask, aimed.kept) if aimed else ()))


def decode_mask(data: bytes, spend: Callable[[float], None] | None = None) -> Image.Image | None:
    """Decode a mask: mode L, upright, white where the concept is; None where it marks nothing.

    Args:
        data: A whole file, of a format that `decode` reads. What is transparent in it is not the concept.
        spend: As in `decode`.

    Raises:
        One of DECODE_ERRORS: as in `decode`; or it is in colours, so that it is a picture and no mask.
    """
    with _opened(data, spend) as (image, _):
        small = _thinned(image)
        if small.mode.startswith("I"):
            small = Flattening(None)(small)
        layer = small.convert("RGBA")
        over_black = Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer).convert("RGB")
        channels = np.asarray(over_black, np.int16)
        if (channels.max(2) - channels.min(2)).mean() > MAX_COLOUR:
            raise ValueError("it is in colours: a mask is grey, white where the concept is")
        mask = _upright_small(over_black.convert("L"), image)
    return mask if mask.getextrema()[1] else None


def heic_readable() -> bool:
    """Whether the package that reads HEIC, the photographs of iPhones, is installed; it is not loaded."""
    return importlib.util.find_spec("pi_heif") is not None


@contextmanager
def _opened(data: bytes, spend: Callable[[float], None] | None) -> Iterator[tuple[Image.Image, bool]]:
    """A file whose header is judged, nothing decoded yet, and whether it is large."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of bombs and odd EXIF; the limits here are stricter
        check_chunks(data)
        with Image.open(io.BytesIO(data), formats=_formats_of(data)) as image:
            _check(image, data)
            if image.format == "JXL" and not getattr(image, "jpeg", False):
                image.info.pop("exif", None)  # decoded, it is upright: the codestream says how it was held
            large = image.width * image.height > LARGE_PIXELS
            if spend is not None:
                spend(image.width * image.height * _cost(image, data, large))
            yield image, large


def _formats_of(data: bytes) -> tuple[str, ...]:
    """The formats to try on a file; raises ValueError where it is one, by whatever name, that nothing reads here."""
    if jpegxl.is_jpegxl(data):
        if not jpegxl.readable():
            raise ValueError(jpegxl.NEEDS_PLUGIN)
        _check_size(*jpegxl.size_of(data), "JXL")  # the plugin decodes what it opens
        importlib.import_module("pillow_jxl")
        return ("JXL",)
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
    _check_size(*image.size, image.format or "")
    pixels = image.width * image.height
    if image.format == "JPEG" and image.info.get("progressive"):
        scans = data.count(SCAN)
        if scans * pixels > MAX_SCANNED_PIXELS:
            raise ValueError(f"it has {scans} scans of {image.width}x{image.height} pixels: save it as a plain JPEG")
    if image.format == "BMP" and image.info.get("compression") and len(data) > MAX_RUN_LENGTH_BYTES:
        raise ValueError(f"it is a compressed BMP of {len(data):,} bytes: save it as PNG")


def _check_size(width: int, height: int, form: str) -> None:
    limit = MAX_COPIED_PIXELS if form in COPYING_FORMATS else MAX_PIXELS
    if width * height > limit:
        raise ValueError(f"it has {width}x{height} pixels, the limit of {form} is {limit:,}")


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


def _opacity(image: Image.Image) -> Image.Image | None:
    """The opacity of a picture as a mask, upright; None where it is the same everywhere."""
    if image.mode.startswith("I"):
        return None
    alpha = _thinned(image).convert("RGBA").getchannel("A")
    low, high = alpha.getextrema()
    return None if low == high else _upright_small(alpha, image)


def _thinned(image: Image.Image) -> Image.Image:
    """A picture at most `MASK_SIDE` long, by leaving out pixels: of a large one there is no second copy."""
    scale = MASK_SIDE / max(image.size)
    if scale >= 1:
        return image.copy()
    small = tuple(max(1, round(side * scale)) for side in image.size)
    return image.resize((small[0], small[1]), Image.Resampling.NEAREST)


def _cut(image: Image.Image, place: float | None) -> Image.Image:
    """The square; cut before it is resized, since a filter would mix in what lies beside it."""
    return image if image.width == image.height else image.crop(box(image.size, place))


def _shrunk(image: Image.Image, resolution: int, flat: Flattening, place: float | None) -> Image.Image:
    """The upright square of a large image, averaged down to 4 to 8 times the resolution where it is larger.

    Strip by strip: at no time is there a second copy of the large image.
    """
    left, top, right, _ = box(image.size, place)
    edge = right - left
    factor = max(1, edge // (4 * resolution))
    if factor == 1:
        return flat(_upright_small(_cut(image, place), image))
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
    exif[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    small.info = {**image.info, "exif": exif.tobytes()}
    return _upright(small)
