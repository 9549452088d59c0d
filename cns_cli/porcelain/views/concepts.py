"""Concepts of a tree as a reader sees them, with the figures of the commits that brought them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from cns_cli.porcelain.models.stored import kv_weights
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.commits import numbers, record_data
from registry.errors import RegistryError
from registry.objects import Base, Commit, Concept, Tree
from registry.repository import Repository
from registry.trees import seen


@dataclass(frozen=True, kw_only=True)
class ConceptView(Result):
    """A concept of one tree, with its figures.

    Attributes:
        commit: The commit that introduced it, None when history does not tell.
        neurons: Number of changed weights; `share_kv`, `share_denoiser`: as a share; None when it cannot be told.
        missing: Concepts that it was trained on top of and that this tree does not hold, or holds changed.
        strangers: Concepts of this tree that were trained without it, and it without them.
    """

    also = ("outside_context",)

    name: str
    id: str
    class_noun: str
    tokens: tuple[str, ...]
    commit: str | None
    neurons: int | None
    share_kv: float | None
    share_denoiser: float | None
    bytes: int | None
    missing: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()

    @property
    def outside_context(self) -> bool:
        """Whether it keeps other company than it was trained in: its weights are exact, its effect may have shifted."""
        return bool(self.missing or self.strangers)


def concept_views(repo: Repository, commit_id: str) -> list[ConceptView]:
    """Return the concepts of a commit's tree, the oldest first.

    Raises:
        ObjectMissing, ObjectCorrupt: the tree or a concept of it cannot be read.
    """
    tree = repo.tree_of(commit_id)
    concepts = repo.concepts(tree)
    born = introductions(repo, commit_id, tree)
    trained_on = {name: repo.objects.get(concept.trained_on, Tree).concepts for name, concept in concepts.items()}
    weights = weights_of(repo)
    contexts = {name: training_context(name, tree, trained_on, weights) for name in concepts}
    views = [_concept_view(repo, name, tree, concepts[name], contexts[name], born.get(name)) for name in concepts]
    order = {name: place for place, name in enumerate(born)}  # `introductions` finds the youngest first
    return sorted(views, key=lambda view: -order.get(view.name, len(order)))


def introductions(repo: Repository, commit_id: str, tree: Tree) -> dict[str, tuple[str, Commit]]:
    """Find, for each concept of a tree, the commit that brought it in as it is now; the youngest first."""
    wanted = dict(tree.concepts)
    found: dict[str, tuple[str, Commit]] = {}
    for current_id, commit in repo.log(commit_id):
        if not wanted:
            break
        brought = repo.index.introduced(current_id)
        for name in [name for name, concept in wanted.items() if brought.get(name) == concept]:
            found[name] = (current_id, commit)
            del wanted[name]
    return found


def weights_of(repo: Repository) -> Callable[[str], str]:
    """Return what tells the weights of a concept, by its id: the same whatever it is called."""
    return cache(lambda concept: repo.objects.get(concept, Concept).delta)


def training_context(
    name: str, tree: Tree, trained_on: Mapping[str, Mapping[str, str]], weights: Callable[[str], str]
) -> tuple[list[str], list[str]]:
    """Compare the company that a concept keeps in a tree with the one that it was trained in.

    A concept is in its context when every concept that it was trained on top of is still there, and every other one
    was in turn trained on top of it (what came later knew it, and was held back from harming it). Where a prompt sees
    what it names, a concept keeps no company.

    Args:
        name: The concept.
        tree: The tree.
        trained_on: For each concept of the tree, {name: concept id} of the tree that it was trained in.
        weights: What tells a concept's weights, by its id: company that was renamed is the same company.

    Returns:
        (missing, strangers), sorted names; both empty when it runs in its training context.
    """
    company = seen(tree, [name]).concepts
    mine, here = weights(company[name]), {weights(concept) for concept in company.values()}
    known = {other: {weights(concept) for concept in trained_on[other].values()} for other in company}
    missing = [other for other, concept in trained_on[name].items() if other != name and weights(concept) not in here]
    strangers = [
        other
        for other, concept in company.items()
        if other != name and weights(concept) not in known[name] and mine not in known[other]
    ]
    return sorted(missing), sorted(strangers)


def concept_figures(repo: Repository, concept_id: str, commit: Commit | None) -> dict[str, float]:
    """Return neurons, shares, stored bytes, as they were recorded with the commit that introduced a concept.

    A commit that records none (a revert, a cherry-pick, a merge that renames) leaves them to be counted from the
    concept's own mask, which costs numpy. Empty where history does not tell, or the mask cannot be read.
    """
    recorded = numbers(record_data(repo, commit).get("metrics")) if commit else {}
    if commit is None or commit.kind in ("init", "add", "import") or "neurons" in recorded:
        return recorded
    from cns.codec import count_weights
    from cns.errors import MethodError
    from cns_cli.porcelain.models.deltas import delta_of

    try:
        concept = repo.objects.get(concept_id, Concept)
        base = repo.objects.get(repo.objects.get(concept.trained_on, Tree).base, Base)
        neurons = count_weights(delta_of(repo.objects, concept))
        stored = sum(repo.objects.path(one).stat().st_size for one in (concept.mask, concept.delta, concept.embedding))
    except (RegistryError, MethodError, OSError):
        return recorded
    shares = {"share_kv": neurons / kv_weights(base), "share_denoiser": neurons / max(1, base.denoiser_parameters)}
    return {**recorded, **shares, "neurons": neurons, "bytes": stored}


def _concept_view(
    repo: Repository, name: str, tree: Tree, concept: Concept, context: tuple[list[str], list[str]],
    born: tuple[str, Commit] | None,
) -> ConceptView:  # fmt: skip
    metrics = concept_figures(repo, tree.concepts[name], born[1] if born else None)
    missing, strangers = context
    return ConceptView.of(
        concept,
        name=name,
        id=tree.concepts[name],
        commit=born[0] if born else None,
        neurons=_whole(metrics.get("neurons")),
        share_kv=metrics.get("share_kv"),
        share_denoiser=metrics.get("share_denoiser"),
        bytes=_whole(metrics.get("bytes")),
        missing=tuple(missing),
        strangers=tuple(strangers),
    )


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
