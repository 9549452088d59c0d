"""Colour profiles: one colour, stored in files of every kind, is read as this colour."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cns.files.decoding import LARGE_PIXELS, decode, decode_square
from cns.files.images import load_images
from tests.cns.files.test_images import png_chunk

GAMMA = 1.0
"""Of the profiles here; a linear 0.2 is 124 in sRGB, and without the profile it would be read as 51."""
STORED, MEANT = 51, 124
D50 = (0.9642, 1.0, 0.8249)
SRGB_PRIMARIES = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def xyz(point: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + fixed(*point)


CURVE = b"curv" + bytes(4) + struct.pack(">IH", 1, round(GAMMA * 256)) + bytes(2)


def icc(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of these tags."""
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"t\0" + bytes(79)
    tags = {b"desc": text, b"cprt": b"text" + bytes(4) + b"none", b"wtpt": xyz(D50), **tags}
    begin = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", begin + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = bytes(4) + struct.pack(">I", 0x02400000) + kind + space + connection + bytes(12) + b"acsp" + bytes(28)
    head += fixed(*D50)
    return struct.pack(">I", begin + len(body)) + head + bytes(124 - len(head)) + table + body


def rgb_profile() -> bytes:
    """sRGB's primaries with linear numbers."""
    columns = {name: xyz(point) for name, point in zip((b"rXYZ", b"gXYZ", b"bXYZ"), SRGB_PRIMARIES, strict=True)}
    return icc(b"RGB ", b"XYZ ", {**columns, b"rTRC": CURVE, b"gTRC": CURVE, b"bTRC": CURVE})


def grey_profile() -> bytes:
    return icc(b"GRAY", b"XYZ ", {b"kTRC": CURVE})


def press_profile() -> bytes:
    """Inks that have no colour at all: only black ink is seen, and it is grey."""
    lightness = [(255, 128, 128), (0, 128, 128)]  # Lab in 8 bits: without black ink, with all of it
    table = bytes(value for _cmy in range(8) for node in lightness for value in node)
    ramp, unit = bytes(range(256)), fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return icc(
        b"CMYK", b"Lab ", {b"A2B0": b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + unit + ramp * 4 + table + ramp * 3}
    )


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


GREY = (STORED,) * 3
STORED_AS = {
    "RGB": saved(Image.new("RGB", (32, 32), GREY), icc_profile=rgb_profile()),
    "RGBA": saved(Image.new("RGBA", (32, 32), (*GREY, 255)), icc_profile=rgb_profile()),
    "palette": saved(Image.new("RGB", (32, 32), GREY).quantize(4), icc_profile=rgb_profile()),
    "palette and transparent": saved(
        Image.new("RGB", (32, 32), GREY).quantize(4), icc_profile=rgb_profile(), transparency=3
    ),
    "grey": saved(Image.new("L", (32, 32), STORED), icc_profile=grey_profile()),
    "grey, RGB profile": saved(Image.new("L", (32, 32), STORED), icc_profile=rgb_profile()),
    "grey and alpha": saved(Image.new("LA", (32, 32), (STORED, 255)), icc_profile=grey_profile()),
    "grey, 16 bits": saved(Image.fromarray(np.full((32, 32), STORED * 257, np.uint16)), icc_profile=grey_profile()),
    "WebP": saved(Image.new("RGBA", (32, 32), (*GREY, 255)), "WEBP", lossless=True, icc_profile=rgb_profile()),
    "JPEG": saved(Image.new("RGB", (32, 32), GREY), "JPEG", quality=95, icc_profile=rgb_profile()),
    "grey JPEG": saved(Image.new("L", (32, 32), STORED), "JPEG", quality=95, icc_profile=grey_profile()),
    "large RGBA": saved(
        Image.new("RGBA", (LARGE_PIXELS // 3_000, 3_100), (*GREY, 255)), compress_level=1, icc_profile=rgb_profile()
    ),
}


@pytest.mark.parametrize("kind", STORED_AS)
def test_a_profile_counts_however_pixels_are_stored(kind: str) -> None:
    found = decode(STORED_AS[kind], 8)
    assert found.profile_used
    assert np.abs(found.pixels.astype(int) - MEANT).max() <= 2


def test_sixteen_bits_of_rgb_have_a_profile_too() -> None:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    profile = png_chunk(b"iCCP", b"p\0\0" + zlib.compress(rgb_profile()))
    rows = b"".join(b"\0" + struct.pack(">H", STORED * 257) * 24 for _ in range(8))
    data = b"\x89PNG\r\n\x1a\n" + header + profile + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    assert np.abs(decode_square(data, 8).astype(int) - MEANT).max() <= 2


def test_inks_are_read_by_their_own_profile() -> None:
    cyan = saved(Image.new("CMYK", (32, 32), (255, 0, 0, 0)), "JPEG", quality=95, icc_profile=press_profile())
    black = saved(Image.new("CMYK", (32, 32), (0, 0, 0, 255)), "JPEG", quality=95, icc_profile=press_profile())
    assert decode_square(cyan, 8).min() > 250  # this press has no cyan
    assert decode_square(black, 8).max() < 5


def test_colours_come_before_transparency() -> None:
    half = saved(Image.new("RGBA", (32, 32), (*GREY, 128)), icc_profile=rgb_profile())
    over_white = 255 + (MEANT - 255) * 128 / 255
    assert np.abs(decode_square(half, 8).astype(int) - over_white).max() <= 2


@pytest.mark.parametrize(
    ("mode", "profile"), [("RGB", b"not a profile" * 20), ("RGB", grey_profile()), ("CMYK", rgb_profile())]
)
def test_a_profile_that_cannot_be_used_is_said(mode: str, profile: bytes, tmp_path: Path) -> None:
    plain = Image.new(mode, (32, 32), (STORED,) * len(mode))
    plain.save(tmp_path / "a.jpg", quality=95, icc_profile=profile)
    plain.save(tmp_path / "b.jpg", quality=95)
    images = load_images(tmp_path, 8)
    assert np.array_equal(images.pixels[0], images.pixels[1])
    assert any("colour profile of 1 of 2 images cannot be used" in warning for warning in images.warnings)
