"""What a training may hold in memory: decided once, from what is free, and said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cns.general import TIMESTEPS
from cns.memory import memory_for, recomputing
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
    if forced is None:
        forced = _recompute(base, settings, resolution, progress)
    with recomputing(base.model.pipeline, forced):
        yield


def latent_side(base: LoadedBase, resolution: int) -> int:
    """Side of the latents of images of this side, pixels."""
    return resolution // base.model.pipeline.vae_scale_factor


def _recompute(base: LoadedBase, settings: Settings, resolution: int, progress: Progress) -> bool:
    images = settings.batch_size
    if needs_batches(settings.score) and not settings.directions:  # calibration prompts vote at the base's own size
        images, resolution = max(images, TIMESTEPS), max(resolution, base.resolution)
    memory = memory_for(base.model.pipeline, latent_side(base, resolution), images)
    if memory is None:
        return False
    needed, free = byte_size(memory.needed), byte_size(memory.free)
    if memory.suffices:
        progress.note(f"activations are kept: they take {needed}, and {free} are free")
    else:
        progress.note(
            f"activations take {needed}, and {free} are free: they are computed again, which takes half the time more "
            "(--no-gradient-checkpointing keeps them)"
        )
    return not memory.suffices
