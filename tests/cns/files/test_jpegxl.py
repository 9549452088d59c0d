"""JPEG XL: read where a plugin for Pillow is installed, its size known before, and otherwise said what reads it."""

from __future__ import annotations

import base64
import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cns.errors import ImageError
from cns.files import jpegxl
from cns.files.decoding import decode
from cns.files.images import load_images
from tests.cns.files.test_images import R, picture
from tests.torture.hostile_folders import exif

JXL = base64.b64decode(
    "/wrLBgAliAYAhAKxYhUAgAqVUcYNXs71fPmhw2LaxnWGttq2sISx2V4YJARAjRpu1WsUyXo84UDIGCHc6dQOBce4zfMhVwkpSnv4dyAoIBRe6Hwm"
    "Nu8zcLtxeKB3YLAkhvq9CekHGiCMDDBljkHYxrEEebkSBNndZOQlAgD2qORPxpUjHkb4KRjHgGJ4XY0hz3GFFChglVGre3wB1yjcAbJwjH3Z++X3"
    "dpgAOA=="
)
"""64x48 pixels, red on the left and blue on the right, written by pillow-jxl-plugin."""


def boxed(data: bytes, kind: bytes = b"jxlc") -> bytes:
    """A codestream in a container, behind a box of another kind."""
    body = (b"\0\0\0\0" if kind == b"jxlp" else b"") + data
    other = (12).to_bytes(4, "big") + b"ftypjxl "
    return jpegxl.CONTAINER + other + (8 + len(body)).to_bytes(4, "big") + kind + body


def header(width: int, height: int) -> bytes:
    """The beginning of a codestream of any size."""
    bits, place = 0, 1  # not small
    for side in (height, width):
        bits |= 3 << place | (side - 1) << (place + 2)
        place += 32 + (3 if side is height else 0)  # no ratio between them
    return jpegxl.CODESTREAM + bits.to_bytes(12, "little")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the plugin."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "pillow_jxl" else found(name))


@pytest.mark.parametrize("data", [JXL, boxed(JXL), boxed(JXL, b"jxlp")], ids=["bare", "jxlc", "jxlp"])
def test_the_size_is_read_from_the_header(data: bytes) -> None:
    assert jpegxl.is_jpegxl(data)
    assert jpegxl.size_of(data) == (64, 48)


def test_any_size_is_read_and_none_from_what_holds_none() -> None:
    assert jpegxl.size_of(header(100_000, 70_001)) == (100_000, 70_001)
    for data in (jpegxl.CONTAINER, jpegxl.CONTAINER + b"\0\0\0\0jxlx", boxed(b"nothing")):
        with pytest.raises(ValueError, match="without a picture"):
            jpegxl.size_of(data)


def test_a_bomb_is_refused_before_the_plugin_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpegxl, "readable", lambda: True)
    with pytest.raises(ValueError, match="100000x70001 pixels, the limit of JXL"):
        decode(header(100_000, 70_001), R)


@pytest.mark.usefixtures("without")
def test_without_the_plugin_its_name_is_said(tmp_path: Path) -> None:
    (tmp_path / "1.jxl").write_bytes(JXL)
    with pytest.raises(ImageError) as caught:
        load_images(tmp_path, R)
    assert caught.value.hint == "pip install pillow-jxl-plugin   (reads 1.jxl; or convert it to PNG)"
    picture().save(tmp_path / "a.png")
    assert any("1.jxl" in one and "pip install" in one for one in load_images(tmp_path, R).warnings)
    (tmp_path / "b.jpg").write_bytes(JXL)
    with pytest.raises(ImageError, match=r"b\.jpg: JPEG XL is read with a plugin"):
        load_images(tmp_path, R)


def test_with_the_plugin_it_is_read_and_turned_as_the_codestream_says(tmp_path: Path) -> None:
    pytest.importorskip("pillow_jxl")
    (tmp_path / "1.jxl").write_bytes(JXL)
    images = load_images(tmp_path, R)
    assert images.images[0].size == (64, 48)
    assert np.abs(images.pixels[0, :, 2].astype(int) - (250, 10, 10)).max() < 20
    assert np.abs(images.pixels[0, :, -3].astype(int) - (10, 10, 250)).max() < 20
    buffer = io.BytesIO()
    Image.open(io.BytesIO(JXL)).save(buffer, "JXL", exif=exif(6))
    seen = decode(buffer.getvalue(), R).pixels.astype(int)
    assert np.abs(seen - images.pixels[0]).mean() < 12  # EXIF turns no JPEG XL
