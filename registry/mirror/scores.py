"""Stored scores as the metrics that MLflow draws, without MLflow.

An evaluation is about a tree, so its figures belong to the run of every commit whose prompts see that tree. Scores are
compared only within one protocol, so the start of the protocol's digest is part of a metric's name:
`check/3fa91c02/rex.clip_i`. Of several evaluations of one protocol the one with most images counts, and their number is
the step: a figure that was bettered goes on in the same curve. All of it follows from objects alone, so that a sync
gives the same as the check.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from registry.mirror.runs import is_number, metric_key
from registry.objects import Evaluation, Tree
from registry.refs import EVALUATIONS
from registry.repository import Repository
from registry.trees import seen

SHOWN_DIGITS = 8
LONGEST_KEY = 200  # `check/<digits>/` goes before it, and MLflow takes 250


@dataclass(frozen=True)
class Point:
    """One value of a metric; the step is the number of values that it is the mean of."""

    value: float
    step: int


def points_of(evaluations: Iterable[Evaluation]) -> dict[str, Point]:
    """Return {metric: point} of the evaluations of one tree."""
    best: dict[str, Point] = {}
    for evaluation in evaluations:
        for name, point in _scores(evaluation).items():
            key = f"check/{evaluation.protocol_digest[:SHOWN_DIGITS]}/{name}"
            # Lineages that were merged may hold several of one size: the order of their values decides, not of ids.
            if key not in best or (point.step, point.value) > (best[key].step, best[key].value):
                best[key] = point
    return best


def scores_of(evaluation: Evaluation) -> dict[str, float]:
    """Return one number a score: itself, or the mean of all its images."""
    return {name: point.value for name, point in _scores(evaluation).items()}


def experiment_of(name: str) -> str:
    """Return the name of the experiment that holds the evaluations of a registry."""
    return f"{name}-scores"


def evaluations_by_tree(repository: Repository) -> dict[str, list[str]]:
    """Return {tree id: ids of its evaluations}."""
    found: dict[str, list[str]] = {}
    for name in repository.refs.names(EVALUATIONS):
        tree, _, evaluation = name.removeprefix(EVALUATIONS).partition("/")
        found.setdefault(tree, []).append(evaluation)
    return found


def trees_seen(tree: Tree) -> set[str]:
    """Return the ids of the trees whose scores are those of a tree: itself, or what prompts about its concepts see."""
    return {tree.id} if tree.compose == "all" else {seen(tree, [name]).id for name in tree.concepts}


def _scores(evaluation: Evaluation) -> dict[str, Point]:
    subject = evaluation.protocol.get("subject")
    what = "class." if subject == "class" else ""
    found = {}
    for name, value in evaluation.scores.items():
        numbers = list(_numbers(value))
        if numbers:
            key = metric_key(f"{evaluation.concept_name}.{what}{name}", LONGEST_KEY)
            found[key] = Point(sum(numbers) / len(numbers), len(numbers))
    return found


def _numbers(value: Any) -> Iterable[float]:
    """Yield the numbers of nested lists; a table of them, such as scores with other concepts, is no single figure."""
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _numbers(inner)
    elif is_number(value):
        yield float(value)
