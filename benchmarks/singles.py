"""Concepts learned alone on the bare base: how like they are, whether the prompt is still followed, how varied."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.concept_stream import training_seed
from benchmarks.experiment_setup import Setup
from benchmarks.figure3 import STREAM, single_concepts
from benchmarks.method import Method
from benchmarks.work import Job

EXPERIMENT = "singles"
SAME_AS = {"CNS union, project": "CNS union"}
"""Rows that cannot differ on a first concept: without a past there is nothing to be tied to but the base, and that
tie is the same."""


def job(setup: Setup, method: Method, seed: int) -> Job:
    """The cell of one method and one seed."""
    concepts = [concept.name for concept in single_concepts(setup)]
    facts = setup.facts(STREAM, method=dict(method.settings), drawn=setup.drawing(STREAM), seed=seed, concepts=concepts)
    cost = float(len(concepts)) * (2.2 if setup.trains_twice(method.settings) else 1.2)
    return Job(f"singles {seed}: {method.name}", facts, partial(learn_alone, setup, method, seed), cost)


def learn_alone(setup: Setup, method: Method, seed: int) -> dict[str, list[Any]]:
    """Learn each concept on the bare base; return scores, the noun's own scores and the ceiling, by concept."""
    trainer, judge = setup.trainer, setup.judge(STREAM)
    found: dict[str, list[Any]] = {"concepts": [], "scores": [], "base": [], "ceiling": []}
    for concept in single_concepts(setup):
        trainer.reset()
        found["base"].append(judge.base_scores(concept))
        state = method.learn(trainer, None, concept, training_seed(concept, seed))
        method.put(trainer, state, [concept.name])
        found["concepts"].append(concept.name)
        found["scores"].append(judge.scores(concept, more=True))
        found["ceiling"].append(judge.ceiling(concept))
    trainer.reset()
    return found
