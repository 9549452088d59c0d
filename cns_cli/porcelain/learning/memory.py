"""What a training may hold in memory: decided once, from what is free, and said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cns.cost import ImageCost, image_cost
from cns.general import TIMESTEPS
from cns.memory import Memory, memory_for, recomputing
from cns.precision import training_dtype
from cns.scores import needs_batches
from cns.task import Settings
from cns_cli.figures import byte_size
from cns_cli.porcelain.models.base import LoadedBase
from cns_cli.progress import Progress


@contextmanager
def sparing(
    base: LoadedBase, settings: Settings, resolution: int, forced: bool | None, progress: Progress
) -> Iterator[None]:
    """Within the context activations are kept, or computed again in the backward pass where they do not fit.

    Args:
        base: Its UNet is differentiated.
        settings: How many images at a time.
        resolution: Side of these images, pixels.
        forced: Compute them again, or not; None: as free memory says.
        progress: Told what was decided, where it was not forced.
    """
    memory = None if forced is not None else memory_of(base, settings, resolution)
    if memory is not None:
        progress.note(_said(memory))
    with recomputing(base.model.pipeline, recomputes(memory, forced)):
        yield


def recomputes(memory: Memory | None, forced: bool | None) -> bool:
    """Whether activations are computed again: as it was said, or where they do not fit."""
    return forced if forced is not None else memory is not None and not memory.suffices


def latent_side(base: LoadedBase, resolution: int) -> int:
    """Side of the latents of images of this side, pixels."""
    return resolution // base.model.pipeline.vae_scale_factor


def memory_of(
    base: LoadedBase, settings: Settings, resolution: int, count: Callable[..., ImageCost] = image_cost
) -> Memory | None:
    """What keeping the activations of a step takes, of images of this side in pixels; None where that is little."""
    images = settings.batch_size
    if needs_batches(settings.score) and not settings.directions:  # calibration prompts vote at the base's own size
        images, resolution = max(images, TIMESTEPS), max(resolution, base.resolution)
    pipeline = base.model.pipeline
    return memory_for(pipeline, latent_side(base, resolution), images, training_dtype(pipeline, settings.dtype), count)


def _said(memory: Memory) -> str:
    needed, free = byte_size(memory.needed), byte_size(memory.free)
    if memory.suffices:
        return f"activations are kept: they take {needed}, and {free} are free"
    return (
        f"activations take {needed}, and {free} are free: they are computed again, which takes a third more time "
        "(--no-gradient-checkpointing keeps them)"
    )
