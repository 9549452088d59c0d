"""Which weights a concept may change: base, general and concept neurons.

A **neuron** is one weight W[o, i] of a cross-attention key or value projection: only so does the paper's share, 0.13 %
of the model, come out on SD 1.5 (docs/method.md). Each weight gets a score under the concept's prompts and under every
calibration prompt.

* base neurons: the best-scoring weights of each row for the concept;
* general neurons: weights that are in the top `general_ratio` of their row for at least `general_vote` of the
  calibration prompts, so they serve image generation as such;
* concept neurons: row by row the best-scoring weights that are not general, until the budget is full.

The paper takes "base and not general"; we fill a budget instead, so that the number of changed weights is chosen and
not an accident of the overlap. The overlap is measured and reported (`Selection.general_overlap`).

Add a score by writing a function with the signature of `Score` and a row of `cns.scores.BUILT_IN`, or in another
package by an entry point (`cns.extensions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from cns import extensions
from cns.denoising import Denoiser, NoisedBatch
from cns.errors import SettingsError
from cns.scores import BUILT_IN
from cns.scores import Score as Score
from cns.scores import Scores as Scores
from cns.scores import fisher as fisher
from cns.scores import gradient as gradient
from cns.scores import wanda as wanda

SCORES: dict[str, Score] = {name: score.function for name, score in BUILT_IN.items()}
"""Name on the command line -> score."""


def score_named(name: str) -> Score:
    """A built-in score, or one of another package, see `cns.extensions.find`."""
    score = extensions.find(extensions.SCORES, name, SCORES)
    if name in SCORES:
        return score
    package = extensions.origin(extensions.SCORES, name, SCORES)
    return partial(_of_plugin, score, extensions.Plugin(extensions.SCORES, name, package))


def _of_plugin(
    score: Score,
    plugin: extensions.Plugin,
    denoiser: Denoiser,
    prompts: Sequence[str],
    batches: Sequence[NoisedBatch],
) -> Scores:
    """Ask a plugin, and see that its scores are some.

    Raises:
        ExtensionError: It failed, or they are none.
    """
    with plugin.blamed():
        scores = score(denoiser, prompts, batches)
    shapes = {matrix: weight.shape for matrix, weight in denoiser.model.base.items()}
    problem = ""
    if not isinstance(scores, Mapping) or not all(isinstance(one, Tensor) for one in scores.values()):
        problem = f"gave {type(scores).__name__}: expected a tensor for each matrix"
    elif {matrix: one.shape for matrix, one in scores.items()} != shapes:
        problem = "gave scores of other matrices, or in other shapes, than the model's"
    elif not all(bool(one.isfinite().all()) and bool((one >= 0).all()) for one in scores.values()):
        problem = "gave scores that are negative or not finite: expected numbers from 0 on"
    if problem:
        raise plugin.unusable(problem)
    return {matrix: scores[matrix].detach().float().cpu() for matrix in shapes}


@dataclass(frozen=True)
class Selection:
    """The outcome of a selection.

    Attributes:
        masks: Matrix name -> concept neurons, shape (O, I), bool.
        general: Matrix name -> general neurons, shape (O, I), bool.
        general_share: Share of all K/V weights that are general.
        general_overlap: Share of the base neurons (same ratio, same score) that are general: the paper's Figure 3,
            about 0.53 there.
        budget: How many concept neurons were asked for; 0 = not known.
    """

    masks: dict[str, Tensor]
    general: dict[str, Tensor]
    general_share: float
    general_overlap: float
    budget: int = 0

    @property
    def count(self) -> int:
        """Number of concept neurons."""
        return sum(int(mask.sum()) for mask in self.masks.values())

    @property
    def lacking(self) -> int:
        """How many weights of the budget could not be given, since too few may be chosen."""
        return max(0, self.budget - self.count)


def general_neurons(votes: Iterable[Scores], ratio: float, vote: float) -> dict[str, Tensor]:
    """Weights in the top `ratio` of their row for at least `vote` of the calibration prompts.

    Args:
        votes: One score per calibration prompt.
        ratio: Share of a row that counts as active, (0, 1).
        vote: Share of the prompts that must agree, (0, 1].
    """
    counts: dict[str, Tensor] = {}
    total = 0
    for scores in votes:
        total += 1
        for name, score in scores.items():
            active = top_of_row(score, ratio).to(torch.int32)
            counts[name] = counts[name] + active if name in counts else active
    return {name: count >= vote * total for name, count in counts.items()}


def voted(masks: Sequence[Mapping[str, Tensor]], vote: float) -> dict[str, Tensor]:
    """Weights that at least `vote` of the masks of earlier concepts hold: matrix name -> shape (O, I), bool.

    What many concepts wanted serves drawing concepts as such; left out, a new concept leaves them alone.

    Args:
        masks: One an earlier concept, at least one.
        vote: Share of them that must hold a weight, (0, 1].
    """
    counts = {name: torch.stack([one[name] for one in masks]).sum(0) for name in masks[0]}
    return {name: count >= vote * len(masks) for name, count in counts.items()}


def select_concept_neurons(
    scores: Scores,
    general: Mapping[str, Tensor],
    budget: int,
    general_ratio: float,
    held: Mapping[str, Tensor] | None = None,
) -> Selection:
    """Fill the budget with each row's best-scoring weights that are not general.

    All rows get the same number k = budget // rows; what remains goes to the rows whose (k+1)-th weight has the largest
    score relative to its row's mean, then to their (k+2)-th, until the budget is spent or nothing is left. Ties go to
    the lower index, so the result is deterministic.

    Args:
        scores: The concept's scores.
        general: General neurons.
        budget: How many weights to choose; at least 1.
        general_ratio: The ratio for the reported overlap of base and general neurons.
        held: Further weights that may not be chosen, see `voted`; a matrix that is not named has none.

    Returns:
        The selection; it has fewer weights than the budget where fewer may be chosen (`Selection.lacking`).

    Raises:
        SettingsError: None may be chosen.
    """
    barred = {name: mask | held[name] if held and name in held else mask for name, mask in general.items()}
    names = sorted(scores)
    rows = sum(scores[name].shape[0] for name in names)
    each = budget // rows
    masks, ranked = {}, {}
    for name in names:
        score = scores[name].masked_fill(barred[name], -1.0)
        values, order = score.sort(dim=1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1]).expand_as(order))
        masks[name] = (rank < each) & (score >= 0)
        ranked[name] = (values / scores[name].mean(1, keepdim=True).clamp_min(1e-30), order)
    _spend(budget - sum(int(mask.sum()) for mask in masks.values()), each, ranked, masks)
    if not any(bool(mask.any()) for mask in masks.values()):
        raise SettingsError(
            "no weight is left to choose: each is general, or held by too many earlier concepts",
            "cns add … --past-vote 1",
            name="past_vote",
        )
    base = {name: top_of_row(scores[name], general_ratio) for name in names}
    size = sum(score.numel() for score in scores.values())
    shared = sum(int((base[name] & general[name]).sum()) for name in names)
    return Selection(
        masks,
        dict(general),
        sum(int(general[name].sum()) for name in names) / size,
        shared / max(1, sum(int(mask.sum()) for mask in base.values())),
        budget,
    )


def _spend(spare: int, each: int, ranked: Mapping[str, tuple[Tensor, Tensor]], masks: Mapping[str, Tensor]) -> None:
    """Give what is left of a budget to the rows whose next weight matters most to them; the masks are changed.

    Args:
        spare: How many weights more.
        each: How many the masks hold in every row that has as many to choose.
        ranked: Matrix name -> scores relative to their row's mean, best first, negative where barred; their columns.
        masks: Matrix name -> chosen so far.
    """
    for place in range(each, max(order.shape[1] for _, order in ranked.values())):
        if spare <= 0:
            return
        margins = [
            (float(relative[row, place]), name, row, int(order[row, place]))
            for name, (relative, order) in ranked.items()
            if place < order.shape[1]
            for row in range(len(order))
            if relative[row, place] >= 0
        ]
        for _, name, row, column in sorted(margins, key=lambda entry: (-entry[0], entry[1:]))[:spare]:
            masks[name][row, column] = True
        spare -= len(margins)


def top_of_row(score: Tensor, ratio: float) -> Tensor:
    """The best `ratio` of every row, at least one weight; shape (O, I), bool; ties go to the lower index."""
    keep = max(1, round(score.shape[1] * ratio))
    order = score.sort(dim=1, descending=True, stable=True).indices[:, :keep]
    return torch.zeros_like(score, dtype=torch.bool).scatter_(1, order, True)
