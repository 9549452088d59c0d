"""Directions instead of coordinates: a concept's change of every key and value matrix has rank r, dW = O U^T.

U (I, r) is one for all matrices of a text width and is fixed before finetuning: directions of the text features that
the new concept's prompts use and those of earlier concepts, general prompts and its own class do not. Only O (O, r) is
trained. A response to a direction u is u^T C u, C the second moment of features; the best directions solve

    C_new u = lambda (C_old + C_calibration + C_class + rho I) u

where C_new is taken over the positions that the token can reach (CLIP and Gemma are causal: from the token on; T5 is
not: all of the prompt). The ridge rho keeps out directions that no prompt uses at all, whose quotient means nothing.
Columns are scaled to unit response, u^T C_new u = 1: a step of O then moves keys and values by as much on every base.

Source: our choice; generalised eigenvectors are those of linear discriminant analysis. Perfusion (Tewel et al.,
SIGGRAPH 2023) changes keys and values along one such direction a concept, gated. The module trains nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from cns.codec import Delta
from cns.drift import Moments, prompt_moments
from cns.factors import UNIT, FactorDelta, factored
from cns.text import conditions_of
from cns.tokens import looks_ahead, token_ids

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

RIDGE = 0.01
"""rho as a share of the mean diagonal of the moments beside it."""


class Factors:
    """What `cns.flat.Flat` is for a mask: O of all matrices as one flat tensor.

    Attributes:
        values: What is trained, shape (rows of all matrices * r,).
        start: What they were: zeros.
    """

    def __init__(self, live: Mapping[str, Tensor], basis: Tensor) -> None:
        self.live = live
        self.basis = basis.to(next(iter(live.values())).device)
        self.parent = {name: one.detach().clone() for name, one in live.items()}
        self.sizes = [len(one) * basis.shape[1] for one in live.values()]
        self.values = torch.zeros(sum(self.sizes), device=self.basis.device)
        self.start = self.values.clone()

    def outputs(self, values: Tensor) -> dict[str, Tensor]:
        """Matrix name -> O, shape (O, r)."""
        rank = self.basis.shape[1]
        return {name: part.view(-1, rank) for name, part in zip(self.live, values.split(self.sizes), strict=True)}

    def gather(self, slopes: Sequence[Tensor]) -> None:
        """Take O's gradient out of the matrices' gradients, which are in their order."""
        self.values.grad = torch.cat([(slope @ self.basis).reshape(-1) for slope in slopes])

    def dense(self, values: Tensor) -> dict[str, Tensor]:
        """Matrix name -> its change O U^T, shape (O, I)."""
        return {name: part @ self.basis.T for name, part in self.outputs(values).items()}

    def pick(self, matrices: Mapping[str, Tensor]) -> Tensor:
        """The O that comes closest to changes: what a projection leaves may lie outside of U."""
        inverse = torch.linalg.pinv(self.basis).T
        return torch.cat([(matrices[name] @ inverse).reshape(-1) for name in self.live])

    def delta(self, exponents: Mapping[str, int], _parent: Mapping[str, Tensor]) -> dict[str, FactorDelta]:
        """O and U in whole numbers; `exponents` are those of the matrices' grids."""
        outputs = {name: part.detach().cpu().numpy() for name, part in self.outputs(self.values).items()}
        return factored(outputs, self.basis.cpu().numpy(), exponents)

    def begin_at(self, delta: Delta) -> None:
        """Set the live matrices to what they were plus a change, which has these directions but for their lengths."""
        parts = []
        for name in self.live:
            change = delta[name]
            assert isinstance(change, FactorDelta)
            outputs = torch.from_numpy(change.outputs * 2.0**change.exponent).to(self.basis)
            lengths = torch.from_numpy(change.basis.astype(np.float32)).to(self.basis).abs().max(0).values
            parts.append((outputs * (lengths / self.basis.abs().max(0).values)).reshape(-1))
        self.become(torch.cat(parts))
        self.scatter()

    @torch.no_grad()
    def become(self, values: Tensor) -> None:
        """Take other values, in place: the optimizer knows the tensor."""
        self.values.copy_(values)

    @torch.no_grad()
    def scatter(self) -> None:
        """Write parent + O U^T into the live matrices."""
        for name, change in self.dense(self.values).items():
            self.live[name].copy_(self.parent[name] + change)


def of_concept(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    token: str,
    calibration: Moments,
    past: Sequence[Moments],
    rank: int,
    kind: str,
    seed: int,
) -> Tensor:
    """The directions along which a concept is learned, U of shape (I, r), float32, CPU.

    Args:
        pipeline: Its text encoder knows the concept's token, as the warm-up left it.
        prompts: Of the concept; they hold the token.
        token: Its first one.
        calibration: Moments of general prompts.
        past: Moments of earlier concepts' prompts.
        rank: How many.
        kind: How they are found, one of `BASES`.
        seed: Of random ones.
    """
    new = new_moment(pipeline, prompts, pipeline.tokenizer.convert_tokens_to_ids(token))
    of_class = [" ".join(prompt.replace(token, "").split()) for prompt in prompts]
    others = others_moment(pipeline, of_class, calibration, past)
    return fixed(BASES[kind](new, others, rank, seed), new)


def continued(pipeline: StableDiffusionPipeline, prompts: Sequence[str], token: str, delta: Delta) -> Tensor:
    """The directions of a concept that is learned already, U of shape (I, r), float32, CPU.

    They are stored as whole numbers, without their lengths: a power of two brings each nearest to unit response, so
    that the learning rate means what it meant.

    Args:
        pipeline: Its text encoder knows the concept's token.
        prompts: Of the concept; they hold the token.
        token: Its first one.
        delta: Its change, along directions.
    """
    one = next(iter(delta.values()))
    assert isinstance(one, FactorDelta)
    whole = torch.from_numpy(one.basis.astype(np.float32))
    new = new_moment(pipeline, prompts, pipeline.tokenizer.convert_tokens_to_ids(token))
    response = ((new @ whole) * whole).sum(0).clamp_min(1e-12).sqrt()
    return whole * torch.exp2(-torch.round(torch.log2(response)))


def new_moment(pipeline: StableDiffusionPipeline, prompts: Sequence[str], token_id: int) -> Tensor:
    """C_new: the second moment of features that the token reaches, shape (I, I), float32, CPU.

    Those from the token on, and where the text encoder looks both ways the others of the prompt; padding that is masked
    is none of them.
    """
    ids = token_ids(pipeline.tokenizer, prompts)
    with torch.no_grad():
        told = conditions_of(pipeline, prompts)
    reached = looks_ahead(pipeline.tokenizer) | ((ids == token_id).cumsum(1) > 0)
    features = told.features.float().cpu()[reached & told.read.cpu()]
    return features.T @ features / len(features)


def others_moment(
    pipeline: StableDiffusionPipeline, class_prompts: Sequence[str], calibration: Moments, past: Sequence[Moments]
) -> Tensor:
    """C_old + C_calibration + C_class, shape (I, I), float32, CPU; C_old is the mean over earlier concepts.

    Values' moments, which also bound the keys': centring takes something away from every direction.
    """
    total = calibration.value + prompt_moments(pipeline, class_prompts).value
    return total + torch.stack([one.value for one in past]).mean(0) if past else total


def best(new: Tensor, others: Tensor, rank: int, _seed: int, ridge: float = RIDGE) -> Tensor:
    """The top generalised eigenvectors, shape (I, r), float32."""
    new, others = new.double(), others.double()
    others = others + ridge * others.diagonal().mean() * torch.eye(len(others), dtype=torch.float64)
    inverse = torch.linalg.inv(torch.linalg.cholesky(others))
    _, vectors = torch.linalg.eigh(inverse @ new @ inverse.T)
    return (inverse.T @ vectors.flip(1)[:, :rank]).float()


def plain(new: Tensor, _others: Tensor, rank: int, _seed: int) -> Tensor:
    """The top eigenvectors of C_new alone: a control."""
    return torch.linalg.eigh(new.double())[1].flip(1)[:, :rank].float()


def random(new: Tensor, _others: Tensor, rank: int, seed: int) -> Tensor:
    """Directions without meaning, orthonormal: a control."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(len(new), rank, generator=generator, dtype=torch.float64))[0].float()


BASES: dict[str, Callable[[Tensor, Tensor, int, int], Tensor]] = {"best": best, "plain": plain, "random": random}
"""Name -> builder(C_new, the others' moment, rank, seed)."""


def fixed(basis: Tensor, new: Tensor) -> Tensor:
    """Columns of unit response to the concept, rounded to whole numbers times a power of two each; float32."""
    response = ((new @ basis) * basis).sum(0).clamp_min(1e-12).sqrt()
    return whole(basis / response)


def whole(basis: Tensor) -> Tensor:
    """Directions, shape (I, r), rounded to what is stored: whole numbers to `UNIT`, a power of two a column."""
    unit = torch.exp2(torch.floor(torch.log2(UNIT / basis.abs().max(0).values)))
    return torch.round(basis * unit) / unit
