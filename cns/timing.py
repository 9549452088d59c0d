"""How long a training step takes here: for `cns add --dry-run`."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray

from cns.compose import Model, kv_parameters
from cns.denoising import Denoiser, autocast_dtype, draw_batch, encode_images, recomputing
from cns.task import Settings


def time_steps(model: Model, images: NDArray[np.uint8], class_noun: str, settings: Settings, steps: int = 3) -> float:
    """Seconds of one training step, the mean of a few after a warm-up; weights and token rows are left as they are.

    Args:
        model: Its live weights are used.
        images: Shape (N, R, R, 3), uint8.
        class_noun: Stands in the prompts.
        settings: Batch size and seed.
        steps: How many are timed.
    """
    denoiser = Denoiser(model, autocast_dtype(model.pipeline.device))
    generator = torch.Generator().manual_seed(settings.seed)
    latents = encode_images(model.pipeline, images)
    parameters = list(kv_parameters(model.pipeline).values())
    for parameter in parameters:
        parameter.requires_grad_(True)
    prompts = [[f"a {class_noun}"]] * len(latents)

    def step() -> None:
        batch = draw_batch(latents, prompts, settings.batch_size, denoiser.train_timesteps, generator)
        torch.autograd.grad(denoiser.loss(batch), parameters)

    try:
        with recomputing(model.pipeline, latents.shape[-1]):
            step()
            began = _now(model.pipeline.device)
            for _ in range(steps):
                step()
            return (_now(model.pipeline.device) - began) / steps
    finally:
        model.freeze()


def _now(device: torch.device) -> float:
    """Seconds of a clock, once a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
