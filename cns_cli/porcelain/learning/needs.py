"""What an add needs, counted before it begins and before anything is timed: its arithmetic, and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from cns.cost import ImageCost, image_cost
from cns.denoiser import denoiser_of
from cns.denoising import encoded_at_once
from cns.files.pipelines import latent_side as own_side
from cns.precision import training_dtype
from cns.sampling import default_batch
from cns.task import Settings
from cns.text import embeddings, text_encoders
from cns_cli.porcelain.learning.judged import Viewing
from cns_cli.porcelain.learning.memory import latent_side, memory_of, recomputes
from cns_cli.porcelain.learning.work import Work, work_of
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.porcelain.options import AddOptions


@dataclass(frozen=True)
class Needs:
    """What an add needs.

    Attributes:
        work: FLOPs.
        image: What an image of its steps costs.
        recomputed: Whether activations are computed again.
        memory_bytes: Beside libraries: the base, its judges, copies of keys, values and embeddings, and what a step
            makes, or the VAE of images or pictures, whatever is most; or what loading takes, where that is more.
    """

    work: Work
    image: ImageCost
    recomputed: bool
    memory_bytes: int


KV_COPIES = 4
"""Of key and value matrices in float32: the base's, the parent's, gradients, and what the optimizer has of them."""


def needs_of(
    base: LoadedBase,
    options: AddOptions,
    settings: Settings,
    images: int,
    resolution: int,
    general_known: bool,
    count: Callable[..., ImageCost] | None = None,
    judges_bytes: int = 0,
) -> Needs:
    """Count an add.

    Args:
        base: The base; it is not run.
        options: The request.
        settings: Those of its training.
        images: How many the concept has.
        resolution: Their side, pixels.
        general_known: Whether no calibration prompt must vote.
        count: As `cns.cost.image_cost`, but that it counts nothing twice; None: for this while.
        judges_bytes: What its judges take in memory.
    """
    pipeline, forced = base.model.pipeline, options.gradient_checkpointing
    mixed = training_dtype(pipeline, settings.dtype)
    side, own = latent_side(base, resolution), own_side(denoiser_of(pipeline).config)
    count = count or cache(image_cost)  # which holds the model
    image = count(pipeline, side, mixed, settings.batch_size)
    drawn = image if own == side else count(pipeline, own, mixed)
    recomputed = recomputes(memory_of(base, settings, resolution, count) if forced is None else None, forced)
    work = work_of(base, options, settings, image, drawn, images, general_known, recomputed)
    parts = (denoiser_of(pipeline), pipeline.vae, *text_encoders(pipeline))
    weights = sum(one.nbytes for part in parts for one in part.parameters())
    copied = KV_COPIES * 4 * base.model.kv_size + sum(one.nbytes for one in embeddings(pipeline))  # to hold a token
    step = count(pipeline, side, mixed, settings.batch_size, True) if recomputed else image
    made = max(
        step.step_bytes,
        image.encode_bytes * min(images, encoded_at_once(resolution, resolution)),
        drawn.decode_bytes * _at_once(base, options, own),
    )
    return Needs(work, image, recomputed, max(loading_bytes(base), weights + judges_bytes + copied + made))


def loading_bytes(base: LoadedBase) -> int:
    """What it takes to load a denoiser into a CPU's memory: it is read in float32, and then cast."""
    held = sum(one.nbytes for one in denoiser_of(base.model.pipeline).parameters())
    exact = 4 * base.model.denoiser_size
    return exact + held if base.device.type == "cpu" and held < exact else 0


def _at_once(base: LoadedBase, options: AddOptions, side: int) -> int:
    """Pictures that are decoded at a time, of this side of their latents."""
    viewing = Viewing.of(base, options)
    most = default_batch(side * base.model.pipeline.vae_scale_factor)
    return min(most, max(len(viewing.templates) * viewing.each, viewing.alone))
