"""`status`: where HEAD is and what the model there holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cns_cli.porcelain.learning.interrupted import PendingView, pending_views
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.capacity import capacity_of
from cns_cli.porcelain.views.concepts import ConceptView, concept_views
from registry import bisect_state
from registry.objects import Base
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class StatusResult(Result):
    """The state of a registry.

    Attributes:
        branch: The branch that HEAD follows, None when it is detached.
        base: Id of the base; `base_source` says where this machine takes it from.
        concepts: The oldest first.
        interrupted: Trainings that wait to be resumed, the newest first.
        bisecting: A bisection is going on, or what is stored of one is damaged.
        capacity: Shares of all K/V weights: `capacity_held` by concepts, `general_share`, `capacity_free`; empty or
            without the last where they were not recorded for this set of concepts.
    """

    folder: Path
    branch: str | None
    commit: str
    tree: str
    base: str
    base_source: str
    family: str
    denoiser_parameters: int
    concepts: tuple[ConceptView, ...]
    interrupted: tuple[PendingView, ...] = ()
    bisecting: bool = False
    capacity: Mapping[str, float] = field(default_factory=dict)


def status(start: Path) -> StatusResult:
    """Return the state of the registry at or above a folder.

    Raises:
        NotARegistry, ObjectMissing, ObjectCorrupt, RefCorrupt.
    """
    repo = Repository.discover(start)
    head = repo.head()
    tree = repo.tree_of(head.commit)
    base = repo.objects.get(tree.base, Base)
    concepts = concept_views(repo, head.commit)
    return StatusResult.of(
        base,
        folder=repo.root,
        branch=head.branch,
        commit=head.commit,
        tree=repo.commit_of(head.commit).tree,
        base=tree.base,
        base_source=str(repo.config.get("base", {}).get("source", "")),
        concepts=tuple(concepts),
        interrupted=tuple(pending_views(repo)),
        bisecting=(repo.folder / bisect_state.FILE).exists(),
        capacity=capacity_of(repo, head.commit, [one.commit for one in concepts if one.commit]),
    )
