"""How fast a base computes here, for `cns add --dry-run`: a few passes are timed, on small images of a big base."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from cns.compose import Model, kv_parameters
from cns.cost import ImageCost, counted
from cns.denoising import Denoiser, draw_batch
from cns.sampling import default_batch
from cns.text import class_noun_row, conditions_of, trainable_rows
from cns.tokens import token_ids

TRIAL_FLOPS = {"cuda": 2e14, "cpu": 5e11}
"""About what a timed pass may cost (chosen): a few seconds; devices of other types are taken for CPUs."""


@dataclass(frozen=True)
class Pace:
    """FLOPs a second of a training's steps, and of the drawing of pictures."""

    training: float
    drawing: float


def pace_of(
    model: Model, side: int, cost: ImageCost, batch_size: int, class_noun: str, mixed: torch.dtype | None
) -> Pace:
    """Time a training step, and a forward pass as pictures take it; weights and token rows are left as they are.

    Args:
        model: Its live weights are used.
        side: Of the latents.
        cost: Of an image of that side.
        batch_size: Images a step.
        class_noun: Stands in the prompts.
        mixed: What a training casts to, see `cns.precision.training_dtype`.
    """
    pipeline, trial, images = model.pipeline, side, batch_size
    drawn = 2 * default_batch(side * pipeline.vae_scale_factor)
    if cost.step * images > (most := TRIAL_FLOPS.get(pipeline.device.type, TRIAL_FLOPS["cpu"])):
        images = drawn = 1
        while cost.step * (trial / side) ** 2 > most and trial % 16 == 0:
            trial //= 2
    training = _pace(_step(model, mixed, trial, images, class_noun), pipeline.device)
    if mixed is None and images == drawn == 1:
        return Pace(training, training)  # one precision, the same load: nothing else would be measured
    drawing = _pace(_pass(model, trial, drawn, class_noun), pipeline.device, again=drawn > 1)
    return Pace(training, drawing)


def _step(model: Model, mixed: torch.dtype | None, side: int, images: int, class_noun: str) -> Callable[[], object]:
    """A step's gradients of random latents."""
    denoiser, generator = Denoiser(model, mixed), torch.Generator().manual_seed(0)
    latents = torch.randn((images, model.pipeline.unet.config.in_channels, side, side), generator=generator)
    parameters = list(kv_parameters(model.pipeline).values())
    pipeline = model.pipeline
    row = class_noun_row(pipeline, class_noun).to(pipeline.device).requires_grad_()
    prompts = [[f"a {class_noun} {number}"] for number in range(images)]  # each is encoded, as captions are
    token = int(token_ids(pipeline.tokenizer, [f"a {class_noun}"])[0, 2])

    def step() -> None:
        batch = draw_batch(latents, prompts, images, denoiser.train_timesteps, generator)
        for parameter in parameters:
            parameter.requires_grad_(True)
        try:
            with trainable_rows(pipeline, {token: row}):
                torch.autograd.grad(denoiser.loss(batch), [row, *parameters])
        finally:
            model.freeze()

    return step


@torch.no_grad()
def _pass(model: Model, side: int, images: int, class_noun: str) -> Callable[[], object]:
    """A forward pass on random latents, in the pipeline's own precision."""
    pipeline = model.pipeline
    told = (
        conditions_of(pipeline, [f"a {class_noun}"]).pick([0] * images).inputs(*[side * pipeline.vae_scale_factor] * 2)
    )
    latents = torch.randn((images, pipeline.unet.config.in_channels, side, side)).to(pipeline.device, pipeline.dtype)
    times = torch.zeros(images, dtype=torch.long, device=pipeline.device)
    return torch.no_grad()(lambda: pipeline.unet(latents, times, **told))


def _pace(act: Callable[[], object], device: torch.device, *, again: bool = True) -> float:
    """FLOPs a second of a call; or of a second one: the first one pays for what later ones find."""
    began = _now(device)
    with counted() as counter:
        act()
    if again:
        began = _now(device)
        act()
    return counter.get_total_flops() / (_now(device) - began)


def _now(device: torch.device) -> float:
    """Seconds of a clock, once a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
