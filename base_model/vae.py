"""The VAE: pictures of 64 px to 4 x 16 x 16 latents and back.

Trained on crops first, which see more pictures a second, and on whole pictures at the end, since group norms and the
middle attention behave differently over a whole picture.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from base_model.training import Schedule, Training, autocast, matrix_optimizers

CROP = 32
CROP_BATCH = 24
WHOLE_BATCH = 6  # as many pixels as CROP_BATCH crops
WHOLE_FROM = 0.65  # share of the budget
KL_WEIGHT = 1e-5
MEASURED_LATENTS = 1024
PEAK_LR = 2e-3


def new_vae() -> AutoencoderKL:
    """An untrained VAE: f4, 4 channels, 1.7 M parameters."""
    return AutoencoderKL(
        block_out_channels=(32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=16,
        sample_size=64,
    )


def train_vae(
    vae: AutoencoderKL, scenes: NDArray[np.uint8], minutes: float, folder: Path, device: torch.device, seed: int = 0
) -> None:
    """Train a VAE in place, centre its latents, and write it in float32 as `folder`/model.

    Args:
        vae: A new or an earlier one.
        scenes: uint8 (N, 64, 64, 3).
        minutes: Time budget.
        folder: Keeps the checkpoint and the result.
        device: Where to train.
        seed: Of batches, crops and posterior samples.
    """
    vae = vae.to(device, memory_format=torch.channels_last).requires_grad_(True)
    torch.manual_seed(seed)  # posterior samples draw from the global generator
    optimizers = matrix_optimizers([(vae, PEAK_LR)], excluded=lambda name: "conv_in" in name or "conv_out" in name)
    training = Training(
        nn.ModuleDict({"vae": vae}), optimizers, Schedule(50, 0.1), minutes, folder / "checkpoint.pt", seed, 0.995
    )

    def loss_of(generator: Generator) -> Tensor:
        images = _batch(scenes, generator, whole=training.spent >= WHOLE_FROM).to(device)
        return vae_loss(vae, images)

    trained = training.run(loss_of, log=lambda line: print("vae", line, flush=True))["vae"]
    centre_latents(trained, scenes[:: max(1, len(scenes) // MEASURED_LATENTS)])
    trained.save_pretrained(folder / "model")


def vae_loss(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """Absolute, squared and gradient error of the reconstruction, and a trace of KL.

    Args:
        vae: In training mode.
        images: Shape (B, 3, H, W), float32 in [-1, 1].
    """
    with autocast(images.device):
        posterior = vae.encode(images).latent_dist
        decoded = vae.decode(posterior.sample()).sample
    error = decoded.float() - images
    # Differences of neighbours: blurred outlines cost more than a wrong shade.
    across, down = error.diff(dim=-1), error.diff(dim=-2)
    kl = posterior.kl().float().mean() / posterior.mean[0].numel()
    gradient = across.abs().mean() + down.abs().mean()
    return error.abs().mean() + 2.0 * error.square().mean() + 0.5 * gradient + KL_WEIGHT * kl


@torch.no_grad()
def centre_latents(vae: AutoencoderKL, scenes: NDArray[np.uint8]) -> None:
    """Give every latent channel mean 0 and standard deviation 1, in place, without changing what is decoded.

    `StableDiffusionPipeline` knows one factor for all channels and no shift. So the shift and scale of each channel
    are folded into the two 1x1 convolutions around the latent, and `scaling_factor` is 1.
    """
    latents = encode(vae, scenes)
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    channels = len(mean)
    # (mean, logvar) = quant_conv(...): new mean = (mean - m) / s; new logvar = logvar - 2 log s.
    vae.quant_conv.weight[:channels] /= std.view(-1, 1, 1, 1)
    vae.quant_conv.bias[:channels] = (vae.quant_conv.bias[:channels] - mean) / std
    vae.quant_conv.bias[channels:] -= 2 * std.log()
    # post_quant_conv(s z + m) = (W s) z + (W m + b)
    weight = vae.post_quant_conv.weight
    vae.post_quant_conv.bias += (weight[:, :, 0, 0] * mean).sum(1)
    weight *= std.view(1, -1, 1, 1)
    vae.register_to_config(scaling_factor=1.0)


@torch.no_grad()
def encode(vae: AutoencoderKL, scenes: NDArray[np.uint8], batch: int = 128) -> Tensor:
    """Posterior means, not scaled: float32 (N, 4, 16, 16) on the CPU."""
    device = vae.device
    means = []
    for start in range(0, len(scenes), batch):
        with autocast(device):
            posterior = vae.encode(to_images(scenes[start : start + batch]).to(device)).latent_dist
        means.append(posterior.mean.float().cpu())
    return torch.cat(means)


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, scenes: NDArray[np.uint8], batch: int = 50) -> Tensor:
    """Decoded posterior means in [-1, 1], computed in float32 as the pipeline does: (N, 3, 64, 64)."""
    return torch.cat(
        [
            vae.decode(vae.encode(to_images(scenes[start : start + batch]).to(vae.device)).latent_dist.mean).sample
            for start in range(0, len(scenes), batch)
        ]
    ).clamp(-1, 1)


def psnr(vae: AutoencoderKL, scenes: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio of reconstructions, in dB, from the mean squared error over all pictures."""
    error = (reconstruct(vae, scenes) - to_images(scenes).to(vae.device)).square().mean().item()
    return 10 * math.log10(4 / error)


def to_images(scenes: NDArray[np.uint8]) -> Tensor:
    """uint8 (B, H, W, 3) to float32 (B, 3, H, W) in [-1, 1], channels last in memory."""
    images = torch.from_numpy(np.array(scenes)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images.contiguous(memory_format=torch.channels_last)


def _batch(scenes: NDArray[np.uint8], generator: Generator, whole: bool) -> Tensor:
    count = WHOLE_BATCH if whole else CROP_BATCH
    chosen = torch.randint(0, len(scenes), (count,), generator=generator).numpy()
    if whole:
        return to_images(scenes[chosen])
    top, left = torch.randint(0, scenes.shape[1] - CROP + 1, (2,), generator=generator).tolist()
    return to_images(scenes[chosen, top : top + CROP, left : left + CROP])
