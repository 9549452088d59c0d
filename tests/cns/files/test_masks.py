"""Masks of training images: which files are found, what they hold, and the square that they aim."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cns.errors import ImageError
from cns.files import decoding
from cns.files.images import load_images
from cns.files.maskfiles import find_masks, is_mask_folder
from tests.cns.files.test_images import picture
from tests.torture.hostile_folders import exif

R = 16


def mask(left: int = 0, right: int = 12, size: tuple[int, int] = (24, 24), mode: str = "L") -> Image.Image:
    """White between two columns, black elsewhere."""
    image = Image.new("L", size)
    image.paste(255, (left, 0, right, size[1]))
    return image.convert(mode)


def found(folder: Path) -> dict[str, str]:
    paths = sorted(folder.glob("*.jpg"))
    return {name: str(path.relative_to(folder.parent)) for name, path in find_masks(folder, paths).files.items()}


@pytest.mark.parametrize(
    "place",
    ["rex/1-masklabel.png", "rex/1-MASKLABEL.PNG", "rex/masks/1.png", "rex/mask/1.jpg", "rex-masks/1.png",
     "rex_mask/1.webp", "masks/rex/1.png"],
)  # fmt: skip
def test_each_form_is_found(place: str, tmp_path: Path) -> None:
    (tmp_path / "rex").mkdir()
    (tmp_path / "rex" / "1.jpg").touch()
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()
    assert found(tmp_path / "rex") == {"1.jpg": place}


def test_a_folder_called_masks_is_of_the_folder_called_images_and_of_no_other(tmp_path: Path) -> None:
    for name in ("images", "rex", "masks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").touch()
    assert found(tmp_path / "images") == {"1.jpg": "masks/1.jpg"}
    assert found(tmp_path / "rex") == {}
    for name in ("images/10_sks dog", "masks/10_sks dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "2.jpg").touch()
    assert find_masks(tmp_path / "images" / "10_sks dog", [tmp_path / "images" / "10_sks dog" / "2.jpg"]).files == {
        "2.jpg": tmp_path / "masks" / "10_sks dog" / "2.jpg"
    }
    assert [is_mask_folder(tmp_path / name) for name in ("masks", "rex_mask", "rex", "unmask")] == [1, 1, 0, 0]


def test_a_file_beside_the_picture_wins_and_one_of_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for name in ("1.jpg", "2.jpg", "1-masklabel.png", "9-masklabel.png", "masks/1.png", "masks/2.png"):
        (tmp_path / name).touch()
    masks = find_masks(tmp_path, [tmp_path / "1.jpg", tmp_path / "2.jpg"])
    assert masks.files == {"1.jpg": tmp_path / "1-masklabel.png", "2.jpg": tmp_path / "masks" / "2.png"}
    assert masks.sources == ("-masklabel.png files", "the folder masks")
    assert masks.left == ("masks: 9-masklabel.png belongs to no picture",)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "LA", "RGBA"])
def test_masks_of_any_mode_are_read_white_where_the_concept_is(mode: str, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "1.png")
    mask(mode=mode).save(tmp_path / "1-masklabel.png")
    images = load_images(tmp_path, R)
    assert images.masks is not None
    np.testing.assert_array_equal(images.masks[0, :, : R // 2], 255)
    np.testing.assert_array_equal(images.masks[0, :, R // 2 :], 0)
    assert images.masks_taken == "1 of 1, from -masklabel.png files"


def test_what_is_transparent_in_a_mask_is_not_the_concept(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "1.png")
    white = Image.new("RGB", (24, 24), "white")
    white.putalpha(mask())
    white.save(tmp_path / "1-masklabel.png")
    masks = load_images(tmp_path, R).masks
    assert masks is not None
    assert (masks[0, :, : R // 2] == 255).all()
    assert (masks[0, :, R // 2 :] == 0).all()


def test_transparency_is_a_mask_and_a_mask_file_wins(tmp_path: Path) -> None:
    for name in ("1.png", "2.png", "3.webp"):
        image = picture(1)
        image.putalpha(mask())
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    picture(2).save(tmp_path / "4.png")
    mask(12, 24).save(tmp_path / "2-masklabel.png")
    images = load_images(tmp_path, R)
    assert images.masks is not None
    assert images.masks[:, 0, [0, -1]].tolist() == [[255, 0], [0, 255], [255, 0], [255, 255]]
    assert images.masks_taken == "3 of 4, from -masklabel.png files and transparency"
    assert list(images.mask_digests) == ["1.png", "2.png", "3.webp"]
    assert images.mask_digests["1.png"] == "alpha" != images.mask_digests["2.png"]


def test_without_masks_nothing_is_read_of_them(tmp_path: Path) -> None:
    image = picture(1, (48, 24))
    image.putalpha(mask(0, 12, (48, 24)))
    image.save(tmp_path / "1.png")
    (tmp_path / "1-masklabel.png").write_bytes(b"no picture")
    images = load_images(tmp_path, R, masks=False)
    assert (images.masks, images.masks_taken, images.mask_digests) == (None, "", {})
    flat = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    centre = flat.crop((12, 0, 36, 24)).resize((R, R), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(images.pixels[0], np.asarray(centre))


def test_a_black_mask_is_said_and_an_opaque_picture_has_none(tmp_path: Path) -> None:
    picture(1).convert("RGBA").save(tmp_path / "1.png")
    picture(2).save(tmp_path / "2.png")
    mask(0, 0).save(tmp_path / "2-masklabel.png")
    images = load_images(tmp_path, R)
    assert images.masks is None
    said = "masks: 2-masklabel.png is black all over{}, so that its picture is trained on as a whole"
    assert said.format("") in images.warnings
    mask(0, 0).save(tmp_path / "1-masklabel.png")
    warnings = [one for one in load_images(tmp_path, R).warnings if one.startswith("masks: ")]
    assert warnings == [said.replace("2-", "1-").format(" (1 more like it)")]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (mask(0, 12, (24, 40)), "1.png: its mask has 24x40 pixels, and the picture 24x24"),
        (picture(3), "1-masklabel.png: it is in colours: a mask is grey"),
    ],
)
def test_a_mask_that_cannot_be_meant_is_refused(bad: Image.Image, said: str, tmp_path: Path) -> None:
    picture(1).save(tmp_path / "1.png")
    bad.save(tmp_path / "1-masklabel.png")
    with pytest.raises(ImageError) as caught:
        load_images(tmp_path, R)
    assert said in caught.value.message
    assert caught.value.hint.endswith("or leave masks out: --no-masks")


@pytest.mark.parametrize(
    ("left", "right", "first"), [(0, 10, 0), (70, 80, 40), (30, 40, 15), (45, 75, 40), (0, 80, 20)]
)
def test_the_square_stands_where_it_keeps_the_mask(left: int, right: int, first: int, tmp_path: Path) -> None:
    wide = picture(1, (80, 40))
    wide.save(tmp_path / "1.png")
    mask(left, right, (80, 40)).save(tmp_path / "1-masklabel.png")
    pixels = load_images(tmp_path, R).pixels[0].astype(int)
    expected = np.asarray(wide.crop((first, 0, first + 40, 40)).resize((R, R), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(pixels - expected).mean() < 3  # what is marked stands as near to the middle as it can


def test_what_does_not_fit_into_the_square_is_said(tmp_path: Path) -> None:
    picture(1, (80, 40)).save(tmp_path / "1.png")
    mask(0, 80, (80, 40)).save(tmp_path / "1-masklabel.png")
    picture(2, (80, 40)).save(tmp_path / "2.png")
    mask(0, 30, (80, 40)).save(tmp_path / "2-masklabel.png")
    (warning,) = load_images(tmp_path, R).warnings
    assert warning.startswith("what the masks of 1 of 2 images mark does not fit into the square")
    assert "1.png 50%;" in warning


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("factor", [1, 2])
def test_the_square_is_the_same_however_a_picture_is_stored(
    orientation: int, factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, upright = picture(7, (300, 200)), (200, 300) if orientation > 4 else (300, 200)
    buffer = io.BytesIO()
    stored.save(buffer, "PNG", exif=exif(orientation))
    grey = Image.new("L", upright)
    grey.paste(255, (10, 20, 60, 80))
    side = 200 // (8 * factor)  # so that a large picture is shrunk first, or is not
    plain = decoding.decode(buffer.getvalue(), side, mask=grey)
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 1000)
    large = decoding.decode(buffer.getvalue(), side, mask=grey)
    assert np.abs(large.pixels.astype(int) - plain.pixels).mean() < 6
    assert plain.mask is not None
    assert plain.mask_kept == 1
    assert plain.pixels.shape == (side, side, 3)
    np.testing.assert_array_equal(large.mask, plain.mask)


def test_a_large_mask_is_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MASK_SIDE", 40)
    buffer = io.BytesIO()
    mask(0, 60, (120, 60)).save(buffer, "PNG")
    grey = decoding.decode_mask(buffer.getvalue())
    assert grey is not None
    assert grey.size == (40, 20)
    assert np.asarray(grey).mean() == pytest.approx(127.5)
