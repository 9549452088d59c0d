"""What choosing is worth: masks of several kinds and sizes, and directions; each concept learned alone on the base.

A concept gains identity by what it changes; what the change would say to prompts of other things, were it seen there,
is the price. Both are taken of the same trainings. What is left when the change is taken away, or the token, says which
of the two holds the concept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks.concept_stream import Concept, training_seed
from benchmarks.experiment_setup import BASELINE, Setup
from benchmarks.judging import Judge
from benchmarks.named import Named
from benchmarks.trial_scores import LOWEST, RANDOM, RATIO
from benchmarks.twenty import STREAM, judge_of
from benchmarks.work import Job
from cns.drift import kv_drift, prompt_moments
from cns.scores import BUILT_IN
from cns.text import class_noun_row

EXPERIMENT = "choosing"
COUNT = 4
"""Concepts: the first of the order."""
ORDER = 0
NO_CHANGE, NO_TOKEN = "without the change", "without the token"
"""What is taken away of a concept: its change of the weights, or what its token learned, which is its noun's then."""
WHOLE, DEFAULT_RATE = BASELINE["budget_share_kv"], BASELINE["lr"]
"""The share of the K/V weights that the cells' baseline trains, and its learning rate."""


@dataclass(frozen=True)
class Choice:
    """A way of choosing what is trained.

    Attributes:
        what: A selection score, or how directions are found.
        share: Of the K/V weights, for a mask; 0 = four directions.
        lr: Learning rate of what is chosen.
        frozen: Whether the token stays what its warm-up made it.
    """

    what: str
    share: float
    lr: float
    frozen: bool = False

    def method(self, kv_size: int) -> Named:
        """The method on a base with so many K/V weights."""
        if not self.share:
            return Named(self.what, directions=4, basis=self.what, lr=self.lr, frozen=self.frozen)
        budget: dict[str, Any] = {} if self.share == WHOLE else {"budget": round(self.share * kv_size)}
        tried = self.what not in BUILT_IN  # it cannot say which neurons are general, so that none is left out
        return Named(self.what, score=self.what, keeps_general=tried, frozen=self.frozen, lr=self.lr, **budget)


SCORES = ("gradient", RANDOM, RATIO, "wanda", "fisher", LOWEST)
SPARSE = ((0.01, DEFAULT_RATE), (0.01, 1e-2), (0.002, 1e-2), (0.0005, 3e-2))
"""Shares and rates of small masks: fewer weights want larger steps."""
CHOICES = (
    *(Choice(basis, 0.0, 1e-2) for basis in ("best", "plain", "random")),
    *(Choice(score, WHOLE, DEFAULT_RATE) for score in SCORES),
    *(Choice(score, WHOLE, 1e-2, frozen=True) for score in SCORES[:3]),
    *(Choice(basis, 0.0, 1e-2, frozen=True) for basis in ("best", "plain", "random")),
    *(Choice(score, share, lr) for share, lr in SPARSE for score in SCORES[:3]),
    *(Choice(score, WHOLE, lr, frozen=True) for lr in (DEFAULT_RATE, 3e-2) for score in SCORES[:3]),
    *(Choice(score, share, lr, frozen=True) for share, lr in SPARSE[1:] for score in SCORES[:3]),
)
"""In the order of their worth."""


def job(setup: Setup, choice: Choice) -> Job:
    """The cell of a choice."""
    kind = f"{choice.share:.2%} of K/V" if choice.share else "4 directions"
    name = f"{EXPERIMENT}: {choice.what}, {kind}, lr {choice.lr:g}" + (", token frozen" if choice.frozen else "")
    count = min(COUNT, setup.size.stream)
    facts = setup.facts(
        STREAM, choice=[choice.what, choice.share, choice.lr, choice.frozen], count=count, drawn="mixed"
    )
    return Job(name, facts, partial(_learn, setup, choice, count), count * 1.2)


def _learn(setup: Setup, choice: Choice, count: int) -> dict[str, Any]:
    trainer, judge = setup.trainer, judge_of(setup, ORDER, count, True)
    concepts = judge.stream.order(ORDER, count)
    trainer.reset()
    base = [judge.base_scores(concept) for concept in concepts]
    learned = [_one(setup, judge, choice, concept) for concept in concepts]
    trainer.reset()
    rows = [{"base": before, **found} for before, found in zip(base, learned, strict=True)]
    return {"concepts": [concept.name for concept in concepts], "rows": rows}


def _one(setup: Setup, judge: Judge, choice: Choice, concept: Concept) -> Mapping[str, Any]:
    """Learn one concept; its scores whole, without its change and without its token, and what it says to whom."""
    trainer = setup.trainer
    pipeline, method = trainer.model.pipeline, choice.method(trainer.model.kv_size)
    weights = method.learn(trainer, None, concept, training_seed(concept, ORDER))[concept.name]
    row = class_noun_row(pipeline, concept.noun)
    kept = {"scores": weights}
    if not choice.frozen:
        kept[NO_CHANGE] = replace(weights, delta={})
        kept[NO_TOKEN] = replace(weights, rows={concept.token: row})
    found: dict[str, Any] = {}
    for name, one in kept.items():
        method.put(trainer, {concept.name: one}, [concept.name])
        found[name] = judge.scores(concept)
    changed = trainer.model.set_concepts([weights])
    own = prompt_moments(pipeline, judge.stream.prompts(concept.phrase))
    nouns = [other.noun for other in setup.stream(STREAM).concepts.values() if other is not concept]
    others = prompt_moments(pipeline, [prompt for noun in nouns for prompt in judge.stream.prompts(noun)])
    found["own"], found["others"] = (kv_drift(changed, trainer.model.base, one) for one in (own, others))
    return found
