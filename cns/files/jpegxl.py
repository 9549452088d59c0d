"""JPEG XL: what must be known of a file before the plugin that reads it is let near it.

Pillow reads JPEG XL by a plugin (pillow-jxl-plugin, which is no dependency). It decodes a file when it is opened, so
the size is read here first, from the file's own header (ISO/IEC 18181-1, SizeHeader; 18181-2, the boxes around it).

The module knows bytes.
"""

from __future__ import annotations

import importlib.util

NEEDS_PLUGIN = "JPEG XL is read with a plugin for Pillow: pip install pillow-jxl-plugin"
SUFFIX = ".jxl"
CODESTREAM = b"\xff\x0a"
CONTAINER = b"\x00\x00\x00\x0cJXL \x0d\x0a\x87\x0a"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_SIDE_BITS = (9, 13, 18, 30)
_HEADER_BYTES = 16


def readable() -> bool:
    """Whether the plugin is installed; it is not loaded."""
    return importlib.util.find_spec("pillow_jxl") is not None


def is_jpegxl(data: bytes) -> bool:
    """Whether a file begins as JPEG XL does."""
    return data.startswith((CODESTREAM, CONTAINER))


def size_of(data: bytes) -> tuple[int, int]:
    """Width and height of a JPEG XL file, as it is stored.

    Raises:
        ValueError: It has no such header.
    """
    stream = _codestream(data)
    if not stream.startswith(CODESTREAM):
        raise ValueError("a JPEG XL file without a picture")
    bits = _Bits(stream[len(CODESTREAM) : _HEADER_BYTES])
    small = bits.take(1)
    height = bits.side(small=small)
    ratio = _RATIOS.get(bits.take(3))
    return (height * ratio[0] // ratio[1] if ratio else bits.side(small=small)), height


def _codestream(data: bytes) -> bytes:
    """The first bytes of the codestream: the file's own, or those of the first box that holds some of it."""
    if not data.startswith(CONTAINER):
        return data[:_HEADER_BYTES]
    place = 0
    while place + 8 <= len(data):
        size, kind, head = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8], 8
        if size == 1:
            size, head = int.from_bytes(data[place + 8 : place + 16], "big"), 16
        if kind in (b"jxlc", b"jxlp"):
            begin = place + head + (4 if kind == b"jxlp" else 0)
            return data[begin : begin + _HEADER_BYTES]
        if size < head:  # 0 means that it reaches to the end
            break
        place += size
    return b""


class _Bits:
    """Bits of a header, the lowest of each byte first; behind its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        taken = self._value & ((1 << count) - 1)
        self._value >>= count
        return taken

    def side(self, *, small: int) -> int:
        """A width or height in pixels."""
        return 8 * (self.take(5) + 1) if small else 1 + self.take(_SIDE_BITS[self.take(2)])
