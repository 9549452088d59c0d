"""A score, by which neurons are chosen, and a regularizer, which protects what was learned before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cns.denoising import Denoiser, NoisedBatch
from cns.regularizers import History, Penalty
from cns.selection import Scores
from cns.text import encode_prompts
from cns.tokens import content_positions


def spread(denoiser: Denoiser, prompts: Sequence[str], _batches: Sequence[NoisedBatch]) -> Scores:
    """Size of a weight times how much its input differs from word to word: S[o, i] = |W[o, i]| * std(x_i)."""
    with torch.no_grad():
        features = encode_prompts(denoiser.pipeline, prompts).float().cpu()
    spread = features[content_positions(denoiser.pipeline.tokenizer, prompts)].std(0, correction=0)  # (I,)
    return {name: weight.abs() * spread for name, weight in denoiser.model.base.items()}


def elastic(history: History, strength: float, anchor: float) -> Penalty:
    """Pull every masked weight to its parent by its distance and not by the square: few move far, most stay."""
    parent = {name: weight.to(history.device) for name, weight in history.parent.items()}
    size = sum(int(mask.sum()) for mask in history.masks.values())

    def penalty(weights: Mapping[str, Tensor]) -> Tensor:
        moved = torch.stack([(weights[name] - parent[name]).abs().sum() for name in parent]).sum()
        return (strength + anchor) * moved / max(1, size)

    return penalty
