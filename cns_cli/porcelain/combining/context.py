"""Which concepts a change of the tree takes out of their training context, and how far their keys and values move.

A concept's weights are exact in every tree, but it was trained beside others: in other company its effect may shift.
How far is told by the K/V drift, exact and without an image, on the judge's prompts of each concept, as in `cns check`.
It needs the base model, and so torch, which is imported only then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from cns.errors import MethodError
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.concepts import training_context, weights_of
from cns_cli.progress import Progress
from registry.errors import RegistryError
from registry.objects import Base, Compose, Tree
from registry.repository import Repository
from registry.trees import erased_in, seen_of


@dataclass(frozen=True, kw_only=True)
class DriftView(Result):
    """K/V drift of a concept since its birth: relative, squared; 0 is untouched.

    Attributes:
        before: In the tree that it comes from; None where no tree held it: it has a new name.
        after: In the tree that was made.
    """

    name: str
    before: float | None
    after: float


@dataclass(frozen=True, kw_only=True)
class ContextView(Result):
    """What a change of the tree means for the concepts in it.

    Attributes:
        outside_context: Concepts that keep other company now than before, and not what they were trained in.
        drift: K/V drift of these; `drift_unknown`: why there is none.
        compose: What prompts see of the tree.
        erased: Noun -> what stands in its place, of what the tree erases; `erased_before`: of what HEAD's erased.
    """

    outside_context: tuple[str, ...] = ()
    drift: tuple[DriftView, ...] = ()
    drift_unknown: str = ""
    compose: Compose = "all"
    erased: Mapping[str, str] = field(default_factory=dict)
    erased_before: Mapping[str, str] = field(default_factory=dict)


def context_view(
    repo: Repository, befores: Sequence[Tree], after: Tree, progress: Progress, *, drift: bool = True
) -> ContextView:
    """Compare what a tree holds with the trees that it was made of; whatever cannot be computed is no error.

    Args:
        repo: The registry.
        befores: Trees that the concepts come from, HEAD's first; the first that holds one counts.
        after: The tree.
        progress: Told of stages.
        drift: Compute the drift, too: seconds, since the base model is loaded.
    """
    was = {one: context for tree in reversed(befores) for one, context in _contexts(repo, tree).items()}
    now = _contexts(repo, after)
    outside = tuple(name for name, one in sorted(after.concepts.items()) if any(now[one]) and now[one] != was.get(one))
    erased, before = (erased_in(tree, repo.objects) for tree in (after, befores[0]))
    found = ContextView(outside_context=outside, compose=after.compose, erased=erased, erased_before=before)
    if not outside:
        return found
    if not drift:
        return replace(found, drift_unknown="--no-drift")
    progress.stage("compute the K/V drift")
    try:
        return replace(found, drift=kv_drifts(repo, befores, after, outside))
    except (MethodError, RegistryError) as error:
        return replace(found, drift_unknown=error.message)


def kv_drifts(repo: Repository, befores: Sequence[Tree], after: Tree, names: Sequence[str]) -> tuple[DriftView, ...]:
    """Return the drift of concepts of a tree, by names.

    Raises:
        BaseModelError: The base model is not here, or is not the one that the registry was made on.
        ObjectMissing, ObjectCorrupt, CodecError, GridError: A concept cannot be used.
    """
    from cns.files.bases import check_base
    from cns_cli.porcelain.models.folder import base_folder

    base, folder = repo.objects.get(after.base, Base), base_folder(repo)
    check_base(folder, base.components)  # before torch is imported
    from cns.drift import kv_drift
    from cns_cli.porcelain.learning.past import judged_moments
    from cns_cli.porcelain.models.base import LoadedBase
    from cns_cli.porcelain.models.session import Session

    session = Session(repo, LoadedBase.open(folder, base, "cpu"))
    session.set_tree(after)  # for the tokens
    composed = cache(lambda tree: session.base.model.compose(session.parts(tree)))
    views = []
    for name in names:
        concept = after.concepts[name]
        moments = judged_moments(session.base, session.concept(concept))
        birth, home = session.birth_weights(concept), _home(befores, concept)
        before = None if home is None else kv_drift(composed(seen_of(home, concept)), birth, moments)
        now = kv_drift(composed(seen_of(after, concept)), birth, moments)
        views.append(DriftView(name=name, before=before, after=now))
    return tuple(views)


def _home(befores: Sequence[Tree], concept: str) -> Tree | None:
    return next((tree for tree in befores if concept in tree.concepts.values()), None)


def _contexts(repo: Repository, tree: Tree) -> dict[str, tuple[list[str], list[str]]]:
    """Return what each concept of a tree misses, and which strangers it has, by its id."""
    concepts = repo.concepts(tree)
    trained_on = {name: repo.objects.get(concept.trained_on, Tree).concepts for name, concept in concepts.items()}
    weights = weights_of(repo)
    return {one: training_context(name, tree, trained_on, weights) for name, one in tree.concepts.items()}
