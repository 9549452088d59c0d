"""General neurons: what the base model uses for every picture, and no concept may have.

They belong to the base and not to a concept, so they are worth keeping. For a score that differentiates the loss, each
calibration prompt gets a latent that the base generates itself: no training data of the base is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cns.compose import Model, kv_parameters
from cns.denoiser import denoiser_name
from cns.denoising import Denoiser, NoisedBatch, draw_batch
from cns.finite import require_finite
from cns.report import Report
from cns.sampling import draw_latents
from cns.scores import needs_batches
from cns.selection import Scores, general_neurons, score_named

TIMESTEPS = 4
"""Noised copies of each calibration latent that one vote sees (chosen)."""

LATENT_STEPS = 8
"""Sampler steps of a calibration latent: it needs the right statistics, not beauty (chosen)."""

LATENT_BATCH = 16


@dataclass(frozen=True)
class Vote:
    """How general neurons are found.

    Attributes:
        score: Name of a score, see `cns.selection.score_named`.
        ratio: Share of a row that counts as active for a prompt.
        vote: Share of the prompts that make a weight general.
        seed: Seeds latents, noise and timesteps.
    """

    score: str
    ratio: float
    vote: float
    seed: int = 0


def find_general_neurons(model: Model, prompts: Sequence[str], how: Vote, report: Report) -> dict[str, Tensor]:
    """General neurons of the *base* model: matrix name -> shape (O, I), bool.

    Args:
        model: Its live weights are set to the base's and must be set again by the caller.
        prompts: The selection half of the calibration set.
        how: Score, ratio, vote, seed.
        report: Told of progress.
    """
    model.write(model.base)
    denoiser = Denoiser(model, None)
    batches: list[list[NoisedBatch]] = [[] for _ in prompts]
    if needs_batches(how.score):
        batches = _calibration_batches(denoiser, prompts, how.seed, report)
    for parameter in kv_parameters(model.pipeline).values():
        parameter.requires_grad_(True)
    try:
        return general_neurons(_votes(denoiser, prompts, batches, how, report), how.ratio, how.vote)
    finally:
        model.freeze()


def _votes(
    denoiser: Denoiser, prompts: Sequence[str], batches: Sequence[list[NoisedBatch]], how: Vote, report: Report
) -> Iterator[Scores]:
    score = score_named(how.score)
    for index, prompt in enumerate(prompts):
        yield score(denoiser, [prompt], batches[index])
        report("general neurons", index + 1, len(prompts))


def _calibration_batches(
    denoiser: Denoiser, prompts: Sequence[str], seed: int, report: Report
) -> list[list[NoisedBatch]]:
    pipeline = denoiser.pipeline
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for start in range(0, len(prompts), LATENT_BATCH):
        part = list(prompts[start : start + LATENT_BATCH])
        noise = [torch.Generator().manual_seed(seed + start + k) for k in range(len(part))]
        latents = draw_latents(pipeline, part, noise, steps=LATENT_STEPS, guidance=1.0)
        require_finite(latents, denoiser_name(pipeline), "latents of calibration prompts")
        for latent, prompt in zip(latents.float().cpu(), part, strict=True):
            copies = latent.expand(TIMESTEPS, *latent.shape)
            batch = draw_batch(copies, [[prompt]] * TIMESTEPS, TIMESTEPS, denoiser.train_timesteps, generator)
            batches.append([batch])
        report("calibration latents", len(batches), len(prompts))
    return batches
