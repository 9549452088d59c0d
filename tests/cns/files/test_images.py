"""Folders of training images: what is read, how it is turned and cut, and what hostile files are answered with."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from cns.errors import ImageError
from cns.files.images import load_images, scan_folder

R = 16


def picture(seed: int = 0, size: tuple[int, int] = (24, 24), mode: str = "RGB") -> Image.Image:
    """Smooth random colours."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert(mode)


def halves(left: tuple[int, ...], right: tuple[int, ...], mode: str = "RGB") -> Image.Image:
    """Two colours side by side, 32x32."""
    image = Image.new(mode, (32, 32), left)
    image.paste(right, (16, 0, 32, 32))
    return image


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int = 20_000) -> bytes:
    """A PNG of a few bytes that says it has 400 million pixels."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"\0" * 100)) + png_chunk(b"IEND", b"")


def test_images_come_in_natural_order_and_one_size(tmp_path: Path) -> None:
    for number, size in ((10, (40, 24)), (2, (24, 40)), (1, (24, 24))):
        picture(number, size).save(tmp_path / f"{number}.png")
    images = load_images(tmp_path, R)
    assert [image.name for image in images.images] == ["1.png", "2.png", "10.png"]
    assert images.pixels.shape == (3, R, R, 3)
    assert images.pixels.dtype == np.uint8
    assert images.warnings == ()
    assert images.captions == (None, None, None)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".avif", ".JPG", ".PNG"])
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    picture(1).save(tmp_path / f"a{suffix}")
    pixels = load_images(tmp_path, R).pixels[0]
    expected = np.asarray(picture(1).resize((R, R), Image.Resampling.LANCZOS))
    assert np.abs(pixels.astype(int) - expected).mean() < 12


def test_central_square_is_kept(tmp_path: Path) -> None:
    image = Image.new("RGB", (96, 32), (255, 0, 0))
    image.paste((0, 0, 255), (32, 0, 64, 32))
    image.save(tmp_path / "a.png")
    assert (load_images(tmp_path, R).pixels[0] == (0, 0, 255)).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_honoured(tmp_path: Path, orientation: int) -> None:
    upright = halves((250, 10, 10), (10, 10, 250))
    # How a camera held that way stores the picture: the inverse of what a viewer does.
    inverse = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright.transpose(inverse) if inverse is not None else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    pixels = load_images(tmp_path, 32).pixels[0]
    assert np.array_equal(pixels, np.asarray(upright))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_over_white(tmp_path: Path, mode: str) -> None:
    layer = Image.new("RGBA", (32, 32), (200, 0, 0, 0))
    layer.paste((0, 0, 0, 255), (0, 0, 16, 32))
    image = layer.convert(mode) if mode != "P" else layer.quantize(4)
    image.save(tmp_path / "a.png")
    pixels = load_images(tmp_path, 32).pixels[0]
    assert (pixels[:, :12] < 8).all()
    assert (pixels[:, 20:] > 247).all()


def test_half_transparent_is_blended(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (0, 0, 0, 128)).save(tmp_path / "a.png")
    assert np.abs(load_images(tmp_path, R).pixels[0].astype(int) - 127).max() <= 1


def test_cmyk_keeps_its_colours(tmp_path: Path) -> None:
    halves((0, 255, 255, 0), (0, 0, 0, 0), "CMYK").save(tmp_path / "a.jpg", quality=95)  # red | white
    pixels = load_images(tmp_path, 32).pixels[0].astype(int)
    assert np.abs(pixels[:, 2:12] - (255, 0, 0)).max() < 20
    assert np.abs(pixels[:, 20:30] - (255, 255, 255)).max() < 20


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 32, dtype=np.uint16)[None].repeat(32, 0)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    pixels = load_images(tmp_path, 32).pixels[0]
    assert np.abs(pixels[0, :, 0].astype(int) - np.round(np.linspace(0, 255, 32))).max() <= 1


def test_grey_becomes_three_channels(tmp_path: Path) -> None:
    picture(3, mode="L").save(tmp_path / "a.png")
    pixels = load_images(tmp_path, R).pixels[0]
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    for name in ("a.png", "b.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
    assert (load_images(tmp_path, R).pixels == (255, 0, 0)).all()


def test_srgb_profile_changes_nothing_and_a_broken_one_is_ignored(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture(5, (R, R)).save(tmp_path / "a.png", icc_profile=srgb)
    picture(5, (R, R)).save(tmp_path / "b.png", icc_profile=b"not a profile" * 20)
    picture(5, (R, R)).save(tmp_path / "c.png")
    first, second, plain = load_images(tmp_path, R).pixels.astype(int)
    assert np.abs(first - plain).max() <= 2
    assert np.array_equal(second, plain)


def test_no_folder_no_image_and_a_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not there"):
        scan_folder(tmp_path / "absent")
    (tmp_path / "x.png").write_bytes(b"")
    with pytest.raises(ImageError, match="is a file"):
        scan_folder(tmp_path / "x.png")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ImageError, match="no image") as caught:
        scan_folder(empty)
    assert caught.value.folder == empty
    assert caught.value.bad == ()


def test_hint_points_one_level_down_or_at_a_format_to_convert(tmp_path: Path) -> None:
    (tmp_path / "10_sks dog").mkdir()
    picture().save(tmp_path / "10_sks dog" / "a.png")
    with pytest.raises(ImageError) as caught:
        scan_folder(tmp_path)
    assert "10_sks dog" in caught.value.hint
    assert "--each" not in caught.value.hint
    (tmp_path / "cat").mkdir()
    picture().save(tmp_path / "cat" / "a.png")
    with pytest.raises(ImageError) as caught:
        scan_folder(tmp_path)
    assert caught.value.hint.endswith(f"cns add --each {tmp_path}")
    (tmp_path / "scan.tif").write_bytes(b"x")
    with pytest.raises(ImageError) as caught:
        scan_folder(tmp_path)
    assert "scan.tif" in caught.value.hint


def test_one_image_warns_and_so_do_copies(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    assert "one image" in load_images(tmp_path, R).warnings[0]
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes())
    assert "only 1 different" in load_images(tmp_path, R).warnings[0]


def test_other_formats_masks_and_hidden_files_are_not_taken(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    picture(2).save(tmp_path / "b.png")
    picture(1, mode="L").save(tmp_path / "a-masklabel.png")
    picture(1).save(tmp_path / ".c.png")
    picture(1).save(tmp_path / "d.gif")
    images = load_images(tmp_path, R)
    assert [image.name for image in images.images] == ["a.png", "b.png"]
    assert [warning.partition(":")[0] for warning in images.warnings] == ["skipped d.gif"]


def test_digest_is_the_files(tmp_path: Path) -> None:
    picture(1).save(tmp_path / "a.png")
    assert load_images(tmp_path, R).images[0].sha256 == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()


def truncated() -> bytes:
    buffer = io.BytesIO()
    picture(1, (64, 64)).save(buffer, "JPEG")
    return buffer.getvalue()[:-200]


HOSTILE = {
    "empty": b"",
    "text": b"this is no image at all",
    "truncated": truncated(),
    "png header only": b"\x89PNG\r\n\x1a\n",
    "png that stops inside a chunk": bomb()[:40],
    "bomb": bomb(),
    "large but under Pillow's own limit": bomb(8_100),
    "gif with another name": b"GIF89a\x01\x00\x01\x00\x80\x00\x00" + b"\x00" * 40,
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "riff": b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff",
    "avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 40,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_file_is_an_error_that_names_it(tmp_path: Path, kind: str) -> None:
    picture(1).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(HOSTILE[kind])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError) as caught:
            load_images(tmp_path, R)
    assert [name for name, _ in caught.value.bad] == ["bad.png"]
    assert "bad.png" in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_links_and_pipes_are_never_opened(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    picture(1).save(tmp_path / "outside.png")
    picture(1).save(folder / "inside.png")
    (folder / "out.png").symlink_to(tmp_path / "outside.png")
    (folder / "in.png").symlink_to(folder / "inside.png")
    (folder / "dangling.png").symlink_to(tmp_path / "absent.png")
    os.mkfifo(folder / "pipe.png")
    with pytest.raises(ImageError) as caught:
        load_images(folder, R)
    reasons = dict(caught.value.bad)
    assert set(reasons) == {"out.png", "in.png", "dangling.png", "pipe.png"}
    assert "symbolic link" in reasons["out.png"]
    assert "no regular file" in reasons["pipe.png"]


def test_too_large_a_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(100_000_001)  # a hole: takes no room
    with pytest.raises(ImageError, match="100,000,001 bytes"):
        load_images(tmp_path, R)


def test_damaged_bytes_never_escape_as_another_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for suffix in ("png", "jpg", "webp", "bmp", "avif"):
        good = io.BytesIO()
        exif = Image.Exif()
        exif[0x0112] = 6
        picture(2, (40, 30)).save(good, {"jpg": "JPEG"}.get(suffix, suffix), exif=exif)
        for trial in range(25):
            data = bytearray(good.getvalue())
            for place in rng.integers(0, len(data), 1 + trial % 8):
                data[place] = rng.integers(256)
            (tmp_path / f"a.{suffix}").write_bytes(data)
            with contextlib.suppress(ImageError):  # any other error fails the test
                assert load_images(tmp_path, R).pixels.shape == (1, R, R, 3)
        (tmp_path / f"a.{suffix}").unlink()


def test_images_are_read_without_torch() -> None:
    modules = "cns.files.images, cns.metrics, cns.families, cns.prompts, cns.files.bases, cns.judges.classnoun"
    code = f"import {modules}, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
