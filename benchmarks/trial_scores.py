"""Scores that are tried beside those of `cns.scores`: what choosing neurons is worth is what they lack or have more of.

`random` means nothing, `lowest` is the gradient score upside down, and `ratio` looks at text features alone: weights
whose inputs answer to the new concept and not to what is to be kept. A score is told neither of these moments nor of
what it is compared with, so each is made for one training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from cns import selection
from cns.denoising import Denoiser, NoisedBatch
from cns.directions import RIDGE, new_moment, others_moment
from cns.drift import Moments
from cns.scores import Scores, gradient

RANDOM, LOWEST, RATIO = "random", "lowest", "ratio"
CHOSEN = 24
"""How many inputs `ratio` ranks: twice what the default budget takes of a row."""


@contextmanager
def trial_scores(
    seed: int, token: str, calibration: Moments, past: Callable[[], Sequence[Moments]] = tuple
) -> Iterator[None]:
    """Within the context there are scores of these names, for one training.

    Args:
        seed: Of `random`.
        token: Of the concept that is learned.
        calibration: Of general prompts.
        past: Gives those of the prompts of earlier concepts.
    """

    def at_random(denoiser: Denoiser, _prompts: Sequence[str], _batches: Sequence[NoisedBatch]) -> Scores:
        generator = torch.Generator().manual_seed(seed)
        base: Mapping[str, Tensor] = denoiser.model.base
        return {name: torch.rand(base[name].shape, generator=generator) for name in sorted(base)}

    def ratio(denoiser: Denoiser, prompts: Sequence[str], _batches: Sequence[NoisedBatch]) -> Scores:
        pipeline = denoiser.pipeline
        new = new_moment(pipeline, prompts, pipeline.tokenizer.convert_tokens_to_ids(token))
        without = [" ".join(prompt.replace(token, "").split()) for prompt in prompts]
        inputs = greedy(new, others_moment(pipeline, without, calibration, past()), CHOSEN)
        row = torch.zeros(len(new))
        row[inputs] = torch.arange(len(inputs), 0, -1, dtype=torch.float32)
        return {name: row.expand(weight.shape).clone() for name, weight in denoiser.model.base.items()}

    selection.SCORES.update({RANDOM: at_random, LOWEST: lowest, RATIO: ratio})
    try:
        yield
    finally:
        for name in (RANDOM, LOWEST, RATIO):
            del selection.SCORES[name]


def lowest(denoiser: Denoiser, prompts: Sequence[str], batches: Sequence[NoisedBatch]) -> Scores:
    """The weights that the gradient score would choose last."""
    scores = gradient(denoiser, prompts, batches)
    return {name: score.max(1, keepdim=True).values - score for name, score in scores.items()}


def greedy(new: Tensor, others: Tensor, count: int) -> list[int]:
    """Inputs, one after another, each the one with which the best direction among the chosen answers best.

    How well a direction u answers is u^T C_new u / u^T C_others u.

    Args:
        new: C_new, shape (I, I).
        others: C_others, likewise.
        count: How many to choose.
    """
    new, others = new.double(), others.double()
    others = others + RIDGE * others.diagonal().mean() * torch.eye(len(others), dtype=torch.float64)
    chosen: list[int] = []
    for _ in range(min(count, len(new))):
        left = [one for one in range(len(new)) if one not in chosen]
        sets = torch.tensor([[*chosen, one] for one in left])  # (L, k)
        place = (sets.unsqueeze(2), sets.unsqueeze(1))
        inverse = torch.linalg.inv(torch.linalg.cholesky(others[place]))
        quotients = torch.linalg.eigvalsh(inverse @ new[place] @ inverse.mT)[:, -1]
        chosen.append(left[int(quotients.argmax())])
    return chosen
