"""What the stored numbers of a picture mean: any mode, depth and colour profile to 8-bit sRGB.

A profile says which colours the numbers are, so it counts before anything is mixed, in whatever form the pixels are
stored: RGB, palette, grey, CMYK, with transparency or without. Opacity is no colour and is left as it is; by it the
sRGB colours are laid over white, in sRGB's own numbers, as browsers do it. Without a profile the numbers are taken as
sRGB; gamma chunks of PNG and what EXIF says of colour spaces are not read.

The module knows Pillow's pictures, no file.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4_000_000
PROFILE_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, KeyError)

PROFILED_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Colour space of an ICC profile -> the mode that its numbers are read in."""


class Flattening:
    """Pictures of one file, of any mode, to 8-bit sRGB.

    Args:
        profile: The file's ICC profile; None where it has none, and its colours are taken as sRGB.
    """

    def __init__(self, profile: bytes | None) -> None:
        self.profile_used = True
        self._mode, self._transform = "", None
        if profile:
            try:
                self._mode, self._transform = _transform_of(profile)
            except PROFILE_ERRORS:
                self.profile_used = False

    def __call__(self, image: Image.Image) -> Image.Image:
        """The picture, or a part of it, as mode RGB in sRGB."""
        if image.mode.startswith("I"):
            # Pillow would clip 16-bit greys at 255 instead of scaling them.
            grey = (np.asarray(image).clip(0, 65535) / 257 + 0.5).astype(np.uint8)
            return self._opaque(Image.fromarray(grey))
        if not image.has_transparency_data:
            return self._opaque(image)
        layer = image.convert("RGBA")
        colours = self._opaque(image.convert("L") if image.mode in ("L", "LA") else layer.convert("RGB"))
        colours.putalpha(layer.getchannel("A"))
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, colours).convert("RGB")

    def _opaque(self, image: Image.Image) -> Image.Image:
        """An opaque picture in sRGB, by the profile where it is one for such a picture."""
        if image.mode not in ("RGB", "L", "CMYK"):
            image = image.convert("RGB")
        if self._transform is None:
            return image.convert("RGB")
        if image.mode == "L" and self._mode == "RGB":  # a grey is a colour, too
            image = image.convert("RGB")
        if image.mode == self._mode:
            try:
                return ImageCms.applyTransform(image, self._transform) or image.convert("RGB")
            except PROFILE_ERRORS:
                pass
        self.profile_used = False
        return image.convert("RGB")


def _transform_of(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform]:
    """The mode that a profile's colours are read in, and the way from there to sRGB.

    Raises:
        One of PROFILE_ERRORS: it is damaged, too large, or describes no RGB, grey or CMYK.
    """
    if len(profile) > MAX_PROFILE_BYTES:
        raise ValueError(f"a profile of {len(profile):,} bytes")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = PROFILED_MODES[source.profile.xcolor_space]
    return mode, ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
