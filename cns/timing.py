"""How fast a base computes here, for `cns add --dry-run`: a few passes are timed, on small images of a big base."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from cns.compose import Model, kv_parameters
from cns.cost import ImageCost, counted
from cns.denoiser import denoiser_of, predict
from cns.denoising import Denoiser, draw_batch
from cns.sampling import default_batch
from cns.text import class_noun_row, conditions_of, trainable_rows
from cns.tokens import token_ids

TRIAL_FLOPS = {"cuda": 2e14, "cpu": 5e11}
"""About what a timed pass may cost (chosen): a few seconds; devices of other types are taken for CPUs."""

NOUN = "thing"
"""Of the prompts; any will do."""

LEAST_SIDE = 8
"""Of the latents of the smallest picture: what it takes is mostly that weights are read, and cast."""


@dataclass(frozen=True)
class Pace:
    """How fast a base computes.

    Attributes:
        step: Seconds of a training step beside its arithmetic: all weights are read, and cast.
        training: FLOPs a second of a training's steps.
        drawing: FLOPs a second of the drawing of pictures.
    """

    step: float
    training: float
    drawing: float

    def seconds(self, steps: int, training: float, drawing: float = 0.0) -> float:
        """What so many steps take, with these FLOPs of training and of drawing in all."""
        return steps * self.step + training / self.training + drawing / self.drawing


def pace_of(model: Model, side: int, cost: ImageCost, batch_size: int, mixed: torch.dtype | None) -> Pace:
    """Time a training step, and a forward pass as pictures take it; weights and token rows are left as they are.

    Args:
        model: Its live weights are used.
        side: Of the latents.
        cost: Of an image of that side.
        batch_size: Images a step.
        mixed: What a training casts to, see `cns.precision.training_dtype`.
    """
    device, trial = model.pipeline.device, side
    most = TRIAL_FLOPS.get(device.type, TRIAL_FLOPS["cpu"])
    if cost.step * batch_size <= most:
        drawn = 2 * default_batch(side * model.pipeline.vae_scale_factor)
        trained = _timed(_step(model, mixed, side, batch_size), device, again=True)
        seen = _timed(_pass(model, side, drawn), device, again=True)
        return Pace(0.0, trained.flops / trained.seconds, seen.flops / seen.seconds)
    while cost.step * (trial / side) ** 2 > most and trial % 16 == 0:
        trial //= 2
    again = device.type != "cpu"  # there the first call loads kernels; here a large one is mostly what it does
    small, large = (
        _timed(_step(model, mixed, one, 1), device, again=again or one < trial) for one in (LEAST_SIDE, trial)
    )
    training = _slope(small, large)
    if mixed is None:
        return Pace(max(0.0, small.seconds - small.flops / training), training, training)  # one precision, one load
    passes = (_timed(_pass(model, one, 1), device, again=again) for one in (LEAST_SIDE, trial))
    return Pace(max(0.0, small.seconds - small.flops / training), training, _slope(*passes))


@dataclass(frozen=True)
class _Timed:
    seconds: float
    flops: int


def _slope(small: _Timed, large: _Timed) -> float:
    """FLOPs a second of what a larger call does more; of the whole call where noise hides that."""
    seconds, flops = large.seconds - small.seconds, large.flops - small.flops
    return flops / seconds if seconds > 0 < flops else large.flops / large.seconds


def _step(model: Model, mixed: torch.dtype | None, side: int, images: int) -> Callable[[], object]:
    """A step's gradients of random latents."""
    denoiser, generator = Denoiser(model, mixed), torch.Generator().manual_seed(0)
    latents = torch.randn((images, denoiser_of(model.pipeline).config.in_channels, side, side), generator=generator)
    parameters = list(kv_parameters(model.pipeline).values())
    pipeline = model.pipeline
    row = class_noun_row(pipeline, NOUN).to(pipeline.device).requires_grad_()
    prompts = [[f"a {NOUN} {number}"] for number in range(images)]  # each is encoded, as captions are
    token = int(token_ids(pipeline.tokenizer, [f"a {NOUN}"])[0, 2])

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
def _pass(model: Model, side: int, images: int) -> Callable[[], object]:
    """A forward pass on random latents, in the pipeline's own precision."""
    pipeline, denoiser = model.pipeline, denoiser_of(model.pipeline)
    told = conditions_of(pipeline, [f"a {NOUN}"]).pick([0] * images).inputs(*[side * pipeline.vae_scale_factor] * 2)
    latents = torch.randn((images, denoiser.config.in_channels, side, side)).to(pipeline.device, pipeline.dtype)
    times = torch.zeros(images, dtype=torch.long, device=pipeline.device)
    return torch.no_grad()(lambda: predict(denoiser, latents, times, told))


def _timed(act: Callable[[], object], device: torch.device, *, again: bool) -> _Timed:
    """A call, counted; its seconds, or those of a second one, as the first one pays for what later ones find."""
    began = _now(device)
    with counted() as counter:
        act()
    if again:
        began = _now(device)
        act()
    return _Timed(_now(device) - began, counter.get_total_flops())


def _now(device: torch.device) -> float:
    """Seconds of a clock, once a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
