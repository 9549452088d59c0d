"""The denoiser of a pipeline: where it is, which of its matrices may change, what these read, and how it is asked.

Stable Diffusion's is a UNet, whose keys and values read the text's features as the encoders give them. PixArt's and
Sana's are transformers. They project the features first, once for all layers, and the projection is never trained:
what keys and values read is behind it, and that is what the method calls features.

Source: Chen et al., "PixArt-alpha" (ICLR 2024), section 2.3; Xie et al., "SANA" (ICLR 2025), section 2.2;
`PixArtTransformer2DModel` and `SanaTransformer2DModel` of diffusers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cns.errors import SettingsError

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

KV_WEIGHTS = ("attn2.to_k.weight", "attn2.to_v.weight")
"""How the names end of the matrices that CNS may touch."""

PROJECTION = ("caption_projection", "caption_norm")
"""The parts of a denoiser that keys and values read the text through, in this order: PixArt has the first of them, Sana
both, others none."""


def denoiser_of(pipeline: StableDiffusionPipeline) -> Any:
    """What predicts the noise: a UNet or a transformer."""
    return getattr(pipeline, "unet" if hasattr(pipeline, "unet") else "transformer")


def denoiser_name(pipeline: StableDiffusionPipeline) -> str:
    """What it is called where one speaks of it."""
    return "UNet" if hasattr(pipeline, "unet") else "transformer"


def projection_of(denoiser: Any) -> list[torch.nn.Module]:
    """What keys and values read the text through, in order; empty where they read it as the encoder gives it."""
    return [part for name in PROJECTION if (part := getattr(denoiser, name, None)) is not None]


def project(denoiser: Any, states: Tensor) -> Tensor:
    """What keys and values read of the states of a text encoder, shape (B, T, E): shape (B, T, D)."""
    for part in projection_of(denoiser):
        states = part(states)
    return states


def predict(denoiser: Any, latents: Tensor, timesteps: Tensor, told: Mapping[str, Any]) -> Tensor:
    """What a denoiser predicts of latents, shape (B, C, h, w), at timesteps, shape (B,); the same shape.

    PixArt's answers with twice as many channels; the second half is the variance, which no sampler of ours reads. Some
    of Sana's count timesteps on a scale of their own.

    Args:
        denoiser: As of `denoiser_of`.
        latents: Noisy ones.
        timesteps: Of each.
        told: What `cns.text.Conditions.inputs` says of the prompts.
    """
    times = timesteps * denoiser.config.get("timestep_scale", 1)
    answer: Tensor = denoiser(latents, timestep=times, **told).sample
    return answer[:, : latents.shape[1]]


def check_sides(pipeline: StableDiffusionPipeline, *sides: int) -> None:
    """Refuse pictures that a denoiser cannot cut into patches.

    Args:
        pipeline: The base.
        sides: Heights and widths, pixels.

    Raises:
        SettingsError: One is no multiple of a patch's side.
    """
    patch = pipeline.vae_scale_factor * denoiser_of(pipeline).config.get("patch_size", 1)
    for side in sides:
        if side % patch:
            raise SettingsError(
                f"this base draws in patches of {patch} pixels, of which {side} is no multiple",
                f"Take {side // patch * patch or patch} or {(side // patch + 1) * patch}",
                name="size",
                value=side,
            )


def is_short(name: str, layer: torch.nn.Module) -> bool:
    """Whether a layer of a denoiser computes in the shorter format where there is one (`cns.precision`)."""
    exact = f"{name}.weight".endswith(KV_WEIGHTS) or name.startswith(PROJECTION)
    return isinstance(layer, (torch.nn.Linear, torch.nn.Conv2d)) and not exact


def dtype_of(denoiser: Any) -> torch.dtype:
    """In which format a denoiser computes: that of its layers, but for what stays in float32 in any case."""
    return next(layer.weight.dtype for name, layer in denoiser.named_modules() if is_short(name, layer))
