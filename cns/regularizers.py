"""The continual regularization loss L_reg: what ties an update to what was learned before and to the base model.

A regularizer is built once per training from a `History`. It gives a loss for the current weights, or `Ties`: a loss
and a projection of every step. Add one by writing a function ``History, strengths -> Penalty or Ties`` and naming it in
`REGULARIZERS` (the command line, the tests and the docs take the names from there), or in another package by an entry
point (`cns.extensions`).

The paper (abstract) says that L_reg uses the prior personalised weights and the pretrained weights. `weights` is our
reading of that; `features` is ours: it measures the same two changes where they act, in the keys and values. `project`
is ours, too: it does not weigh a step against forgetting but takes out of it what old prompts would feel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cns import extensions
from cns.compose import Weights
from cns.drift import Moments, energy
from cns.projection import Build, RowProjection, hard, soft

CPU = torch.device("cpu")

Penalty = Callable[[Mapping[str, Tensor]], Tensor]
"""Current K/V weights (matrix name -> (O, I), float32, with gradient) -> scalar loss, >= 0 but for rounding."""


Projection = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Change of the K/V weights (matrix name -> (O, I), float32, zero outside the mask) -> what of it may be applied."""


@dataclass(frozen=True)
class Ties:
    """A penalty with a projection.

    Attributes:
        penalty: Added to the loss.
        project: Applied to every step after the optimizer has made it; None = steps are applied as they are.
        finish: Applied once to the whole change, before it is rounded to the grid; None = nothing is.
    """

    penalty: Penalty
    project: Projection | None = None
    finish: Projection | None = None

    def __call__(self, weights: Mapping[str, Tensor]) -> Tensor:
        """The penalty of the current weights."""
        return self.penalty(weights)


Regularizer = Callable[["History", float, float], "Penalty | Ties"]
"""(history, strength a, anchor strength b) -> what ties the update."""


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

    L = mean over matrices of  (a * sum over (M_past and M) of (W - W_parent)^2 + b * sum over M of (W - W_base)^2)
        / (|M| * mean(W_base^2))

    Source: the paper's description (abstract); the form and the division by mean(W_base^2), which makes a and b
    independent of a model's scale, are our choice.
    """
    terms = {}
    for name, mask in history.masks.items():
        past = torch.stack([past.masks[name] for past in history.past]).any(0) & mask if history.past else mask & False
        scale = float(history.base[name].square().mean()) * max(1, int(mask.sum()))
        if not scale:
            continue  # a matrix of zeros, as some bases have: nothing to be relative to
        parts = (history.parent[name], past, history.base[name], mask)
        terms[name] = (*(part.to(history.device) for part in parts), scale)

    def penalty(current: Mapping[str, Tensor]) -> Tensor:
        total = torch.zeros((), device=history.device)
        for name, (parent, past, base, mask, scale) in terms.items():
            to_parent = (current[name] - parent)[past].square().sum()
            to_base = (current[name] - base)[mask].square().sum()
            total = total + (strength * to_parent + anchor * to_base) / scale
        return total / max(1, len(terms))

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
            held = energy(reference, moment)
            if held == 0:
                continue  # a matrix of zeros has no output to be kept
            scale = factor / held
            square += scale * moment
            linear += scale * ((parent - reference) @ moment)
            constant = constant + scale * energy(parent - reference, moment)
        terms[name] = tuple(part.to(history.device) for part in (parent, square, linear, constant))

    def penalty(current: Mapping[str, Tensor]) -> Tensor:
        total = torch.zeros((), device=history.device)
        for name, (parent, square, linear, constant) in terms.items():
            total = total + _Quadratic.apply(current[name], parent, square, linear) + constant
        return total / len(terms)

    return penalty


class _Quadratic(torch.autograd.Function):
    """tr(D S D^T) + 2 tr(D B^T) of D = W - W_p, with its gradient 2 (D S + B): one product of matrices, and not two.

    S is symmetric. The gradient is made where the loss is, so that nothing else need be kept.
    """

    @staticmethod
    def forward(ctx: Any, current: Tensor, parent: Tensor, square: Tensor, linear: Tensor) -> Tensor:
        change = current - parent
        felt = change @ square
        felt += linear
        ctx.save_for_backward(felt)
        return (change * (felt + linear)).sum()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        (felt,) = ctx.saved_tensors
        return 2 * slope * felt, None, None, None


def features_parent(history: History, strength: float, anchor: float) -> Penalty:
    """As `features`, with every earlier concept tied to the parent and not to its own birth: an ablation.

    Small steps may then add up over many concepts: each is measured from the one before.
    """
    past = [replace(one, birth=history.parent) for one in history.past]
    return features(replace(history, past=past), strength, anchor)


def project(history: History, strength: float, anchor: float) -> Ties:
    """Shrink each step where earlier concepts' prompts would feel it: d <- (I + a S_mm)^-1 d, row by row.

    S = sum_j C_j / mean(diag C_j) over earlier concepts, C_j the second moment of their prompts' features: a is then a
    pure number. The base is tied as in `features`, by b; without an earlier concept that tie is all there is.

    Of the two forms in `cns.projection` this is the one to use: it weighs directions by how much prompts use them,
    grows with the number of concepts by itself, and never closes a direction. The whole change is a sum of steps that
    were shrunk once, so that it is not shrunk again at the end.

    Source: our choice (docs/method.md); orthogonal weight updates are those of Zeng et al., "Continual learning of
    context-dependent processing in neural networks" (2019), and Saha et al., "Gradient Projection Memory" (ICLR 2021),
    there for whole layers and gradients, here for the free entries of a row and for what Adam makes of them.
    """
    return Ties(_anchored(history, anchor), _projection(history, soft(strength)))


def project_hard(history: History, _strength: float, anchor: float) -> Ties:
    """Take the top third of earlier prompts' directions out of each step: d <- (I - U U^T) d, row by row.

    U: the floor(|m| / 3) leading eigenvectors of S_mm, S as in `project`; a is not used. The change is projected once
    more before it is rounded, which moves it by rounding errors only. Once earlier concepts use more directions than a
    third of a row's free entries, what lies beyond is not protected at all, and a row of one or two entries never is.
    """
    projection = _projection(history, hard)
    return Ties(_anchored(history, anchor), projection, projection)


REGULARIZERS: dict[str, Regularizer] = {
    "features": features,
    "weights": weights,
    "none": none,
    "project": project,
    "project-hard": project_hard,
    "features-parent": features_parent,
}
"""Name on the command line -> builder(history, strength a, anchor strength b)."""


def regularizer_named(name: str) -> Regularizer:
    """A built-in regularizer, or one of another package, see `cns.extensions.find`."""
    build = extensions.find(extensions.REGULARIZERS, name, REGULARIZERS)
    if name in REGULARIZERS:
        return build
    package = extensions.origin(extensions.REGULARIZERS, name, REGULARIZERS)
    return partial(_of_plugin, build, extensions.Plugin(extensions.REGULARIZERS, name, package))


def _of_plugin(
    build: Regularizer, plugin: extensions.Plugin, history: History, strength: float, anchor: float
) -> Penalty | Ties:
    """Build a plugin's regularizer; what goes wrong in it, then or in a step, is said to be its fault.

    Raises:
        ExtensionError: It failed, or gave nothing that ties an update.
    """
    with plugin.blamed():
        built = build(history, strength, anchor)
    if not callable(built):
        raise plugin.unusable(f"gave {type(built).__name__}: expected a penalty, or Ties")
    ties = built if isinstance(built, Ties) else Ties(built)

    def penalty(weights: Mapping[str, Tensor]) -> Tensor:
        with plugin.blamed():
            loss = ties.penalty(weights)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise plugin.unusable(f"gave a penalty that is {type(loss).__name__}: expected a tensor of one number")
        return loss.reshape(())

    def guarded(projection: Projection | None) -> Projection | None:
        if projection is None:
            return None

        def project(change: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            with plugin.blamed():
                return projection(change)

        return project

    return Ties(penalty, guarded(ties.project), guarded(ties.finish))


def _anchored(history: History, anchor: float) -> Penalty:
    """The tie of general prompts to the base, that of `features` without earlier concepts."""
    return features(replace(history, past=[]), 0.0, anchor)


def _projection(history: History, build: Build) -> Projection | None:
    """The row-wise projection against the features of all earlier concepts; None without any."""
    if not history.past:
        return None
    moments = {
        name: torch.stack([_unit(past.moments.of(name)) for past in history.past]).sum(0) for name in history.masks
    }
    return RowProjection(history.masks, moments, build, history.device)


def _unit(moment: Tensor) -> Tensor:
    """A second moment divided by its mean diagonal."""
    return moment / moment.diagonal().mean().clamp_min(1e-30)
