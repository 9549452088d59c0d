"""Pictures as files: encoded in the format of their name, with the record of their making inside, read back and shown.

PNG has text chunks: `cns` holds the record as JSON, `parameters` the lines that many readers of generated pictures
show. JPEG, WebP and AVIF have EXIF: the record is its `ImageDescription`, the lines its `UserComment`. Other formats
that Pillow writes take no record, and the caller is told. No time is written: the same picture is the same bytes.
Beside it stands, in XMP, that a model made the picture, in the words of IPTC that other programs look for.

Reading decodes no pixel, and bounds what it reads: a picture may come from anybody.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from cns.files.decoding import DECODE_ERRORS, check_chunks
from cns.files.plain import read_regular_file, reason_of
from cns_cli.mark import XMP_OF_PNG, marked, xmp
from cns_cli.porcelain.pictures.record import FORMAT, MAX_CHARACTERS, NoRecord, PictureRecord, read_record
from cns_cli.porcelain.result import Result
from registry.errors import NotARegistry, RegistryError
from registry.objects import Commit
from registry.repository import Repository

READ = ("PNG", "JPEG", "WEBP", "AVIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif")
MAX_FILE_BYTES = 100_000_000
KEY = "cns"
_DESCRIPTION, _EXIF, _COMMENT = 0x010E, 0x8769, 0x9286  # EXIF 2.32: ImageDescription, the Exif IFD, UserComment
_SOURCE_TYPE = re.compile(r"DigitalSourceType(?:\s*=\s*[\"']|>)\s*([!-;=?-~]{1,200})")
_UNICODE = b"UNICODE\0"  # the character code that stands before a UserComment in UTF-16


@dataclass(frozen=True, kw_only=True)
class PictureResult(Result):
    """What a picture says of itself.

    Attributes:
        command: Makes the same pixels again; of several pictures of one command, all of them.
        alone: Makes this one of several alone; None where `command` does.
        source_type: IPTC's word for how the picture came about, as its XMP says; None where it says nothing.
        commit_here: The registry of the current folder has the commit; None where there is no registry.
    """

    record: PictureRecord
    command: str
    alone: str | None
    source_type: str | None
    commit_here: bool | None


def picture_format(path: Path) -> str:
    """Pillow's format for a file name.

    Raises:
        RegistryError: Pillow writes no such format.
    """
    kind = Image.registered_extensions().get(path.suffix.lower(), "")
    if kind not in Image.SAVE:
        raise RegistryError(f"no picture format has names in {path.suffix!r}: expected .png, .jpg or .webp",
                            "cns generate --help")  # fmt: skip
    return kind


def holds_record(path: Path) -> bool:
    """Whether a picture of this name can say how it was made."""
    return picture_format(path) in READ


def encode_picture(image: Image.Image, path: Path, record: PictureRecord, *, mark: bool = True) -> bytes:
    """The bytes of a picture, in the format of its file name, with its record where the format has room for one.

    Args:
        image: The picture.
        path: Its name.
        record: How it was made.
        mark: Say that a model made it.
    """
    buffer, kind = BytesIO(), picture_format(path)
    if kind == "PNG":
        chunks = marked() if mark else PngInfo()
        chunks.add_text(KEY, record.to_text())
        chunks.add_text("parameters", _encodable(record.parameters()))
        image.save(buffer, format=kind, pnginfo=chunks, optimize=record.grid)  # a sheet is large and made once
    elif kind in READ:
        exif = Image.Exif()
        exif[_DESCRIPTION] = record.to_text()
        exif.get_ifd(_EXIF)[_COMMENT] = _UNICODE + _encodable(record.parameters()).encode("utf-16-be")
        image.save(buffer, format=kind, exif=exif, **({"xmp": xmp().encode()} if mark else {}))
    else:
        image.save(buffer, format=kind)
    return buffer.getvalue()


def read_picture(path: Path) -> PictureRecord:
    """Read how a picture was made.

    Raises:
        NoRecord: It is no picture of a known format, is damaged, or says nothing that can be believed.
    """
    return _read(path)[0]


def is_ours(path: Path) -> bool:
    """Whether a file may be replaced by a picture: it says how it was made, is empty, or is no plain file."""
    if not path.is_file() or path.stat().st_size == 0:
        return True
    try:
        read_picture(path)
    except NoRecord:
        return False
    return True


def is_picture(text: str) -> bool:
    """Whether an argument means a picture rather than a revision: a file that is there and is called like one."""
    return Path(text).suffix.lower() in SUFFIXES and Path(text).is_file()


def show_picture(path: Path, start: Path) -> PictureResult:
    """Read a picture's record.

    Args:
        path: The picture; it may come from anybody.
        start: Folder to look for a registry from.

    Raises:
        NoRecord: It does not say how it was made.
    """
    record, source_type = _read(path)
    several = record.n > 1 and not record.grid
    return PictureResult(
        record=record,
        command=record.command(),
        alone=record.alone() if several else None,
        source_type=source_type,
        commit_here=_has(start, record.commit),
    )


def _read(path: Path) -> tuple[PictureRecord, str | None]:
    """The record of a picture, and its digital source type."""
    try:
        text, source_type = _texts_in(read_regular_file(path, MAX_FILE_BYTES))
    except DECODE_ERRORS as error:
        raise NoRecord(path.name, f"cannot be read as a picture: {reason_of(error)}") from None
    if text is None:
        raise NoRecord(path.name, "does not say how it was made")
    return read_record(text, path.name), source_type


def _texts_in(data: bytes) -> tuple[str | None, str | None]:
    """The record's text and the digital source type in a picture's header; no pixel is decoded."""
    check_chunks(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of bombs, but only the header is read; and of odd EXIF
        with Image.open(BytesIO(data), formats=READ) as image:
            found = image.info.get(KEY) if image.format == "PNG" else image.getexif().get(_DESCRIPTION)
            said = image.info.get(XMP_OF_PNG if image.format == "PNG" else "xmp", "")
    packet = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
    match = _SOURCE_TYPE.search(packet[:MAX_CHARACTERS])
    if not isinstance(found, str) or len(found) > MAX_CHARACTERS or f'"{FORMAT}"' not in found:
        return None, None
    return str(found), match[1] if match else None


def _encodable(text: str) -> str:
    """A prompt may hold half a surrogate pair, which no file can."""
    return text.encode("utf-8", "backslashreplace").decode()


def _has(start: Path, commit: str) -> bool | None:
    try:
        Repository.discover(start).objects.get(commit, Commit)
    except NotARegistry:
        return None
    except RegistryError:
        return False
    return True
