"""Whether a training keeps its activations or computes them again: by the memory that is free; no bit changes by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import torch

from cns.cost import ImageCost, image_cost
from cns.denoiser import denoiser_of

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

COUNTED_SIDE = 32
"""Latents below this side are not counted (chosen): what loads their base trains on it, and counting takes seconds."""

USED_SHARE = 0.8
"""Of the memory that is free: what a training may take of it for activations (chosen)."""


@dataclass(frozen=True)
class Memory:
    """What keeping the activations of a step takes, and what is free, bytes."""

    needed: int
    free: int

    @property
    def suffices(self) -> bool:
        """Whether they can be kept."""
        return self.needed <= USED_SHARE * self.free


def memory_for(
    pipeline: StableDiffusionPipeline,
    side: int,
    images: int,
    mixed: torch.dtype | None,
    count: Callable[..., ImageCost] = image_cost,
) -> Memory | None:
    """What a training of so many images a step takes, at this side of their latents; None for small ones.

    `mixed` is what it casts to, see `cns.precision.training_dtype`; `count` stands for `cns.cost.image_cost`.
    """
    if side < COUNTED_SIDE:
        return None
    return Memory(count(pipeline, side, mixed, images).kept_bytes, free_bytes(pipeline.device))


def free_bytes(device: torch.device) -> int:
    """Memory that a device could give now; that of a machine that shares its own is the machine's."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


@contextmanager
def recomputing(pipeline: StableDiffusionPipeline, wanted: bool) -> Iterator[None]:
    """Within the context the denoiser computes activations again in the backward pass, where that is wanted."""
    if not wanted:
        yield
        return
    denoiser_of(pipeline).enable_gradient_checkpointing()
    try:
        yield
    finally:
        denoiser_of(pipeline).disable_gradient_checkpointing()
