"""R12, quick: hostile folders of images in this process; `python -m tests.torture R12` gives each one of its own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from cns.errors import ImageError
from cns.files import decoding
from cns.files.images import load_images
from cns_cli.main import app
from tests.registry.making import new_repository
from tests.torture import images
from tests.torture.hostile_folders import FOLDERS, encoded, exif, picture, png

# What takes a second or more to make or to decode.
SLOW = (
    "whole",
    "turned",
    "64 million",
    "gigabyte",
    "million text",
    "16 bit PNG of",
    "1 bit PNG of",
    "palette PNG of",
    "ten images",
    "forty files",
    "five thousand",
    "fifty thousand",
    "two hundred",
    "2,000 scans",
    "runs of one",
    "behind its rows",
    "private chunk",
    "100 megabytes",
)
QUICK = [name for name in FOLDERS if not any(word in name for word in SLOW)]


def test_there_are_sixty_and_more() -> None:
    assert len(FOLDERS) >= 60
    assert len(QUICK) >= 60


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return new_repository(tmp_path_factory.mktemp("registry")).root


@pytest.mark.parametrize("name", QUICK)
def test_folder_is_taken_or_refused_with_a_reason(
    tmp_path: Path, registry: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "may not be read" in name and os.geteuid() == 0:
        pytest.skip("root reads everything")
    photos = tmp_path / "photos"
    photos.mkdir()
    outcome = FOLDERS[name](photos)
    if outcome is None:
        pytest.skip("this user cannot make one")
    if outcome == "taken":
        assert load_images(photos, 32).pixels.shape[1:] == (32, 32, 3)
        return
    monkeypatch.chdir(registry)
    before = images.contents(registry)
    done = CliRunner().invoke(app, ["add", "rex", str(photos), "--class", "dog"], prog_name="cns")
    assert images.complaints(done.exit_code, done.stderr) == []
    assert done.stdout == ""
    assert images.contents(registry) == before


def test_refused_folder_makes_no_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no image")
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["add", "rex", "photos"], prog_name="cns").exit_code == 5
    assert not (tmp_path / ".cns").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bomb: RGBA PNG of 64 million pixels, turned", "bomb: PNG of a million text chunks"])
def test_bomb_takes_neither_time_nor_memory(tmp_path: Path, name: str) -> None:
    wrong, found = images.attempt(name, tmp_path)
    assert wrong == []
    assert found is not None
    assert found.memory < images.MAX_BYTES


@pytest.mark.parametrize("orientation", range(1, 9))
def test_large_image_is_shrunk_as_a_small_one_is(orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(picture(7, 300).resize((340, 300)), exif=exif(orientation))
    plain = decoding.decode_square(data, 16).astype(int)
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 1000)
    monkeypatch.setattr(decoding, "STRIP_PIXELS", 5000)
    assert np.abs(decoding.decode_square(data, 16).astype(int) - plain).max() <= 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "I;16"])
def test_large_image_of_any_mode_is_flattened_strip_by_strip(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(3, 320).convert("L").convert("I;16") if mode == "I;16" else picture(3, 320).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    data = encoded(image)
    plain = decoding.decode_square(data, 16).astype(int)
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 1000)
    assert np.abs(decoding.decode_square(data, 16).astype(int) - plain).max() <= 6


def test_folder_has_a_budget_of_pixels_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cns.files import images as loader

    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(png(100, 100))
    load_images(tmp_path, 8)
    monkeypatch.setattr(loader, "MAX_FOLDER_COST", 100_000)
    with pytest.raises(ImageError, match="too many pixels in all") as caught:
        load_images(tmp_path, 8)
    assert "shrink" in caught.value.hint
    monkeypatch.setattr(loader, "MAX_FOLDER_COST", 10**9)
    monkeypatch.setattr(loader, "MAX_FOLDER_BYTES", 300)
    with pytest.raises(ImageError, match="bytes in all"):
        load_images(tmp_path, 8)


def test_set_that_no_object_could_hold_is_refused_before_a_training(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(encoded(picture()))
    with pytest.raises(ImageError, match="more than a set may have"):
        load_images(tmp_path, 4096)


def test_name_that_is_no_utf8_can_be_recorded(tmp_path: Path) -> None:
    with open(os.path.join(os.fsencode(tmp_path), b"\xff.png"), "wb") as file:
        file.write(encoded(picture()))
    (image,) = load_images(tmp_path, 8).images
    assert image.name == "\\udcff.png"
    image.name.encode("utf-8")
