"""Images from prompts: batches of the pipeline, one seed an image.

The same (prompt, seed) gives the same noise whatever batch it falls into, so that two models can be compared image by
image. Computation is in the pipeline's own dtype, exactly as diffusers would do it on an exported folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from cns.quiet import quiet_libraries

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

Pixels = NDArray[np.uint8]
"""Images, shape (N, H, W, 3), sRGB, uint8."""


def sample(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int,
    guidance: float,
    negative: str | None = None,
    size: int | None = None,
    batch_size: int = 16,
    on_batch: Callable[[int, Pixels], None] = lambda _done, _images: None,
) -> Pixels:
    """Generate one image per (prompt, seed).

    Args:
        pipeline: Ready to run, on any device.
        prompts: N prompts.
        seeds: N seeds; each seeds its own CPU generator, so that devices start from the same noise.
        steps: Sampler steps.
        guidance: Classifier-free guidance scale; 1 turns it off.
        negative: Negative prompt for all images.
        size: Height and width in pixels; the model's own when None.
        batch_size: Images at a time; memory grows with it.
        on_batch: Called with the number of images done, and the images of this batch.

    Returns:
        Shape (N, H, W, 3), uint8.
    """
    images: list[Pixels] = []
    for start in range(0, len(prompts), batch_size):
        part = list(prompts[start : start + batch_size])
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds[start : start + batch_size]]
        with quiet_libraries():  # diffusers prints a line for every prompt that it cuts; `cut_off` says it once
            output = pipeline(
                part,
                num_inference_steps=steps,
                guidance_scale=guidance,
                negative_prompt=[negative] * len(part) if negative else None,
                height=size,
                width=size,
                generator=generators,
                output_type="np",
            )
        images.append((output.images * 255).round().astype(np.uint8))
        on_batch(min(start + batch_size, len(prompts)), images[-1])
    return np.concatenate(images)


def cut_off(pipeline: StableDiffusionPipeline, prompt: str) -> int:
    """How many tokens at a prompt's end the model cannot read, 0 for a prompt that fits."""
    tokenizer = pipeline.tokenizer
    with quiet_libraries():
        count = len(tokenizer(prompt, truncation=False).input_ids)
    return max(0, count - int(tokenizer.model_max_length))
