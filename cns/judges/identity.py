"""A judge that knows single drawings: the identity encoder of the embedded base.

A small residual CNN maps a picture to a unit vector that stays the same when the background, the place or the size of
the drawing changes, and differs between two artists' drawings of one noun. It is to the embedded base what DINO is to
real bases. It shares nothing with the CLIP whose text tower the base draws with, so it can judge that base.

The module holds the network and its file format. It does not know how it was trained (`base_model/identity.py`) nor
what its scores mean.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from cns.files.models import check_config

IMAGE_SIZE = 64
CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
MAX_WIDTH = 1024  # of a config that may come from anybody; ours has 160
MAX_BLOCKS = 8
GROUPS = 8  # of each group norm; every width is a multiple of it


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm, and a shortcut that is projected where the shape changes."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False)
        self.norm1 = nn.GroupNorm(GROUPS, width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, 1, 1, bias=False)
        self.norm2 = nn.GroupNorm(GROUPS, width_out)
        same_shape = stride == 1 and width_in == width_out
        self.shortcut = nn.Identity() if same_shape else nn.Conv2d(width_in, width_out, 1, stride, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(B, I, H, W) to (B, O, H / stride, W / stride)."""
        residual = F.relu(self.norm1(self.conv1(features)))
        return F.relu(self.shortcut(features) + self.norm2(self.conv2(residual)))


class IdentityEncoder(nn.Module):
    """Picture to unit vector; the cosine of two vectors says how much the pictures show the same drawing.

    Args:
        widths: Channels after the stem and after each residual block; each block halves the resolution.
        embedding_size: Length of the unit vector.
    """

    def __init__(self, widths: Sequence[int] = (32, 64, 96, 160), embedding_size: int = 128) -> None:
        super().__init__()
        self.widths = tuple(widths)
        self.embedding_size = embedding_size
        self.stem = nn.Conv2d(3, self.widths[0], 3, 2, 1)
        pairs = zip(self.widths, self.widths[1:], strict=False)
        self.blocks = nn.Sequential(*(ResidualBlock(before, after, 2) for before, after in pairs))
        # Mean pooling sees the whole drawing, max pooling its rarest detail, and neither sees where it is.
        self.head = nn.Linear(2 * self.widths[-1], embedding_size)

    def forward(self, images: Tensor) -> Tensor:
        """Embed pictures.

        Args:
            images: Shape (B, 3, 64, 64), floating, RGB in [-1, 1].

        Returns:
            Shape (B, embedding_size), float32, of unit length.
        """
        features = self.blocks(F.relu(self.stem(images)))
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
        return F.normalize(self.head(pooled).float(), dim=-1)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors` (in the module's own dtype) into a folder, made if absent."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "architecture": type(self).__name__,
            "image_size": IMAGE_SIZE,
            "widths": list(self.widths),
            "embedding_size": self.embedding_size,
        }
        (folder / CONFIG_NAME).write_text(json.dumps(config, indent=2) + "\n")
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / WEIGHTS_NAME)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> IdentityEncoder:
        """Read an encoder that `save_pretrained` wrote; it comes back in float32 and in evaluation mode.

        Raises:
            BaseModelError: the folder holds no identity encoder.
            ValueError: its config describes one that is larger than any.
        """
        folder = Path(folder)
        config = check_config(folder / CONFIG_NAME)
        widths, size = config["widths"], config["embedding_size"]
        sides = [*widths, size]
        known = all(isinstance(side, int) and 1 <= side <= MAX_WIDTH for side in sides)
        if not known or not 2 <= len(sides) <= MAX_BLOCKS:
            raise ValueError(f"widths {str(sides)[:80]}: expected at most {MAX_BLOCKS} of at most {MAX_WIDTH}")
        encoder = cls(widths, size)
        weights = {name: value.float() for name, value in load_file(folder / WEIGHTS_NAME).items()}
        encoder.load_state_dict(weights)
        return encoder.eval()
