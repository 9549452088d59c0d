"""The continual regularization loss L_reg: what ties an update to what was learned before and to the base model.

A regularizer is built once per training from a `History` and then gives a loss for the current weights. Add one by
writing a function ``History, strengths -> Penalty`` and naming it in `REGULARIZERS` (the command line, the tests and
the docs take the names from there), or in another package by an entry point (`cns.extensions`).

The paper (abstract) says that L_reg uses the prior personalised weights and the pretrained weights. `weights` is our
reading of that; `features` is ours: it measures the same two changes where they act, in the keys and values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cns import extensions
from cns.compose import Weights
from cns.drift import Moments, energy

CPU = torch.device("cpu")

Penalty = Callable[[Mapping[str, Tensor]], Tensor]
"""Current K/V weights (matrix name -> (O, I), float32, with gradient) -> scalar loss, >= 0 but for rounding."""


@dataclass(frozen=True)
class PastConcept:
    """An earlier concept: the weights at its birth, and the second moments of its prompts' features."""

    birth: Weights
    moments: Moments
    masks: Mapping[str, Tensor]


@dataclass(frozen=True)
class History:
    """What a regularizer may look at.

    Attributes:
        base: The pretrained weights.
        parent: The weights before this concept.
        masks: Matrix name -> the new concept's mask, shape (O, I), bool.
        past: Earlier concepts of the same model.
        calibration: Moments of the calibration prompts.
        device: Where the current weights will be when a penalty is taken; all tensors above are on the CPU.
    """

    base: Weights
    parent: Weights
    masks: Mapping[str, Tensor]
    past: Sequence[PastConcept]
    calibration: Moments
    device: torch.device = CPU


def none(_history: History, _strength: float, _anchor: float) -> Penalty:
    """No regularization: the ablation."""

    def penalty(weights: Mapping[str, Tensor]) -> Tensor:
        return next(iter(weights.values())).new_zeros(())

    return penalty


def weights(history: History, strength: float, anchor: float) -> Penalty:
    """Tie the masked weights to the parent where earlier masks overlap, and to the base everywhere in the mask.

    L = mean over matrices of  (a * mean over (M_past and M) of (W - W_parent)^2 + b * mean over M of (W - W_base)^2)
        / mean(W_base^2)

    Source: the paper's description (abstract); the form and the division by mean(W_base^2), which makes a and b
    independent of a model's scale, are our choice.
    """
    terms = {}
    for name, mask in history.masks.items():
        past = torch.stack([past.masks[name] for past in history.past]).any(0) & mask if history.past else mask & False
        scale = float(history.base[name].square().mean()) * max(1, int(mask.sum()))
        parts = (history.parent[name], past, history.base[name], mask)
        terms[name] = (*(part.to(history.device) for part in parts), scale)

    def penalty(current: Mapping[str, Tensor]) -> Tensor:
        total = torch.zeros((), device=history.device)
        for name, (parent, past, base, mask, scale) in terms.items():
            to_parent = (current[name] - parent)[past].square().sum()
            to_base = (current[name] - base)[mask].square().sum()
            total = total + (strength * to_parent + anchor * to_base) / scale
        return total / len(terms)

    return penalty


def features(history: History, strength: float, anchor: float) -> Penalty:
    """Tie the keys and values of earlier concepts' prompts to their birth, and those of general prompts to the base.

    L = mean over matrices of  a * sum_j tr((W - W_j) C_j (W - W_j)^T) / tr(W_j C_j W_j^T)
                              + b * tr((W - W_base) C_cal (W - W_base)^T) / tr(W_base C_cal W_base^T)

    which is a times the summed squared K/V drift that the gate prints. Expanded around the parent W_p, with
    D = W - W_p, it costs one (I, I) and one (O, I) matrix per layer however many concepts there are:

    tr(D S D^T) + 2 tr(D B^T) + c,   S = sum_j s_j C_j,   B = sum_j s_j (W_p - W_j) C_j.

    Source: our choice (docs/method.md); anchored at birth, so that small steps cannot add up over many concepts.
    """
    terms: dict[str, tuple[Tensor, ...]] = {}
    for name, parent in history.parent.items():
        base, cal = history.base[name], history.calibration.of(name)
        anchors = [(anchor, base, cal)] + [(strength, past.birth[name], past.moments.of(name)) for past in history.past]
        square, linear, constant = torch.zeros_like(cal), torch.zeros_like(parent), parent.new_zeros(())
        for factor, reference, moment in anchors:
            scale = factor / energy(reference, moment)
            square += scale * moment
            linear += scale * ((parent - reference) @ moment)
            constant = constant + scale * energy(parent - reference, moment)
        terms[name] = tuple(part.to(history.device) for part in (parent, square, linear, constant))

    def penalty(current: Mapping[str, Tensor]) -> Tensor:
        total = torch.zeros((), device=history.device)
        for name, (parent, square, linear, constant) in terms.items():
            change = current[name] - parent
            total = total + energy(change, square) + 2 * (change * linear).sum() + constant
        return total / len(terms)

    return penalty


REGULARIZERS: dict[str, Callable[[History, float, float], Penalty]] = {
    "features": features,
    "weights": weights,
    "none": none,
}
"""Name on the command line -> builder(history, strength a, anchor strength b)."""


def regularizer_named(name: str) -> Callable[[History, float, float], Penalty]:
    """A built-in regularizer, or one of another package, see `cns.extensions.find`."""
    return extensions.find(extensions.REGULARIZERS, name, REGULARIZERS)
