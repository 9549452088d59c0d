"""Figure 3 of the paper: how many of a concept's base neurons are general, against the number of calibration prompts.

Base neurons of a concept are the top of its score in each row (the family's `general_ratio`), after the token's
warm-up. A weight is general after n prompts if it is in the top of its row for enough of them: for all of them (the
curve that can only fall, as the paper's does), or for half of them, which is what we select with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmarks.concept_stream import Concept, training_seed
from benchmarks.experiment_setup import DEFAULTS, Setup
from benchmarks.ours import Ours
from benchmarks.trainer import silent
from benchmarks.work import Job
from cns import selection
from cns.denoising import Denoiser, NoisedBatch
from cns.general import Vote, find_general_neurons
from cns.selection import SCORES, Score, Scores, top_of_row

EXPERIMENT = "figure3"
STREAM = "report"
SCORES_DRAWN = ("gradient", "wanda")
VOTES = {"all": 1.0, "half": DEFAULTS.general_vote}
RECORDED = "recorded"
Cell = dict[str, list[list[float]]]


def plan(setup: Setup) -> list[Job]:
    """One cell a score."""
    counts, singles = list(setup.size.calibration), [concept.name for concept in single_concepts(setup)]
    return [
        Job(
            f"figure3: {score}",
            setup.facts(STREAM, score=score, counts=counts, singles=singles),
            partial(overlaps, setup, score),
            (8.0 if score == "gradient" else 3.0) * len(singles) / 8,
        )
        for score in SCORES_DRAWN
    ]


def single_concepts(setup: Setup) -> list[Concept]:
    """The concepts that are learned alone: three known classes for each new one, in the file's order."""
    concepts, count = list(setup.stream(STREAM).concepts.values()), setup.size.singles
    known = [concept for concept in concepts if concept.known][: count - count // 4]
    return known + [concept for concept in concepts if not concept.known][: count // 4]


def overlaps(setup: Setup, score: str) -> Cell:
    """For each vote: for each number of prompts, the share of base neurons that are general, concept by concept."""
    base = [_base_neurons(setup, concept, score) for concept in single_concepts(setup)]
    trainer = setup.trainer
    prompts = trainer.base.calibration.selection[: setup.size.calibration[-1]]
    active = []
    for number, prompt in enumerate(prompts):
        vote = Vote(score, DEFAULTS.general_ratio, 1.0, seed=number)
        active.append(find_general_neurons(trainer.model, [prompt], vote, silent))
    found: Cell = {name: [] for name in VOTES}
    for count in setup.size.calibration:
        for name, vote_share in VOTES.items():
            general = {
                matrix: torch.stack([one[matrix] for one in active[:count]]).sum(0)
                >= vote_share * min(count, len(active))
                for matrix in active[0]
            }
            found[name].append([round(shared(masks, general), 4) for masks in base])
    trainer.reset()
    return found


def shared(base: Mapping[str, Tensor], general: Mapping[str, Tensor]) -> float:
    """Share of the base neurons that are general."""
    both = sum(int((base[name] & general[name]).sum()) for name in base)
    return both / sum(int(mask.sum()) for mask in base.values())


def _base_neurons(setup: Setup, concept: Concept, score: str) -> dict[str, Tensor]:
    """The top of each row for a concept on the bare base."""
    recorder = _Recorder(SCORES[score])
    selection.SCORES[RECORDED] = recorder
    try:
        # One step after the selection: the training itself does not matter here, nor which neurons are left out.
        method = Ours("base neurons", keeps_general=True, score=RECORDED, steps=1)
        method.learn(setup.trainer, None, concept, training_seed(concept, 0))
    finally:
        del selection.SCORES[RECORDED]
    return {name: top_of_row(values, DEFAULTS.general_ratio) for name, values in recorder.scores.items()}


class _Recorder:
    """A score that remembers what it gave."""

    def __init__(self, score: Score) -> None:
        self.score = score
        self.scores: Scores = {}

    def __call__(self, denoiser: Denoiser, prompts: Sequence[str], batches: Sequence[NoisedBatch]) -> Scores:
        self.scores = self.score(denoiser, prompts, batches)
        return self.scores


def mean_curve(cell: Cell, vote: str) -> list[float]:
    """Mean over the concepts, for each number of prompts."""
    return [float(np.mean(row)) for row in cell[vote]]
