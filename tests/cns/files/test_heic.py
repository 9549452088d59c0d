"""HEIC, the photographs of iPhones: read where pi-heif is installed, and otherwise said which extra brings it."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cns.errors import ImageError
from cns.files.images import load_images
from tests.cns.files.test_images import R, picture

HEIC = base64.b64decode(
    b"AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    b"ACJpbG9jAAAAAERAAAEAAQAAAAABegABAAAAAAAAACcAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRt"
    b"AAAAAAABAAAA1mlwcnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMA"
    b"AAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbqSSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xy"
    b"bmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAC9t"
    b"ZGF0AAAAIygBrxmAxo6X9/fqv//QJl/4DrS+X9Xf/8oZnfhK0f9NsaRP"
)
"""64x64 pixels, red on the left and blue on the right, written by pillow-heif."""


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without pi-heif."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "pi_heif" else found(name))


@pytest.mark.parametrize("name", ["a.heic", "IMG_1.HEIC", "a.jpg"])
def test_heic_is_read_by_whatever_name(name: str, tmp_path: Path) -> None:
    pytest.importorskip("pi_heif")
    (tmp_path / name).write_bytes(HEIC)
    images = load_images(tmp_path, R)
    assert images.images[0].size == (64, 64)
    assert np.abs(images.pixels[0, :, 2].astype(int) - (250, 10, 10)).max() < 12
    assert np.abs(images.pixels[0, :, -3].astype(int) - (10, 10, 250)).max() < 12


@pytest.mark.usefixtures("without")
def test_without_the_extra_its_name_is_said(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.HEIC").write_bytes(HEIC)
    with pytest.raises(ImageError) as caught:
        load_images(tmp_path, R)
    assert caught.value.hint.startswith("pip install 'cns-cli[heic]'   (reads IMG_1.HEIC;")
    picture().save(tmp_path / "a.png")
    assert any("IMG_1.HEIC" in one and "cns-cli[heic]" in one for one in load_images(tmp_path, R).warnings)
    (tmp_path / "b.jpg").write_bytes(HEIC)
    with pytest.raises(ImageError, match=r"b\.jpg: HEIC is read with the extra heic"):
        load_images(tmp_path, R)
