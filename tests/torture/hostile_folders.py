"""R12's folders: what somebody could hand over as "five photos of my dog". `FOLDERS` holds a maker for each.

A maker fills a folder and returns what must come of it: "refused", or "taken" with every image in it. None means that
this machine cannot make it (a device without the right to).
"""

from __future__ import annotations

import functools
import io
import json
import os
import socket
import stat
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, PngImagePlugin

Outcome = Literal["refused", "taken"]
Maker = Callable[[Path], Outcome | None]
FOLDERS: dict[str, Maker] = {}


def folder(name: str) -> Callable[[Maker], Maker]:
    """Enter a maker into the table."""

    def enter(maker: Maker) -> Maker:
        FOLDERS[name] = maker
        return maker

    return enter


def picture(seed: int = 0, side: int = 48, mode: str = "RGB") -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    return Image.fromarray(small).resize((side, side)).convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes, depth: int = 8, colour: int = 2, rows: bytes | None = None) -> bytes:
    """A PNG of any size, of zeros unless told otherwise: small as a file."""
    size = (width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] + 7) // 8 + 1
    data = _zeros(size * height) if rows is None else zlib.compress(rows)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@functools.cache
def _zeros(size: int) -> bytes:
    packer = zlib.compressobj(9)
    parts = [packer.compress(bytes(min(2**24, size - start))) for start in range(0, size, 2**24)]
    return b"".join(parts) + packer.flush()


def _simple(name: str, file: str, data: Callable[[], bytes], outcome: Outcome) -> None:
    def maker(place: Path) -> Outcome:
        (place / "good.png").write_bytes(encoded(picture()))
        (place / file).write_bytes(data())
        return outcome

    FOLDERS[name] = maker


def scans(count: int, side: int) -> bytes:
    """A progressive JPEG with a scan said over and over."""
    data = encoded(Image.new("L", (side, side)), "JPEG", progressive=True)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    last = data.rindex(b"\xff\xda")
    return data[:second] + data[last:-2] * count + data[-2:]


def run_length_bmp(side: int, length: int) -> bytes:
    """A BMP whose runs are one pixel long."""
    palette = b"\0\0\0\0" * 256
    data = (b"\x01\x00" * length)[:length] + b"\x00\x01"
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 14 + 40 + 1024 + len(data), 0, 0, 14 + 40 + 1024) + head + palette + data


def exif(orientation: int = 1, extra: bytes = b"") -> bytes:
    table = Image.Exif()
    table[0x0112] = orientation
    if extra:
        table[0x9286] = extra  # UserComment
    return table.tobytes()


def gif(frames: int) -> bytes:
    some = [picture(seed, 16, "P") for seed in range(frames)]
    return encoded(some[0], "GIF", save_all=True, append_images=some[1:])


# Bombs

_simple("bomb: PNG of 400 million pixels", "a.png", lambda: png(20_000, 20_000, rows=b""), "refused")
_simple("bomb: PNG just over 64 million pixels", "a.png", lambda: png(8001, 8001, rows=b""), "refused")
_simple("bomb: PNG of 2^31 - 1 pixels a side", "a.png", lambda: png(2**31 - 1, 2**31 - 1, rows=b""), "refused")
_simple("bomb: PNG of one row of 64 million pixels", "a.png", lambda: png(64_000_000, 1), "taken")
_simple("bomb: PNG of one column of 64 million pixels", "a.png", lambda: png(1, 64_000_001, rows=b""), "refused")
_simple("bomb: RGB PNG of 64 million pixels, whole", "a.png", lambda: png(8000, 8000), "taken")
_simple("bomb: RGBA PNG of 64 million pixels, whole", "a.png", lambda: png(8000, 8000, colour=6), "taken")
_simple(
    "bomb: RGBA PNG of 64 million pixels, turned",
    "a.png",
    lambda: png(8000, 8000, chunk(b"eXIf", exif(6)[6:]), colour=6),
    "taken",
)
_simple("bomb: 16 bit PNG of 64 million pixels", "a.png", lambda: png(8000, 8000, depth=16, colour=0), "taken")
_simple("bomb: 1 bit PNG of 64 million pixels", "a.png", lambda: png(8000, 8000, depth=1, colour=0), "taken")
_simple(
    "bomb: palette PNG of 64 million pixels with transparency",
    "a.png",
    lambda: png(8000, 8000, chunk(b"PLTE", bytes(768)), chunk(b"tRNS", bytes(256)), colour=3),
    "taken",
)
_simple("bomb: PNG whose data go on behind its rows", "a.png", lambda: png(64, 64, rows=bytes(50_000_000)), "taken")
_simple(
    "bomb: PNG text of a gigabyte", "a.png", lambda: png(64, 64, chunk(b"zTXt", b"a\0\0" + _zeros(2**30))), "refused"
)
_simple(
    "bomb: PNG profile of a gigabyte", "a.png", lambda: png(64, 64, chunk(b"iCCP", b"a\0\0" + _zeros(2**30))), "refused"
)
_simple(
    "bomb: PNG of a million text chunks",
    "a.png",
    lambda: png(64, 64, chunk(b"tEXt", b"a\0" + b"x" * 60) * 1_000_000),
    "refused",
)
_simple(
    "bomb: JPEG of 65,500 pixels a side",
    "a.jpg",
    lambda: encoded(picture(), "JPEG").replace(struct.pack(">HH", 48, 48), struct.pack(">HH", 65500, 65500), 1),
    "refused",
)
_simple(
    "bomb: JPEG of 64 million pixels, whole", "a.jpg", lambda: encoded(Image.new("RGB", (8000, 8000)), "JPEG"), "taken"
)
_simple("bomb: JPEG of 2,000 scans", "a.jpg", lambda: scans(2000, 4000), "refused")
_simple(
    "bomb: WEBP of 268 million pixels",
    "a.webp",
    lambda: b"RIFF\x1e\0\0\0WEBPVP8L\x11\0\0\0/" + struct.pack("<I", 0x3FFF | 0x3FFF << 14) + bytes(12),
    "refused",
)
_simple(
    "bomb: WEBP of 36 million pixels, whole",
    "a.webp",
    lambda: encoded(Image.new("RGB", (6000, 6000)), "WEBP", lossless=True, method=0),
    "refused",
)
_simple(
    "bomb: AVIF of 36 million pixels, whole",
    "a.avif",
    lambda: encoded(Image.new("RGB", (6000, 6000)), "AVIF", speed=10),
    "refused",
)
_simple("bomb: BMP of runs of one pixel", "a.bmp", lambda: run_length_bmp(7000, 20_000_000), "refused")
_simple(
    "bomb: BMP that says 2^31 pixels",
    "a.bmp",
    lambda: encoded(picture(), "BMP").replace(struct.pack("<ii", 48, 48), struct.pack("<ii", 65535, 32768), 1),
    "refused",
)


@folder("bomb: a hole of 100 gigabytes")
def _hole(place: Path) -> Outcome:
    with (place / "a.png").open("wb") as file:
        file.truncate(10**11)
    return "refused"


@folder("bomb: ten images of 64 million pixels")
def _ten(place: Path) -> Outcome:
    for number in range(10):
        (place / f"{number}.png").write_bytes(png(8000, 8000))
    return "refused"


@folder("bomb: forty files of 99 megabytes")
def _forty(place: Path) -> Outcome:
    for number in range(40):
        with (place / f"{number}.png").open("wb") as file:
            file.write(encoded(picture()))
            file.truncate(99_000_000)
    return "refused"


# Damaged, and not what they say

_simple("nothing in the file", "a.png", lambda: b"", "refused")
_simple("one byte", "a.jpg", lambda: b"\xff", "refused")
_simple("text", "a.png", lambda: b"I am a photograph, believe me", "refused")
_simple("a JPEG that stops in the middle", "a.jpg", lambda: encoded(picture(1, 256), "JPEG")[:-900], "refused")
_simple("a PNG that stops in the middle", "a.png", lambda: encoded(picture(1, 256))[:-900], "refused")
_simple("a WEBP that stops in the middle", "a.webp", lambda: encoded(picture(1, 256), "WEBP")[:-300], "refused")
_simple("an AVIF that stops in the middle", "a.avif", lambda: encoded(picture(1, 256), "AVIF")[:-100], "refused")
_simple("a BMP that stops in the middle", "a.bmp", lambda: encoded(picture(1, 256), "BMP")[:-9000], "refused")
_simple("a PNG with a wrong checksum", "a.png", lambda: encoded(picture()).replace(b"IHDR\0", b"IHDR\1", 1), "refused")
_simple("a GIF called PNG", "a.png", lambda: gif(1), "refused")
_simple("a TIFF called PNG", "a.png", lambda: encoded(picture(), "TIFF"), "refused")
_simple("an SVG with a script", "a.png", lambda: b"<svg onload='x()' xmlns='http://www.w3.org/2000/svg'/>", "refused")
_simple("a PDF called JPEG", "a.jpg", lambda: encoded(picture(), "PDF"), "refused")
_simple(
    "an EPS called JPEG", "a.jpg", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n" + b"x" * 99, "refused"
)
_simple("a pickle called PNG", "a.png", lambda: b"\x80\x04\x95cposix\nsystem\n(S'id'\ntR.", "refused")
_simple("a ZIP behind a PNG", "a.png", lambda: encoded(picture()) + b"PK\x03\x04" + bytes(500), "taken")
_simple(
    "a script behind a JPEG", "a.jpg", lambda: encoded(picture(), "JPEG") + b"<?php system($_GET['x']); ?>", "taken"
)
_simple("a HTML page before a JPEG", "a.jpg", lambda: b"<html>" + encoded(picture(), "JPEG"), "refused")
_simple("a PNG called JPEG", "a.jpg", lambda: encoded(picture()), "taken")

# Odd, and good

_simple("a CMYK JPEG", "a.jpg", lambda: encoded(picture(2, 48, "CMYK"), "JPEG"), "taken")
_simple("a 16 bit PNG", "a.png", lambda: png(48, 48, depth=16, colour=0), "taken")
_simple("a 16 bit RGBA PNG", "a.png", lambda: png(48, 48, depth=16, colour=6), "taken")
_simple("a palette PNG with transparency", "a.png", lambda: encoded(picture(3, 48, "P"), transparency=3), "taken")
_simple("a grey PNG with alpha", "a.png", lambda: encoded(picture(3, 48, "LA")), "taken")
_simple("an image of one pixel", "a.png", lambda: encoded(picture(4, 1)), "taken")
_simple(
    "an animated WEBP",
    "a.webp",
    lambda: encoded(picture(1), "WEBP", save_all=True, append_images=[picture(2)] * 50),
    "taken",
)
_simple(
    "an animated PNG",
    "a.png",
    lambda: encoded(picture(1), "PNG", save_all=True, append_images=[picture(2)] * 50),
    "taken",
)
_simple(
    "an animated AVIF",
    "a.avif",
    lambda: encoded(picture(1), "AVIF", save_all=True, append_images=[picture(2)] * 5),
    "taken",
)
_simple("an animated GIF beside it", "a.gif", lambda: gif(50), "taken")
_simple("EXIF of 60 kilobytes", "a.jpg", lambda: encoded(picture(), "JPEG", exif=exif(1, b"x" * 60_000)), "taken")
_simple("EXIF that is garbage", "a.jpg", lambda: encoded(picture(), "JPEG", exif=b"Exif\0\0" + b"\xff" * 5000), "taken")
_simple(
    "EXIF with a loop of tables",
    "a.jpg",
    lambda: encoded(
        picture(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0"
    ),
    "taken",
)
_simple("a profile that is garbage", "a.png", lambda: encoded(picture(), icc_profile=b"garbage" * 500), "taken")
_simple("a profile of megabytes", "a.jpg", lambda: encoded(picture(), "JPEG", icc_profile=b"\xff" * 3_000_000), "taken")
for _number in range(1, 9):
    _simple(
        f"EXIF orientation {_number}",
        "a.jpg",
        lambda number=_number: encoded(picture(), "JPEG", exif=exif(number)),
        "taken",
    )
_simple("EXIF orientation 200", "a.jpg", lambda: encoded(picture(), "JPEG", exif=exif(200)), "taken")


# Names


def _named(
    name: str, file: bytes, image: Callable[[], bytes] = lambda: encoded(picture()), outcome: Outcome = "taken"
) -> None:
    def maker(place: Path) -> Outcome:
        with open(os.path.join(os.fsencode(place), file), "wb") as handle:
            handle.write(image())
        return outcome

    FOLDERS[name] = maker


def _broken() -> bytes:
    return b"broken"


_named("a name with a newline", b"a\nerror: all is lost.png", _broken, "refused")
_named("a name that clears the screen", b"\x1b[2J\x1b]0;owned\x07.png", _broken, "refused")
_named("a name that reads backwards", "gpj.\u202eexe.png".encode(), _broken, "refused")
_named("a name in no encoding", b"\xff\xfe\x80.png", _broken, "refused")
_named("a good image named in no encoding", b"\xff\xfe\x80.png")
_named("a good image with a newline in its name", b"a\nb.png")
_named("a name of 255 bytes", b"a" * 251 + b".png", _broken, "refused")
_named("a name of 250 digits", b"9" * 250 + b".png")
_named("a name with quotes and dollars", b"$(touch owned) `id` '\"; rm -rf.png", _broken, "refused")
_named("a name that looks like an option", b"--replace.png")


# What is no file


@folder("a link to a file outside")
def _link_out(place: Path) -> Outcome:
    (place / "a.png").symlink_to("/etc/passwd")
    return "refused"


@folder("a link to a good image outside")
def _link_good(place: Path) -> Outcome:
    (place.parent / "outside.png").write_bytes(encoded(picture()))
    (place / "a.png").symlink_to(place.parent / "outside.png")
    return "refused"


@folder("a link to nowhere")
def _link_nowhere(place: Path) -> Outcome:
    (place / "a.png").symlink_to("nowhere")
    return "refused"


@folder("links in a loop")
def _loop(place: Path) -> Outcome:
    (place / "a.png").symlink_to("b.png")
    (place / "b.png").symlink_to("a.png")
    return "refused"


@folder("a link to an endless device")
def _zero(place: Path) -> Outcome:
    (place / "a.png").symlink_to("/dev/zero")
    return "refused"


@folder("a pipe")
def _pipe(place: Path) -> Outcome:
    os.mkfifo(place / "a.png")
    return "refused"


@folder("a socket")
def _socket(place: Path) -> Outcome | None:
    here = Path.cwd()
    os.chdir(place)  # an address has at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("a.png")
    finally:
        os.chdir(here)
    return "refused"


@folder("a device")
def _device(place: Path) -> Outcome | None:
    try:
        os.mknod(place / "a.png", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        return None
    return "refused"


@folder("a folder called x.png")
def _subfolder(place: Path) -> Outcome:
    (place / "x.png").mkdir()
    (place / "good.png").write_bytes(encoded(picture()))
    return "taken"


@folder("a folder called x.png alone")
def _subfolder_alone(place: Path) -> Outcome:
    (place / "x.png").mkdir()
    return "refused"


@folder("a file that may not be read")
def _unreadable(place: Path) -> Outcome:
    (place / "a.png").write_bytes(encoded(picture()))
    (place / "a.png").chmod(0)
    return "refused"


@folder("nothing")
def _nothing(place: Path) -> Outcome:
    return "refused"


@folder("five thousand images")
def _many(place: Path) -> Outcome:
    data = encoded(picture())
    for number in range(5000):
        (place / f"{number}.png").write_bytes(data)
    return "refused"


@folder("fifty thousand other files")
def _others(place: Path) -> Outcome:
    (place / "good.png").write_bytes(encoded(picture()))
    for number in range(50_000):
        (place / f"{number}.xyz").touch()
    return "taken"


@folder("two hundred images")
def _two_hundred(place: Path) -> Outcome:
    data = encoded(picture())
    for number in range(200):
        (place / f"{number}.png").write_bytes(data)
    return "taken"


# Captions


def _captioned(name: str, file: str, data: Callable[[], bytes], outcome: Outcome) -> None:
    def maker(place: Path) -> Outcome:
        (place / "a.png").write_bytes(encoded(picture()))
        (place / file).write_bytes(data())
        return outcome

    FOLDERS[name] = maker


_captioned("a caption of 100 megabytes", "a.txt", lambda: b"x" * 100_000_000, "refused")
_captioned("a caption of bytes", "a.txt", lambda: bytes(range(256)), "refused")
_captioned("a caption that clears the screen", "a.txt", lambda: b"a \x1b[2J\x1b]0;x\x07 dog", "taken")
_captioned("a caption of 16 kilobytes without a space", "a.txt", lambda: b"x" * 16_384, "taken")
_captioned("metadata of 100 megabytes", "metadata.jsonl", lambda: b" " * 100_000_000, "refused")
_captioned(
    "metadata: a line of megabytes",
    "metadata.jsonl",
    lambda: b'{"file_name": "a.png", "text": "' + b"x" * 3_900_000 + b'"}',
    "refused",
)
_captioned("metadata: nested 100,000 deep", "metadata.jsonl", lambda: b'{"file_name":' + b"[" * 100_000, "refused")
_captioned(
    "metadata: a nested text",
    "metadata.jsonl",
    lambda: b'{"file_name": "a.png", "text": ' + b"[" * 500 + b"]" * 500 + b"}",
    "refused",
)
_captioned("metadata: of the wrong types", "metadata.jsonl", lambda: b'[1, 2]\n"x"\n7\n', "refused")
_captioned("metadata: a number for a text", "metadata.jsonl", lambda: b'{"file_name": "a.png", "text": 7}', "refused")
_captioned(
    "metadata: names that lead elsewhere",
    "metadata.jsonl",
    lambda: json.dumps({"file_name": "../../../etc/passwd", "text": "x"}).encode(),
    "taken",
)
_captioned(
    "metadata: 80,000 rows",
    "metadata.jsonl",
    lambda: b"".join(b'{"file_name": "%d", "text": "y"}\n' % number for number in range(80_000)),
    "taken",
)


@folder("a caption that is a link")
def _caption_link(place: Path) -> Outcome:
    (place / "a.png").write_bytes(encoded(picture()))
    (place / "a.txt").symlink_to("/etc/passwd")
    return "refused"


@folder("a caption that is a pipe")
def _caption_pipe(place: Path) -> Outcome:
    (place / "a.png").write_bytes(encoded(picture()))
    os.mkfifo(place / "a.txt")
    return "refused"


@folder("metadata that is a pipe")
def _metadata_pipe(place: Path) -> Outcome:
    (place / "a.png").write_bytes(encoded(picture()))
    os.mkfifo(place / "metadata.jsonl")
    return "refused"


@folder("a PNG with a private chunk of 90 megabytes")
def _private(place: Path) -> Outcome:
    info = PngImagePlugin.PngInfo()
    info.add(b"prVt", bytes(90_000_000))
    picture().save(place / "a.png", pnginfo=info)
    return "taken"
