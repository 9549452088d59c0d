"""What is said of pictures that can be read and teach little."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from cns.files.images import load_images
from tests.cns.files.test_images import picture

R = 16


def said(folder: Path, word: str) -> str:
    """The one warning with this word; "" if there is none."""
    return "".join(warning for warning in load_images(folder, R).warnings if word in warning)


def test_pictures_that_lose_much_by_the_crop_are_named_the_worst_first(tmp_path: Path) -> None:
    for name, size in (("photo", (60, 40)), ("wide", (100, 50)), ("pano", (160, 20)), ("tall", (20, 80))):
        picture(len(name), size).save(tmp_path / f"{name}.png")
    text = said(tmp_path, "central square")
    assert text.startswith("3 of 4 images lose more than 40% by the central square")
    assert "pano.png 88%, tall.png 75%, wide.png 50%;" in text


def test_pictures_that_are_enlarged_are_named_the_smallest_first(tmp_path: Path) -> None:
    for number, side in enumerate((R, R - 1, 4, 200)):
        picture(number, (side, side + 1)).save(tmp_path / f"{number}.png")
    text = said(tmp_path, "smaller")
    assert text.startswith(f"2 of 4 images are smaller than the {R} pixels")
    assert f"2.png 4x5, 1.png {R - 1}x{R};" in text


def test_only_the_worst_few_are_named(tmp_path: Path) -> None:
    for number in range(5):
        picture(number, (90, 30)).save(tmp_path / f"{number}.png")
    assert " and 2 more;" in said(tmp_path, "central square")


def test_nearly_the_same_picture_is_said_and_another_one_is_not(tmp_path: Path) -> None:
    original = picture(1, (200, 200))
    original.save(tmp_path / "a.png")
    picture(2, (200, 200)).save(tmp_path / "b.png")
    assert said(tmp_path, "twice") == ""
    buffer = io.BytesIO()
    original.crop((3, 3, 197, 197)).save(buffer, "JPEG", quality=40)
    Image.open(buffer).resize((90, 90)).save(tmp_path / "c.png")
    assert said(tmp_path, "twice").startswith("nearly the same picture twice: c.png and a.png;")


def test_pictures_of_one_colour_are_said(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    picture(2).save(tmp_path / "b.jpg")
    assert said(tmp_path, "one colour") == ""
    Image.new("RGB", (40, 40), "red").save(tmp_path / "c.jpg")
    Image.new("RGBA", (40, 40), (9, 90, 200, 0)).save(tmp_path / "d.png")
    assert said(tmp_path, "one colour") == "2 of 4 images show one colour alone: c.jpg, d.png; take them out"


def test_an_ordinary_set_is_not_complained_of(tmp_path: Path) -> None:
    for number in range(4):
        picture(number, (60, 45)).save(tmp_path / f"{number}.jpg")
    assert load_images(tmp_path, R).warnings == ()
