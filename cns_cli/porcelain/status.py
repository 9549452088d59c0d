"""`status`: where HEAD is and what the model there holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cns_cli.porcelain.learning.interrupted import PendingView, pending_views
from cns_cli.porcelain.models.stored import kv_weights
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.commits import numbers, record_data
from cns_cli.porcelain.views.concepts import ConceptView, concept_views
from registry import bisect_state
from registry.objects import Base, Compose
from registry.repository import Repository
from registry.trees import birth, erased_in

CAPACITY = ("capacity_held", "general_share", "capacity_free")


@dataclass(frozen=True, kw_only=True)
class StatusResult(Result):
    """The state of a registry.

    Attributes:
        branch: The branch that HEAD follows, None when it is detached.
        compose: What prompts see of the model: "all" concepts, or those that they name ("named").
        base: Id of the base; `base_source` says where this machine takes it from.
        concepts: The oldest first.
        interrupted: Trainings that wait to be resumed, the newest first.
        bisecting: A bisection is going on, or what is stored of one is damaged.
        capacity: Shares of all K/V weights: `capacity_held` by concepts, `general_share`, `capacity_free`; empty or
            without the last where they were not recorded for this set of concepts, and where none shares its weights
            with another, since prompts see what they name.
        erased: Noun -> what stands in its place, of what the model erases.
    """

    folder: Path
    branch: str | None
    commit: str
    tree: str
    compose: Compose
    base: str
    base_source: str
    family: str
    denoiser_parameters: int
    concepts: tuple[ConceptView, ...]
    interrupted: tuple[PendingView, ...] = ()
    bisecting: bool = False
    capacity: Mapping[str, float] = field(default_factory=dict)
    erased: Mapping[str, str] = field(default_factory=dict)


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
        compose=tree.compose,
        base=tree.base,
        base_source=str(repo.config.get("base", {}).get("source", "")),
        concepts=tuple(concepts),
        interrupted=tuple(pending_views(repo)),
        bisecting=(repo.folder / bisect_state.FILE).exists(),
        capacity=_capacity(repo, head.commit, [one.commit for one in concepts if one.commit]),
        erased=erased_in(tree, repo.objects),
    )


def _capacity(repo: Repository, commit_id: str, born: Sequence[str]) -> dict[str, float]:
    """Shares of all key and value weights: held by concepts, general, free. Empty where nothing was recorded.

    `cns add` records them. Where the set of concepts is no longer the one that was recorded (after a removal, a merge),
    what concepts hold is counted from their masks, which costs numpy; what is general then stays as it was recorded.

    Args:
        repo: The registry.
        commit_id: The commit whose model is meant.
        born: Commits that brought in its concepts, the newest last.
    """
    commit = repo.commit_of(commit_id)
    recorded = {one: _recorded(repo, one) for one in {commit_id, *born}}
    source = commit_id if recorded[commit_id] or not born or not all(recorded[one] for one in born) else born[-1]
    found, tree = recorded[source], repo.tree_of(commit_id)
    if not found or tree.compose == "named":
        return {}
    births = (birth(repo.objects, concept_id) for concept_id in tree.concepts.values())
    if repo.commit_of(source).tree == commit.tree and any(one.concepts == tree.concepts for one in births):
        return found  # one of the concepts was learned on top of exactly the others: no other commit came in between
    from cns.capacity import held_share
    from cns_cli.porcelain.models.deltas import stored_delta

    deltas = [stored_delta(repo, concept_id) for concept_id in tree.concepts.values()]
    held = held_share(deltas, kv_weights(repo.objects.get(tree.base, Base)))
    return {"capacity_held": held, "general_share": found["general_share"]}


def _recorded(repo: Repository, commit_id: str) -> dict[str, float]:
    metrics = numbers(record_data(repo, repo.commit_of(commit_id)).get("metrics"))
    return {name: metrics[name] for name in CAPACITY} if all(name in metrics for name in CAPACITY) else {}
