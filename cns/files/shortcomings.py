"""What makes a set of pictures a poor one, though each of them can be read.

A training does not show these faults: it ends well, and the concept is the worse for them. So each is a sentence that
names the worst pictures. The module knows sizes and pixels; it opens no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from cns.files.trainingimage import TrainingImage

MAX_CUT_AWAY = 0.4
"""Share of a picture beside its central square from which on it is said: a 3:2 photograph loses a third (chosen)."""

MAX_MASK_CUT = 0.1
"""Share of what a mask marks outside the square from which on it is said (chosen)."""

THUMBNAIL = 16
MAX_DIFFERENCE = 5.0
"""Mean difference of two thumbnails, of 255, below which two pictures are nearly the same. Measured: a copy that was
saved as JPEG of quality 30 or cropped by 3 % differs by at most 4.3, the closest two in 152 sets of pictures of this
repository by 17."""

NAMED = 3


def shortcomings(
    images: Sequence[TrainingImage], pixels: NDArray[np.uint8], *, further: bool = False
) -> tuple[str, ...]:
    """Say what is poor about a set of images, a sentence each.

    Args:
        images: At least one.
        pixels: Their squares, shape (N, R, R, 3), uint8.
        further: They come beside others.
    """
    found = [
        _too_few(images, further=further),
        _cut(images),
        _masked_cut(images),
        _small(images, pixels.shape[1]),
        _unread_profiles(images),
        _blank(images, pixels),
    ]
    return tuple(filter(None, [*found, _near_duplicates(images, pixels)]))


def _too_few(images: Sequence[TrainingImage], *, further: bool) -> str:
    if len(images) == 1 and not further:
        return "one image only: the concept will look like this one picture; five from different sides teach more"
    distinct = len({image.sha256 for image in images})
    return f"{len(images)} images, but only {distinct} different files" if distinct < len(images) else ""


def _cut(images: Sequence[TrainingImage]) -> str:
    """Pictures of which the central square leaves out much; where a mask aims the square, only that is asked for."""
    lost = [(1 - min(one.size) / max(one.size), one.name) for one in images if one.mask is None]
    wide = [f"{name} {share:.0%}" for share, name in sorted(lost, reverse=True) if share > MAX_CUT_AWAY]
    if not wide:
        return ""
    return (
        f"{len(wide)} of {len(images)} images lose more than {MAX_CUT_AWAY:.0%} by the central square that is trained "
        f"on: {_named(wide)}; crop them around the concept"
    )


def _masked_cut(images: Sequence[TrainingImage]) -> str:
    """Pictures whose square does not hold what their mask marks."""
    lost = sorted(((1 - one.mask_kept, one.name) for one in images), reverse=True)
    cut = [f"{name} {share:.0%}" for share, name in lost if share > MAX_MASK_CUT]
    if not cut:
        return ""
    return (
        f"what the masks of {len(cut)} of {len(images)} images mark does not fit into the square that is trained on, "
        f"which loses of it: {_named(cut)}; pad them to a square"
    )


def _small(images: Sequence[TrainingImage], side: int) -> str:
    """Pictures that are enlarged."""
    sizes = sorted((min(one.size), one.name, "x".join(map(str, one.size))) for one in images)
    small = [f"{name} {size}" for short, name, size in sizes if short < side]
    if not small:
        return ""
    return (
        f"{len(small)} of {len(images)} images are smaller than the {side} pixels that are trained on, so that the "
        f"concept is learned blurred: {_named(small)}; larger ones teach more"
    )


def _unread_profiles(images: Sequence[TrainingImage]) -> str:
    unread = [image.name for image in images if not image.profile_used]
    if not unread:
        return ""
    return (
        f"the colour profile of {len(unread)} of {len(images)} images cannot be used, so that their colours are a "
        f"guess: {_named(unread)}; save them as sRGB"
    )


def _blank(images: Sequence[TrainingImage], pixels: NDArray[np.uint8]) -> str:
    """Pictures of one colour: what lies in the square is transparent, or the file is a placeholder."""
    blank = [one.name for one, square in zip(images, pixels, strict=True) if (square == square[0, 0]).all()]
    if not blank:
        return ""
    return f"{len(blank)} of {len(images)} images show one colour alone: {_named(blank)}; take them out"


def _near_duplicates(images: Sequence[TrainingImage], pixels: NDArray[np.uint8]) -> str:
    """Pictures that teach nothing that another one does not."""
    shape = (THUMBNAIL, THUMBNAIL)
    small = [np.asarray(Image.fromarray(one).resize(shape, Image.Resampling.BOX), np.float32) for one in pixels]
    thumbnails = np.stack(small)
    pairs = []
    for place, one in enumerate(images):
        differences = np.abs(thumbnails[:place] - thumbnails[place]).mean((1, 2, 3))
        close = [
            other
            for other in np.flatnonzero(differences < MAX_DIFFERENCE).tolist()
            if images[other].sha256 != one.sha256
        ]
        if close:
            pairs.append(f"{one.name} and {images[close[0]].name}")
    if not pairs:
        return ""
    return f"nearly the same picture twice: {_named(pairs)}; different ones teach more"


def _named(names: Sequence[str]) -> str:
    """The first few of a list."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
