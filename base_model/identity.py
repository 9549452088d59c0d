"""Training of the identity encoder: tell some six thousand single drawings apart, whatever is around them.

Every step composes its own pictures on the device: each of some drawings several times, shrunk, moved and tilted, on
painted backgrounds, now and then blurred, always a little noisy. The loss pulls the pictures of one drawing together
and pushes all others away. Class vectors, one a drawing, were tried instead and learned several times more slowly: each
of them is met too seldom. FxEmoji and Twemoji are left out: their drawings serve as concepts and as other artists.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from base_model.backgrounds import draw_phrase, paint_background
from base_model.drawings import Rgba
from base_model.training import Schedule, Training, autocast, matrix_optimizers
from cns.judges.identity import IdentityEncoder

NOUN_DRAWINGS = 32  # a batch, of the nouns that the encoder will judge most
OTHER_DRAWINGS = 32
VIEWS = 4  # pictures a drawing
BACKGROUNDS = 3000
LOGIT_SCALE = 16.0
SIZES = (22.0, 60.0)  # pixels
SHIFT = 0.25  # of the picture's half width, at full size
TILT = 0.08  # radians, standard deviation
BLUR_SHARE = 0.3
NOISE = 0.03
PEAK_LR = 2e-3


def train_identity(
    encoder: IdentityEncoder,
    drawings: Rgba,
    noun_indices: Sequence[int],
    minutes: float,
    folder: Path,
    device: torch.device,
    seed: int = 1,
) -> None:
    """Train an identity encoder in place and write it in float32 as `folder`/model.

    Args:
        encoder: A new or an earlier one.
        drawings: uint8 (N, 64, 64, 4), straight alpha.
        noun_indices: Which of them show the base's nouns.
        minutes: Time budget.
        folder: Keeps the checkpoint and the result.
        device: Where to train.
        seed: Of backgrounds and batches.
    """
    layers, backgrounds = premultiplied(drawings).to(device), painted_backgrounds(seed).to(device)
    nouns = torch.tensor(noun_indices)
    optimizers = matrix_optimizers([(encoder, PEAK_LR)], excluded=lambda name: name.startswith("stem"))
    training = Training(
        nn.ModuleDict({"encoder": encoder}).to(device), optimizers, Schedule(20, 0.2), minutes,
        folder / "checkpoint.pt", seed, ema_decay=0.99,
    )  # fmt: skip

    def loss_of(generator: Generator) -> Tensor:
        chosen = draw_drawings(nouns, len(drawings), generator).repeat(VIEWS)
        images = compose(layers[chosen.to(device)], backgrounds, generator)
        with autocast(device):
            embeddings = encoder(images)
        return contrast(embeddings, chosen.to(device))

    trained = training.run(loss_of, log=lambda line: print("identity", line, flush=True))["encoder"]
    trained.save_pretrained(folder / "model")


def draw_drawings(nouns: Tensor, total: int, generator: Generator) -> Tensor:
    """Indices of distinct drawings for one batch: some of the nouns', some of any, shape (at most 64,)."""
    of_nouns = nouns[torch.randperm(len(nouns), generator=generator)[:NOUN_DRAWINGS]]
    of_any = torch.randint(0, total, (OTHER_DRAWINGS,), generator=generator)
    return torch.cat([of_nouns, of_any]).unique()


def contrast(embeddings: Tensor, drawing: Tensor) -> Tensor:
    """Mean negative log share of a picture's own drawing in its similarities to the rest of the batch.

    Args:
        embeddings: Unit vectors, shape (B, 128).
        drawing: Which drawing each shows, int64 (B,); every one occurs at least twice.
    """
    itself = torch.eye(len(drawing), dtype=torch.bool, device=drawing.device)
    logits = (LOGIT_SCALE * embeddings @ embeddings.T).masked_fill(itself, -1e4)
    same = ((drawing[:, None] == drawing[None]) & ~itself).float()
    return -((logits.log_softmax(1) * same).sum(1) / same.sum(1)).mean()


def compose(drawings: Tensor, backgrounds: Tensor, generator: Generator) -> Tensor:
    """Put each drawing somewhere on some background.

    Args:
        drawings: float32 (B, 4, 64, 64) in [0, 1], premultiplied alpha.
        backgrounds: float32 (N, 3, 64, 64) in [0, 1].
        generator: On the CPU, so that one seed gives the same pictures on every device.

    Returns:
        float32 (B, 3, 64, 64), about in [-1, 1].
    """
    count, device = len(drawings), drawings.device
    layers = F.grid_sample(
        drawings, F.affine_grid(_poses(count, generator).to(device), list(drawings.shape), align_corners=False),
        align_corners=False,
    )  # fmt: skip
    behind = backgrounds[torch.randint(0, len(backgrounds), (count,), generator=generator).to(device)]
    images = layers[:, :3] + (1 - layers[:, 3:]) * behind
    if torch.rand((), generator=generator) < BLUR_SHARE:
        images = F.interpolate(F.avg_pool2d(images, 2), scale_factor=2, mode="bilinear", align_corners=False)
    images = images + NOISE * torch.randn(images.shape, generator=generator).to(device)
    return images * 2 - 1


def _poses(count: int, generator: Generator) -> Tensor:
    """Inverse affine maps, picture to drawing, shape (count, 2, 3)."""
    low, high = SIZES
    zoom = 64 / (low + (high - low) * torch.rand(count, generator=generator))
    angle = TILT * torch.randn(count, generator=generator)
    shift = SHIFT * (2 * torch.rand(2, count, generator=generator) - 1) * zoom
    cosine, sine = angle.cos() * zoom, angle.sin() * zoom
    rows = torch.stack([cosine, -sine, shift[0], sine, cosine, shift[1]], dim=1)
    return rows.view(count, 2, 3)


def premultiplied(drawings: Rgba) -> Tensor:
    """uint8 (N, 64, 64, 4), straight alpha, to float32 (N, 4, 64, 64) in [0, 1], premultiplied."""
    layers = torch.from_numpy(drawings).permute(0, 3, 1, 2).float() / 255
    layers[:, :3] *= layers[:, 3:]
    return layers


def painted_backgrounds(seed: int, count: int = BACKGROUNDS) -> Tensor:
    """float32 (count, 3, 64, 64) in [0, 1]."""
    rng = np.random.default_rng(seed)
    painted = np.stack([paint_background(draw_phrase(rng), rng) for _ in range(count)])
    return torch.from_numpy(painted).permute(0, 3, 1, 2).float() / 255
