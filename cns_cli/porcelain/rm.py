"""`rm`: a commit whose tree is HEAD's without one concept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from cns_cli.porcelain.combining.context import ContextView, context_view
from cns_cli.porcelain.models.mirroring import mirror_commit
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.concepts import concept_views
from cns_cli.progress import Progress
from cns_cli.signals import explained
from registry.errors import UnknownConcept
from registry.objects import Record, Tree
from registry.repository import Repository
from registry.trees import without_concept


@dataclass(frozen=True, kw_only=True)
class RmResult(ContextView):
    """A concept was taken out of the model; history still holds it.

    Attributes:
        before: The commit that HEAD was at, whose model still has the concept.
    """

    name: str
    token: str
    class_noun: str
    commit: str
    branch: str | None
    before: str
    concepts: tuple[str, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RmPreview(Result):
    """What the removal of one concept would do.

    Attributes:
        beside: Concepts that stay and were trained with it in the model.
    """

    name: str
    tokens: tuple[str, ...]
    class_noun: str
    beside: tuple[str, ...]


def preview(request: Request, names: Sequence[str]) -> list[RmPreview]:
    """Say what a removal would take out; nothing is written.

    Raises:
        NotARegistry.
        UnknownConcept: HEAD has no concept of one of the names.
    """
    repo = Repository.discover(request.start)
    tree = repo.tree_of("HEAD")
    for name in names:
        if name not in tree.concepts:
            raise UnknownConcept(name, tuple(tree.concepts))
    concepts = repo.concepts(tree)
    company = {name: repo.objects.get(one.trained_on, Tree).concepts.values() for name, one in concepts.items()}
    return [
        RmPreview(
            name=name,
            tokens=concepts[name].tokens,
            class_noun=concepts[name].class_noun,
            beside=tuple(one for one in company if one not in names and tree.concepts[name] in company[one]),
        )
        for name in dict.fromkeys(names)
    ]


def rm(request: Request, name: str, progress: Progress, message: str | None = None, *, drift: bool = True) -> RmResult:
    """Commit the removal of one concept: of its exact weights, not of any effect on those that were trained after it.

    Args:
        request: Where, by whom, when.
        name: The concept.
        progress: Told of stages.
        message: Of the commit.
        drift: Compute the K/V drift of concepts that were trained with it.

    Raises:
        NotARegistry, UnknownConcept, LockBusy, TipMoved.
        MlflowUnavailable: the registry demands MLflow (`mlflow.required`) and it cannot be reached; the commit stands.
    """
    repo = Repository.discover(request.start)
    head = repo.head()
    tree = repo.tree_of(head.commit)
    if name not in tree.concepts:
        raise UnknownConcept(name, tuple(tree.concepts))
    concept = repo.concepts(tree)[name]
    done = repo.commit(
        kind="remove",
        message=message or f"remove {name}",
        author=request.author,
        time=int(time.time()) if request.time is None else request.time,
        record=Record({"params": {"removed": name, "concept": tree.concepts[name]}}),
        change=lambda tip: without_concept(tip, name),
        seen=head.commit,
        keep_as=name,
    )
    with explained(f"{name} is removed in {done.id[:10]}; MLflow may lack it", "cns mlflow sync"):
        progress.stage("record in MLflow")
        warnings = mirror_commit(repo, done.id, request.mlflow_uri)
        context = context_view(repo, (tree,), repo.tree_of(done.id), progress, drift=drift)
    return RmResult(
        name=name,
        token=" ".join(concept.tokens),
        class_noun=concept.class_noun,
        commit=done.id,
        branch=head.branch,
        before=head.commit,
        concepts=tuple(view.name for view in concept_views(repo, done.id)),
        **vars(context),
        warnings=warnings,
    )
