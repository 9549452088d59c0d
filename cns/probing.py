"""Whether a loaded base can do what every command asks of it, tried once on the smallest picture.

Configs and weights that fit one by one need not fit each other: a VAE of other channels than the denoiser, a vocabulary
that is larger than the text encoder's, a schedule that fails at the judges' steps, numbers that overflow. Nor does the
name of a matrix prove what it reads: concepts are kept in keys and values of the text's features alone, so what these
read is listened to. A registry is made on a base that has been through this, so that no later command is the first to
find out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Module

from cns.denoiser import denoiser_name, denoiser_of, predict
from cns.denoising import Schedule, encode_images
from cns.errors import BaseModelError, SettingsError
from cns.families import Family
from cns.files.bases import KV_MATRIX
from cns.files.pipelines import unsupported
from cns.files.plain import reason_of
from cns.general import LATENT_STEPS
from cns.steps import check_steps
from cns.text import conditions_of, encode_prompts

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

SIDE = 8
"""Of the latents: the smallest that Stable Diffusion's four levels halve evenly."""

TIMESTEP = 500
"""The second one that is tried."""


@torch.no_grad()
def probe(pipeline: StableDiffusionPipeline, family: Family, folder: Path) -> None:
    """Try every part of a base once, and its schedule at the numbers of steps that are used without being asked for.

    Args:
        pipeline: As `cns.loading.load_pipeline` returns it.
        family: Its family.
        folder: Where it came from, for the message.

    Raises:
        BaseModelError: a part fails, or answers with NaN or infinity; the message names it.
    """
    for steps in (family.defaults.sampler_steps, LATENT_STEPS):
        try:
            check_steps(pipeline.scheduler, steps)
        except SettingsError as error:
            raise unsupported(folder, error.message, f"another scheduler, in {folder}/scheduler") from error
    tried = _Tried(folder)
    tried("noise schedule", lambda: Schedule.of(pipeline).sigma)
    tried("text encoder", lambda: encode_prompts(pipeline, ["a photo"]))
    side = SIDE * pipeline.vae_scale_factor
    told = conditions_of(pipeline, ["a photo"]).inputs(side, side)
    denoiser, called = denoiser_of(pipeline), denoiser_name(pipeline)
    shape = (2, 1, denoiser.config["in_channels"], SIDE, SIDE)
    latents, others = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(pipeline.device)
    matrices = {name: one for name, one in denoiser.named_modules() if KV_MATRIX.search(f"{name}.weight")}
    with inputs_of(matrices) as heard:
        for noisy, time in ((latents, 1), (others, TIMESTEP)):
            tried(called, partial(predict, denoiser, noisy, torch.tensor([time], device=noisy.device), told))
    if (reason := why_not_static(heard)) is not None:
        raise unsupported(folder, reason)
    picture = tried("VAE decoder", lambda: pipeline.vae.decode(latents, return_dict=False)[0])
    pixels = (picture.clamp(-1, 1) * 127.5 + 127.5).byte().permute(0, 2, 3, 1).cpu().numpy()
    again = tried("VAE encoder", lambda: encode_images(pipeline, pixels))
    if again.shape != latents.shape:
        shapes = f"{tuple(latents.shape)} to latents of {tuple(again.shape)}"
        raise unsupported(folder, f"its VAE brings latents of {shapes}, by way of a picture")


@contextmanager
def inputs_of(matrices: Mapping[str, Module]) -> Iterator[dict[str, list[Tensor]]]:
    """Listen to what matrices read: the dict that is given fills with the inputs of each, one a run, by name."""
    heard: dict[str, list[Tensor]] = {name: [] for name in matrices}

    def listen(name: str) -> Callable[[Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: heard[name].append(inputs[0].detach().clone())

    hooks = [one.register_forward_pre_hook(listen(name)) for name, one in matrices.items()]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


def why_not_static(heard: Mapping[str, Sequence[Tensor]]) -> str | None:
    """Why no concept can be kept in matrices of keys and values, by what they read; None if one can.

    Args:
        heard: Of each matrix its inputs (`inputs_of`) in runs of one prompt with different latents and timesteps.
    """
    if silent := [name for name, inputs in heard.items() if not inputs]:
        return f"{silent[0]} reads nothing of the text"
    text = next(iter(heard.values()))[0]
    for name, (first, *further) in heard.items():
        if not all(torch.equal(first, one) for one in further):
            return f"what {name} reads of the text changes with the picture and the timestep, as in joint attention"
        if not torch.equal(first, text):
            return f"what {name} reads of the text is not what other layers read of it"
    return None


class _Tried:
    """Runs parts of a base, and puts what they raise in words."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, part: str, run: Callable[[], Any]) -> Tensor:
        try:
            made: Tensor = run()
        except BaseModelError:
            raise
        except Exception as error:
            raise unsupported(self.folder, f"its {part} does not run: {reason_of(error)}") from error
        if not bool(torch.isfinite(made).all()):
            raise unsupported(self.folder, f"its {part} answers with NaN or infinity")
        return made
