"""K/V drift: how far a concept's keys and values moved, without an image.

Only K/V weights ever change and a committed token row is frozen, so an old concept's images can change only through
(W - W_ref) x, x being the text features of its prompts. With the second moment C = E[x x^T],

    drift(W, W_ref) = mean over matrices of  tr((W - W_ref) C (W - W_ref)^T) / tr(W_ref C W_ref^T)

is the mean squared relative change of the projections' outputs on those prompts: dimensionless, exact and cheap. It
bounds what can be forgotten there; it is not the image, since softmax and depth weigh directions unequally. Softmax
ignores a shift common to all keys of a prompt, so for key matrices C is centred within each prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cns.compose import Weights
from cns.text import conditions_of

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline


@dataclass(frozen=True)
class Moments:
    """Second moments of text features over prompts and the positions that the model attends to.

    Attributes:
        key: Centred within each prompt, shape (D, D), float32.
        value: As they are, shape (D, D), float32.
    """

    key: Tensor
    value: Tensor

    def of(self, matrix: str) -> Tensor:
        """The moment that belongs to a matrix, by its name."""
        return self.key if matrix.endswith("to_k.weight") else self.value


@torch.no_grad()
def prompt_moments(pipeline: StableDiffusionPipeline, prompts: Sequence[str], batch_size: int = 64) -> Moments:
    """Second moments over all positions that are read: CLIP's BOS and padding are, T5's and Gemma's padding is not.

    Args:
        pipeline: Its tokenizer and text encoder are used, as they are now.
        prompts: At least one prompt; tokens of concepts must be installed.
        batch_size: Prompts encoded at a time.
    """
    key = value = None
    count = 0
    for start in range(0, len(prompts), batch_size):
        part = prompts[start : start + batch_size]
        told = conditions_of(pipeline, part)
        features = told.features.float().cpu()  # (B, T, D)
        if told.mask is None:
            centred = features - features.mean(1, keepdim=True)
        else:
            read = told.mask.cpu().unsqueeze(-1)
            features = features * read
            centred = (features - features.sum(1, keepdim=True) / read.sum(1, keepdim=True)) * read
        one, two = _gram(centred), _gram(features)
        key, value = (one, two) if key is None or value is None else (key + one, value + two)
        count += int(told.read.sum())
    if key is None or value is None:
        raise ValueError("prompt_moments needs at least one prompt")
    return Moments(key / count, value / count)


def kv_drift(now: Weights, reference: Weights, moments: Moments) -> float:
    """Mean squared relative drift of keys and values on the prompts behind `moments`; 0 for equal weights.

    Not finite where a weight or a feature is not, and where a matrix that was all zero has changed.
    """
    total = 0.0
    for name, weight in reference.items():
        moment = moments.of(name)
        change = energy(now[name] - weight, moment)
        total += 0.0 if change == 0 else float(change / energy(weight, moment))
    return (0.0 if total < 0 else total) / len(reference)  # not max(): it takes 0 for NaN


def energy(matrix: Tensor, moment: Tensor) -> Tensor:
    """tr(M C M^T), the mean squared output of M on features with second moment C; a scalar tensor."""
    return ((matrix @ moment) * matrix).sum()


def _gram(features: Tensor) -> Tensor:
    flat = features.reshape(-1, features.shape[-1])
    return flat.T @ flat
