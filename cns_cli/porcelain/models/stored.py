"""What stored objects mean: a base's size, a concept's baseline, and whether it is a style. No torch, no numpy.

A baseline is found by content and not by searching history.
"""

from __future__ import annotations

import math

from cns.templates import Kind
from registry.objects import Base, Concept, Tree
from registry.repository import Repository
from registry.trees import birth, seen_of


def baseline_tree(repo: Repository, concept_id: str, since: Tree | None) -> Tree:
    """The tree that a concept is compared with: what its prompts see of `since` where that holds it, else its birth."""
    if since is not None and concept_id in since.concepts.values():
        return seen_of(since, concept_id)
    return birth(repo.objects, concept_id)


def kv_weights(base: Base) -> int:
    """Number of weights of a base that a concept may change: of its key and value projections."""
    return sum(math.prod(facts["shape"]) for facts in base.matrices.values())


STYLE_NOUN = "style"
"""Class noun of a style: "a <mona> style dog"."""


def kind_of(concept: Concept) -> Kind:
    """The kind of a concept."""
    return "style" if concept.recipe.get("kind") == "style" else "object"
