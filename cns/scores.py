"""The built-in scores, a row each: how strongly each K/V weight answers to a concept, and whose idea that is.

Their names are asked for before torch is loaded, so nothing is imported here that loads it: a function imports what it
needs. What a score is, and how it chooses neurons, is said in `cns.selection`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from torch import Tensor

    from cns.denoising import Denoiser, NoisedBatch


Scores: TypeAlias = "dict[str, Tensor]"
"""Matrix name -> score, shape (O, I), float32, finite, >= 0, CPU.

Within a row the order counts; between rows, how far a score stands above its row's mean.
"""


class Score(Protocol):
    """How strongly each weight answers to some prompts."""

    def __call__(self, denoiser: Denoiser, prompts: Sequence[str], batches: Sequence[NoisedBatch], /) -> Scores:
        """Score every K/V weight.

        Args:
            denoiser: The model, with the concept's token installed.
            prompts: Prompts whose features are scored.
            batches: Noised latents with prompts of their own, for scores that need the loss; others ignore it.
        """
        ...


@dataclass(frozen=True)
class BuiltInScore:
    """A score with its origin.

    Attributes:
        function: Scores every K/V weight.
        whose: Whose choice it is.
        note: What there is to say of it, in a few words.
        needs_batches: Whether it needs the loss on noised latents, which must be made first.
    """

    function: Score
    whose: Literal["paper", "ours", "standard"]
    note: str
    needs_batches: bool = True


def wanda(denoiser: Denoiser, prompts: Sequence[str], _batches: Sequence[NoisedBatch]) -> Scores:
    """Size of a weight times the size of what flows into it: S[o, i] = |W_base[o, i]| * ||x_i||_2.

    The norm runs over the content positions of all prompts: the constant BOS vector and padding would dominate. It is
    taken on the base weights, so the neurons of a concept do not depend on the concepts before it.

    Source: the score of Sun et al., "A Simple and Effective Pruning Approach for LLMs" (ICLR 2024), section 3, eq. 1,
    used here to select and not to prune.
    """
    import torch

    from cns.text import encode_prompts
    from cns.tokens import content_positions

    with torch.no_grad():
        features = encode_prompts(denoiser.pipeline, prompts).float().cpu()
    norm = features[content_positions(denoiser.pipeline.tokenizer, prompts)].square().sum(0).sqrt()  # (I,)
    return {name: weight.abs() * norm for name, weight in denoiser.model.base.items()}


def gradient(denoiser: Denoiser, _prompts: Sequence[str], batches: Sequence[NoisedBatch]) -> Scores:
    """First-order effect of a weight on the denoising loss: S[o, i] = sum over batches of |W[o, i] * dL/dW[o, i]|.

    Source: the saliency of Molchanov et al., "Importance Estimation for Neural Network Pruning" (CVPR 2019), eq. 8,
    without the square; accumulated over images, timesteps and noise, deterministic under the batches' seeds.
    """
    return _accumulated(denoiser, batches, lambda weight, slope: (weight * slope).abs())


def fisher(denoiser: Denoiser, _prompts: Sequence[str], batches: Sequence[NoisedBatch]) -> Scores:
    """Second-order effect of a weight on the denoising loss: S[o, i] = W[o, i]^2 * sum over batches of (dL/dW[o, i])^2.

    Half of W^2 F is what the loss would rise by if a trained network lost the weight, F being the diagonal of the
    Fisher information, here its empirical estimate. Beside `gradient` it counts a weight that matters much for few
    batches higher than one that matters a little for all.

    Source: the saliency of LeCun, Denker & Solla, "Optimal Brain Damage" (NIPS 1989), eq. 5, with the empirical Fisher
    in the place of the Hessian, as in Theis et al., "Faster gaze prediction with dense networks and Fisher pruning"
    (2018), eq. 9; gradients are those of batches and not of single images, which costs one backward pass a batch.
    """
    return _accumulated(denoiser, batches, lambda weight, slope: (weight * slope).square())


BUILT_IN: Mapping[str, BuiltInScore] = {
    "gradient": BuiltInScore(gradient, "ours", "after Molchanov et al. 2019"),
    "wanda": BuiltInScore(wanda, "ours", "after Sun et al. 2024", needs_batches=False),
    "fisher": BuiltInScore(fisher, "ours", "after Theis et al. 2018"),
}
"""Name on the command line -> score."""


def needs_batches(score: str) -> bool:
    """Whether a score, built in or of another package, needs noised latents."""
    return score not in BUILT_IN or BUILT_IN[score].needs_batches


def _accumulated(
    denoiser: Denoiser, batches: Sequence[NoisedBatch], saliency: Callable[[Tensor, Tensor], Tensor]
) -> Scores:
    """Sum over batches of a function of each weight and its slope."""
    import torch

    from cns.compose import kv_parameters

    parameters = kv_parameters(denoiser.pipeline)
    scores = {name: torch.zeros_like(denoiser.model.base[name]) for name in parameters}
    for batch in batches:
        loss = denoiser.loss(batch, mixed_precision=False)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        for (name, parameter), slope in zip(parameters.items(), gradients, strict=True):
            scores[name] += saliency(parameter.detach(), slope).float().cpu()
    return scores
