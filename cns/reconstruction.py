"""Can a base draw such pictures at all? What its autoencoder makes of them says so, before anything is trained.

Whatever a diffusion model draws comes out of its decoder. Detail that encoder and decoder lose, no concept brings back:
on a base of flat drawings, photographs come out as smudges however well they are learned. The module encodes and
decodes; what is too much is for the base's family to say.

The judges cannot tell: photographs lie as near to the base's nouns as drawings do, and as near to what the autoencoder
makes of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from cns.denoising import encoded

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

BATCH = 8


def reconstruction_error(pipeline: StableDiffusionPipeline, images: NDArray[np.uint8]) -> float:
    """Mean absolute difference, of 255 levels, between pictures and what the autoencoder makes of them.

    Args:
        pipeline: Its VAE is used and left as it is; nothing is drawn at random.
        images: Shape (N, R, R, 3), uint8, sRGB.
    """
    vae = pipeline.vae
    differences = []
    with torch.no_grad():
        for start in range(0, len(images), BATCH):
            part = torch.from_numpy(images[start : start + BATCH].copy()).permute(0, 3, 1, 2).to(vae.device)
            latents = encoded(vae, part.to(vae.dtype) / 127.5 - 1)
            again = (vae.decode(latents).sample.float().clamp(-1, 1) + 1) * 127.5
            differences.append((again - part).abs().mean((1, 2, 3)))
    return float(torch.cat(differences).mean())
