"""What stored objects mean: which tree a concept is compared with, and whether it is a style. No torch, no numpy.

A baseline is found by content and not by searching history.
"""

from __future__ import annotations

from cns.templates import Kind
from registry.objects import Concept, Tree, object_id
from registry.repository import Repository


def birth_tree(repo: Repository, concept_id: str) -> Tree:
    """The tree of a concept's birth: what it was trained on, plus itself."""
    stored = repo.objects.get(concept_id, Concept)
    trained_on = repo.objects.get(stored.trained_on, Tree)
    others = {name: other for name, other in trained_on.concepts.items() if name != stored.name}
    return Tree(base=trained_on.base, concepts={**others, stored.name: concept_id})


def baseline_tree(repo: Repository, concept_id: str, since: Tree | None) -> Tree:
    """The tree that a concept is compared with: `since` where that holds the very concept, else that of its birth."""
    if since is not None and concept_id in since.concepts.values():
        return since
    return birth_tree(repo, concept_id)


def tree_id(tree: Tree) -> str:
    """The id of a tree, stored or not."""
    return object_id(Tree.object_kind, tree.payload())


STYLE_NOUN = "style"
"""Class noun of a style: "a <mona> style dog"."""


def kind_of(concept: Concept) -> Kind:
    """The kind of a concept."""
    return "style" if concept.recipe.get("kind") == "style" else "object"
