"""Do the scores of several concepts in one picture notice when one of two is left out?

CNS learns both concepts of a pair, then the same backgrounds and seeds are drawn three times: side by side, with boxes,
and with each concept alone. Pictures of one concept are scored as if they were of both. Some minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.concept_stream import training_seed
from benchmarks.experiment_setup import FULL, QUICK, Setup
from benchmarks.figure3 import STREAM
from benchmarks.multi_concept import pictures, scores_of
from benchmarks.ours import Ours
from benchmarks.report import Cell, Report, Table
from benchmarks.stream_tables import TOGETHER_NAMES

Pair = Mapping[str, Mapping[str, float]]
"""What was drawn -> score -> mean."""


def run(quick: bool) -> Report:
    """Draw and score the pairs of the reporting stream."""
    return report(measure(Setup(QUICK if quick else FULL)))


def measure(setup: Setup) -> list[Pair]:
    """The scores of each pair."""
    trainer, judge, stream, method = setup.trainer, setup.judge(STREAM), setup.stream(STREAM), Ours("CNS")
    found: list[Pair] = []
    for names in stream.pairs:
        concepts = [stream.concepts[name] for name in names]
        trainer.reset()
        state: Any = None
        for concept in concepts:
            state = method.learn(trainer, state, concept, training_seed(concept, 0))
        method.put(trainer, state, names)
        both, prompts = pictures(trainer, judge, concepts)
        boxed, _ = pictures(trainer, judge, concepts, regions=True)
        alone = np.concatenate([pictures(trainer, judge, [concept])[0] for concept in concepts])
        found.append(
            {
                "both, side by side": scores_of(judge, both, prompts, concepts),
                "both, with regions": scores_of(judge, boxed, prompts, concepts),
                "one of them alone": scores_of(judge, alone, prompts * len(concepts), concepts),
            }
        )
    trainer.reset()
    return found


def report(pairs: list[Pair]) -> Report:
    """The means over the pairs."""
    means = {
        drawn: {score: fmean(pair[drawn][score] for pair in pairs) for score in TOGETHER_NAMES} for drawn in pairs[0]
    }
    rows: list[list[Cell]] = [
        [drawn, *(f"{scores[score]:.3f}" for score in TOGETHER_NAMES)] for drawn, scores in means.items()
    ]
    note = (
        f"CNS union, {len(pairs)} pairs of the reporting stream, nothing else learned. All pictures are scored as if "
        "of both concepts of the pair, against the prompt that names both. One seed."
    )
    figures = {f"{drawn}: {score}": value for drawn, scores in means.items() for score, value in scores.items()}
    return Report(
        "left_out", [Table("When one of two is left out", ["drawn", *TOGETHER_NAMES.values()], rows, note)], [], figures
    )
