"""What is known of one training image beside its pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cns.files.decoding import Decoded
from cns.files.squares import Framing

ALPHA = "alpha"
"""Where the mask of a `TrainingImage` comes from that is the picture's own transparency."""


@dataclass(frozen=True)
class TrainingImage:
    """One image as the training sees it.

    Attributes:
        name: File name.
        caption: Its caption, placeholders not filled; None if there is none.
        sha256: Hex digest of the file's bytes.
        size: Width and height of the whole picture in pixels, as it is stored.
        profile_used: False where its colours are a guess, see `Decoded`.
        mask: Where its mask comes from: the hex digest of a file's bytes, or `ALPHA`; None without one.
        mask_kept: Share of what the mask marks that the square keeps; 1 without one.
        framing: How the square was cut out; None where nobody knows.
    """

    name: str
    caption: str | None
    sha256: str
    size: tuple[int, int] = (1, 1)
    profile_used: bool = True
    mask: str | None = None
    mask_kept: float = 1.0
    framing: Framing | None = None


def training_image(path: Path, data: bytes, caption: str | None, seen: Decoded, mask: str | None) -> TrainingImage:
    """What there is to say of an image file that was decoded.

    Args:
        path: Its place.
        data: Its bytes.
        caption: Its caption.
        seen: What was decoded.
        mask: Hex digest of the bytes of its mask's file; None where it has no such file, or one that marks nothing.
    """
    return TrainingImage(
        name=path.name.encode("utf-8", "backslashreplace").decode("utf-8"),  # a record holds no broken UTF-8
        caption=caption,
        sha256=hashlib.sha256(data).hexdigest(),
        size=seen.size,
        profile_used=seen.profile_used,
        mask=mask or (None if seen.mask is None else ALPHA),
        mask_kept=seen.mask_kept,
        framing=seen.framing,
    )
