"""Images from prompts: batches of the pipeline, one seed an image.

The same (prompt, seed) gives the same noise whatever batch it falls into, so that two models can be compared image by
image. Computation is in the pipeline's own dtype, exactly as diffusers would do it on an exported folder; the latents
are looked at before they are decoded, since NaN would be saved as black.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Required, TypedDict, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cns.denoiser import check_sides, denoiser_name, denoiser_of, projection_of
from cns.errors import NotFiniteError
from cns.files.pipelines import latent_side
from cns.finite import HINT, is_finite
from cns.quiet import quiet_libraries
from cns.steps import check_steps
from cns.text import encode_prompts
from cns.tokens import count_over

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

Pixels = NDArray[np.uint8]
"""Images, shape (N, H, W, 3), sRGB, uint8."""


BATCH_PIXELS = 2**20
"""Pixels of the images that are made at a time (chosen): 16 of 64x64, 4 of 512x512, which 8 GB of memory hold."""

MAX_BATCH = 16
"""Images at a time: on 2 cores larger batches of 64x64 took as long an image."""


def default_batch(size: int) -> int:
    """How many images of this side are made at a time where nobody says."""
    return max(1, min(MAX_BATCH, BATCH_PIXELS // size**2))


class Sampling(TypedDict, total=False):
    """How images are made.

    Attributes:
        steps: Sampler steps.
        guidance: Classifier-free guidance scale; 1 turns it off.
        negative: Negative prompt for all images.
        size: Height and width in pixels, one number where both are the same; the model's own when None.
        batch_size: Images at a time; memory grows with it. None takes `default_batch`.
    """

    steps: Required[int]
    guidance: Required[float]
    negative: str | None
    size: int | tuple[int, int] | None
    batch_size: int | None


def batches(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int], **how: Unpack[Sampling]
) -> Iterator[Pixels]:
    """Generate one image per (prompt, seed), and hand them over a batch at a time; none is kept here.

    Args:
        pipeline: Ready to run, on any device.
        prompts: N prompts.
        seeds: N seeds; each seeds its own CPU generator, so that devices start from the same noise.
        **how: See `Sampling`.

    Yields:
        Shape (B, H, W, 3), uint8; the last batch may be smaller.

    Raises:
        SettingsError: The scheduler cannot make so many steps.
        NotFiniteError: A picture would hold NaN or infinity; says which part made them, and at which seed.
    """
    check_steps(pipeline.scheduler, how["steps"])
    size, negative = how.get("size"), how.get("negative")
    height, width = size if isinstance(size, tuple) else (size, size)
    own = latent_side(denoiser_of(pipeline).config) * pipeline.vae_scale_factor
    height, width = height or own, width or own
    check_sides(pipeline, height, width)
    at_once = how.get("batch_size") or default_batch(max(height, width))
    for start in range(0, len(prompts), at_once):
        part = list(prompts[start : start + at_once])
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds[start : start + at_once]]
        latents = draw_latents(pipeline, part, generators, how["steps"], how["guidance"], negative, height, width)
        images = _decoded(pipeline, latents)
        here = seeds[start : start + at_once]
        _require_numbers(latents, partial(_culprit, pipeline, part), part, here)
        _require_numbers(images, lambda: "VAE decoder", part, here)
        pixels = pipeline.image_processor.postprocess(images, output_type="np")
        yield (pixels * 255).round().astype(np.uint8)


def draw_latents(
    pipeline: StableDiffusionPipeline,
    prompts: list[str],
    generators: list[torch.Generator],
    steps: int,
    guidance: float,
    negative: str | None = None,
    height: int | None = None,
    width: int | None = None,
) -> Tensor:
    """What the pipeline draws of B prompts, before it is decoded: shape (B, C, h, w), scaled as a training's latents.

    Of the pipelines of PixArt and Sana two habits are turned off: they would rewrite prompts where beautifulsoup4 and
    ftfy happen to be installed, and tokens in angle brackets away; and draw in another size than was asked for, to be
    cut afterwards.
    """
    against: Any = [negative] * len(prompts) if negative else None
    habits: dict[str, Any] = {}
    if projection_of(denoiser_of(pipeline)):
        habits = {"clean_caption": False, "use_resolution_binning": False}
        against = against or ""
        own = latent_side(denoiser_of(pipeline).config) * pipeline.vae_scale_factor  # Sana's takes 1024
        height, width = height or own, width or own
    pipeline._guidance_scale = guidance  # as Stable Diffusion's sets it itself; `cns.regions` asks
    with quiet_libraries():  # diffusers prints a line for every prompt that it cuts; `cut_off` says it once
        found: Tensor = pipeline(
            prompts,
            num_inference_steps=steps,
            guidance_scale=guidance,
            negative_prompt=against,
            height=height,
            width=width,
            generator=generators,
            output_type="latent",
            **habits,
        ).images
    return found


def _require_numbers(values: Tensor, culprit: Callable[[], str], prompts: Sequence[str], seeds: Sequence[int]) -> None:
    """Raise NotFiniteError where values, shape (B, …), of pictures are no numbers; `culprit` says which part did it."""
    if is_finite(values):
        return
    index = int((~values.isfinite()).flatten(1).any(1).nonzero()[0])
    part = culprit()
    where = f"{prompts[index]!r} at seed {seeds[index]}"
    raise NotFiniteError(f"the {part} answers with NaN or infinity: no picture of {where}", HINT, part=part)


@torch.no_grad()
def _decoded(pipeline: StableDiffusionPipeline, latents: Tensor) -> Tensor:
    """Images of latents as the pipeline itself decodes them, shape (B, 3, H, W), about -1 to 1."""
    return pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]


@torch.no_grad()
def _culprit(pipeline: StableDiffusionPipeline, prompts: list[str]) -> str:
    """The part that made latents which are no numbers; the schedule itself was tried."""
    text = encode_prompts(pipeline, prompts)
    return denoiser_name(pipeline) if is_finite(text) else "text encoder"


def sample(
    pipeline: StableDiffusionPipeline, prompts: Sequence[str], seeds: Sequence[int], **how: Unpack[Sampling]
) -> Pixels:
    """Generate one image per (prompt, seed), as `batches` does, and return all of them, shape (N, H, W, 3), uint8."""
    return np.concatenate(list(batches(pipeline, prompts, seeds, **how)))


def cut_off(pipeline: StableDiffusionPipeline, prompt: str) -> int:
    """How many tokens at a prompt's end the model cannot read, 0 for a prompt that fits."""
    return count_over(pipeline.tokenizer, [prompt])[0]
