"""From pictures to what an image encoder's first layer reads: resize, central crop, normalise.

The same arithmetic as the original image processors (a test compares them), done with Pillow picture by picture: no
torchvision, and no dependence on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cns.errors import BaseModelError, EncoderMissingError
from cns.files.models import check_config

MAX_SIDE = 2048  # pixels; the largest judge that is known reads 518


class Preparation:
    """From uint8 pictures to what an encoder's first layer reads: resize, central crop, normalise.

    Args:
        size: Pixels of the shorter side after resizing.
        crop: Side of the central square that is kept.
        mean: Of each channel, in [0, 1].
        std: Of each channel.
        resample: Pillow's number of the filter; 3 = bicubic.
    """

    def __init__(self, size: int, crop: int, mean: Sequence[float], std: Sequence[float], resample: int = 3) -> None:
        self.size = size
        self.crop = crop
        self.mean = np.asarray(mean, dtype=np.float32)
        self.std = np.asarray(std, dtype=np.float32)
        self.resample = Image.Resampling(resample)

    @classmethod
    def from_folder(cls, folder: Path) -> Self:
        """Read a `preprocessor_config.json` of the CLIP or DINOv2 kind.

        Raises:
            EncoderMissingError: it is missing, or of another kind.
        """
        try:
            config = check_config(folder / "preprocessor_config.json")
            size, crop = config["size"], config["crop_size"]
            return cls(
                size=_side(size if isinstance(size, int) else size["shortest_edge"]),
                crop=_side(crop if isinstance(crop, int) else crop["height"]),
                mean=config["image_mean"],
                std=config["image_std"],
                resample=config.get("resample", 3),
            )
        except (BaseModelError, KeyError, TypeError, ValueError) as error:
            raise EncoderMissingError(
                f"{folder} has no preprocessor_config.json of the CLIP kind: {str(error)[:200]}",
                "Save the encoder again with its image processor: processor.save_pretrained(FOLDER)",
                source=str(folder),
            ) from error

    def prepare(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, H, W, 3) uint8 to (N, 3, crop, crop) float32."""
        squares = np.stack([self._square(image) for image in images])
        values = (squares.astype(np.float32) / np.float32(255) - self.mean) / self.std
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2))

    def _square(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        scale = self.size / min(height, width)
        target = (int(width * scale), int(height * scale)) if width != height else (self.size, self.size)
        if target != (width, height):
            image = np.asarray(Image.fromarray(image).resize(target, self.resample))
        top, left = (image.shape[0] - self.crop) // 2, (image.shape[1] - self.crop) // 2
        return image[top : top + self.crop, left : left + self.crop]


def _side(value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= MAX_SIDE:
        raise ValueError(f"a side of {str(value)[:40]} pixels; expected 1 to {MAX_SIDE}")
    return value
