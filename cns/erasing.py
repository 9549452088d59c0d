"""Erasing nouns: prompts of some nouns find other values in the base, in closed form, and no others do.

A value is V f, f being a text feature. A prompt of an erased noun has features c from the noun on; the same prompt with
another noun in its place, or none, has c*. What prompts that shall stay read has the second moment R. The map

    P = argmin  sum |P c - (c* - c)|^2 + lambda tr(P R P^T)  =  (sum (c* - c) c^T) (sum c c^T + lambda R)^-1

does for all layers: with V (1 + P) a prompt of the noun finds V c*, where R leaves it free, and the rest what it found.
Keys stay as they are: where a picture looks does not change, only what it finds there. All nouns are solved together.

P is then cut to the rank r that loses least on all these features, and the change of each layer is V P = (V A) U^T with
one U for all: whole numbers as those of a concept along directions (`cns.factors`), exact and taken back exactly.

Source: the closed form is that of UCE (Gandikota et al., "Unified Concept Editing in Diffusion Models", WACV 2024), of
values alone. SPEED (Li et al., 2025) keeps to the null space of what is retained; a null space is empty where as many
prompts are retained as here, so that R weighs directions instead. Moments in the place of single embeddings, targets
position by position, and the rank are ours.

It suppresses a name. Other words, a picture or a learned token can still bring about what it named: no safety device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cns.compose import Model, Weights
from cns.directions import whole
from cns.drift import energy
from cns.factors import MAX_RANK, FactorDelta, factored
from cns.prompts import names
from cns.templates import fill_template
from cns.text import encode_prompts

if TYPE_CHECKING:  # the class is for annotations; importing it costs seconds and talks
    from diffusers import StableDiffusionPipeline

RETAIN = 1.0
"""lambda: how much what is retained weighs, against an erased noun. Looked at on the embedded base, with a dog among
the concepts: at 1 no picture of "a dog" is one, at 3 some look like one, at 10 four of ten are; at each, pictures of
other nouns stay."""

RIDGE = 1e-3
"""Share of the mean diagonal that is added, so that directions which no prompt uses are left alone (chosen)."""

RANK = 6
"""Of the change, for each noun, up to `cns.factors.MAX_RANK` for all; for a single one 3 draw the same (looked at)."""


def erase_nouns(
    model: Model, nouns: Mapping[str, str], templates: Sequence[str], retained: Sequence[Tensor]
) -> dict[str, FactorDelta]:
    """The change of the base's value matrices that erases nouns.

    Args:
        model: Its text encoder reads the prompts; its live weights do not matter.
        nouns: Noun -> what stands in its place; empty: nothing.
        templates: Prompts with one `{}`; those that name one of the nouns by themselves are left out.
        retained: Second moments of values' features that shall stay, each of shape (I, I), which weigh alike.

    Returns:
        Value matrix -> change, on the base's grid.

    Raises:
        GridError: the change is too large for the grid.
    """
    usable = [template for template in templates if not names(template, nouns)]
    pairs = [_pairs(model.pipeline, noun, other, usable) for noun, other in sorted(nouns.items())]
    own = torch.stack([own.T @ own / len(own) for own, _ in pairs]).sum(0)
    cross = torch.stack([(wanted - own).T @ own / len(own) for own, wanted in pairs]).sum(0)
    total = own + RETAIN * torch.stack(list(retained)).sum(0).double()
    total += RIDGE * total.diagonal().mean() * torch.eye(len(total), dtype=torch.float64)
    mapped = cross @ torch.linalg.inv(total)
    basis = _directions(mapped, total, min(MAX_RANK, RANK * len(nouns), len(total)))
    onto = mapped @ total @ basis @ torch.linalg.inv(basis.T @ total @ basis)  # A, (I, r): least squares for this U
    values = {name: weight.double() @ onto for name, weight in model.base.items() if is_value(name)}
    return factored({name: one.float().numpy() for name, one in values.items()}, basis.float().numpy(), model.exponents)


def moved(base: Weights, change: Weights, moment: Tensor) -> float:
    """How far values moved: mean over value matrices of the squared relative change on features of a second moment."""
    parts = [float(energy(change[name] - base[name], moment) / energy(base[name], moment)) for name in values_of(base)]
    return sum(parts) / len(parts)


def values_of(weights: Weights) -> list[str]:
    """Names of the value matrices that have weights at all."""
    return [name for name, weight in weights.items() if is_value(name) and bool(weight.any())]


def is_value(matrix: str) -> bool:
    """Whether a matrix, by its name, projects to values."""
    return matrix.endswith("to_v.weight")


def _directions(mapped: Tensor, total: Tensor, rank: int) -> Tensor:
    """U, shape (I, r), of the P of that rank that is nearest on features of moment `total`; whole numbers / 2^k."""
    lower = torch.linalg.cholesky(total)
    _, _, rows = torch.linalg.svd(mapped @ lower)
    return whole(torch.linalg.solve_triangular(lower.T, rows[:rank].T, upper=True))


@torch.no_grad()
def _pairs(pipeline: StableDiffusionPipeline, noun: str, other: str, templates: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Features c of prompts of a noun from it on, and c* of the same place with the other words; (N, I), float64.

    A piece of the noun is paired with the piece of the other words at the same place, at most their last; without other
    words, with the word before. What follows is paired with itself.
    """

    def pieces(text: str) -> int:
        return len(pipeline.tokenizer(text, add_special_tokens=False).input_ids) if text else 0

    prompts = [fill_template(template, noun) for template in templates]
    targets = [" ".join(fill_template(template, other).split()) for template in templates]
    own, wanted = (encode_prompts(pipeline, texts).double().cpu() for texts in (prompts, targets))
    length, (mine, theirs) = own.shape[1], (pieces(noun), pieces(other))
    found: list[tuple[Tensor, Tensor]] = []
    for row, template in enumerate(templates):
        begin = 1 + pieces(template.partition("{}")[0].strip())  # behind the token that begins every prompt
        places = torch.arange(begin, length)
        within = places.clamp(max=begin + theirs - 1)
        partner = torch.where(places < begin + mine, within, places + theirs - mine).clamp(max=length - 1)
        found.append((own[row, places], wanted[row, partner]))
    return torch.cat([one for one, _ in found]), torch.cat([one for _, one in found])
