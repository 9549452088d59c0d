"""The validation loss: the denoising loss of batches whose images, noise, timesteps and prompts stay the same.

The loss of a training step hangs on what was drawn for it more than on what was learned. Of the same draws it falls as
the concept is learned, and rises where that turns into learning by heart, which shows only on images that the training
does not see (`cns.task.Settings.hold_out`). It takes no step and draws from a generator of its own, so that a training
has the same bits with it as without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from cns.denoising import NoisedBatch, draw_batch

DRAWS = 16
"""Pairs of image and noise, at most (chosen)."""

BATCHES = 4
"""Of a training's own size: a fraction of its steps, however small they are (chosen)."""

TIMES = 10
"""How often the loss is taken while a concept is finetuned, besides once before (chosen): about 3 % of the time."""

APART = 10
"""Steps between two, at least (chosen): in a training of few steps the losses would take as long as these."""

SEED = 2**32
"""Of the draws; the same for every training, so that trainings compare."""

MARGIN = 0.02
"""How much lower than at the end, relatively, a loss must be for its step to be called better (chosen)."""


def validation_steps(steps: int) -> list[int]:
    """After how many of the finetuning steps the loss is taken: before the first, ten times at most, at the end."""
    every = max(APART, -(-steps // TIMES))
    return [*range(0, steps, every), steps]


def draws_of(size: int) -> int:
    """How many pairs a training of so many images a step draws."""
    return min(DRAWS, BATCHES * size)


def fixed_batches(
    latents: Tensor,
    prompts: Sequence[Sequence[str]],
    size: int,
    train_timesteps: int,
    weights: Tensor | None = None,
    framings: Tensor | None = None,
) -> Iterator[NoisedBatch]:
    """The draws, in batches of at most `size`.

    Args:
        latents: Shape (N, C, h, w), of the images to validate on.
        prompts: For each, the prompts it may go with.
        size: Images at a time.
        train_timesteps: Length of the noise schedule.
        weights: Of the loss, shape (N, 1, h, w); None: all 1.
        framings: How each was cut out, shape (N, 4); None: not.
    """
    draws = draws_of(size)
    drawn = draw_batch(latents, prompts, draws, train_timesteps, torch.Generator().manual_seed(SEED), weights, framings)
    for start in range(0, draws, size):
        part = slice(start, start + size)
        others = (None if one is None else one[part] for one in (drawn.weights, drawn.framings))
        yield NoisedBatch(drawn.latents[part], drawn.noise[part], drawn.timesteps[part], drawn.prompts[part], *others)


def better_step(losses: Sequence[float], steps: int) -> int | None:
    """The step whose validation loss was lower than at the end by more than `MARGIN`; None where the end is best.

    Args:
        losses: At each of `validation_steps(steps)`.
        steps: Finetuning steps.
    """
    if not losses:
        return None
    best, step = min(zip(losses, validation_steps(steps), strict=True))
    return step if step and best < (1 - MARGIN) * losses[-1] else None
