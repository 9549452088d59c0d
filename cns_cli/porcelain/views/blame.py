"""Who shares a concept's neurons, and which commits brought them: what the model holds, joined with its history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from cns import codec
from cns.capacity import shared_weights
from cns_cli.porcelain.models.deltas import delta_of
from cns_cli.porcelain.models.stored import kv_weights
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.concepts import introductions, training_context, weights_of
from cns_cli.porcelain.views.overlaps import MatrixOverlap, OverlapView, overlap_views
from registry.dag import is_ancestor
from registry.objects import Base, Commit, Compose, Tree
from registry.repository import Repository

Born = Mapping[str, tuple[str, Commit]]
When = Literal["before", "after", "beside"]


@dataclass(frozen=True, kw_only=True)
class BlameLine(Result):
    """A concept of the model, and the commit that brought it as it is now; None where history does not tell.

    Attributes:
        rank: Of its change where it acts along directions, and so on every weight; 0 where it has a mask.
    """

    name: str
    concept_id: str
    neurons: int
    rank: int
    commit: str | None
    author: str | None
    time: int | None


@dataclass(frozen=True, kw_only=True)
class OtherLine(BlameLine):
    """Another concept, against the one that was asked for.

    Attributes:
        when: Its commit came before or after, or on another line of history; None where history does not tell.
        in_context: One of the two was trained with the other.
        overlap: The asked-for concept is "this one", the other concept "the other".
        matrices: The same in every matrix that one of the two changes.
    """

    when: When | None
    in_context: bool
    overlap: OverlapView
    matrices: tuple[MatrixOverlap, ...]


@dataclass(frozen=True, kw_only=True)
class BlameResult(Result):
    """Who shares a concept's neurons.

    Attributes:
        rev: The commit in whose model it is looked at.
        share_kv: Share of all K/V weights that the concept's neurons are.
        alone: Neurons that no other concept has.
        others: The one with the most shared neurons first.
        missing: Concepts that it was trained with and that its prompts do not see, or see changed.
        compose: What prompts see of the model; where it is "named", two concepts meet in prompts that name both.
    """

    rev: str
    own: BlameLine
    share_kv: float
    alone: int
    others: tuple[OtherLine, ...]
    missing: tuple[str, ...]
    compose: Compose = "all"


def blame_of(repo: Repository, commit: str, name: str) -> BlameResult:
    """Look at a concept of a commit's tree.

    Raises:
        ObjectMissing, ObjectCorrupt, CodecError: A delta cannot be read.
    """
    tree = repo.tree_of(commit)
    born = introductions(repo, commit, tree)
    concepts = repo.concepts(tree)
    trained_on = {other: repo.objects.get(one.trained_on, Tree).concepts for other, one in concepts.items()}
    missing, strangers = training_context(name, tree, trained_on, weights_of(repo))
    deltas = {other: delta_of(repo.objects, one) for other, one in concepts.items()}
    mine = deltas.pop(name)
    others = []
    for other, delta in deltas.items():
        overlap, matrices = overlap_views(mine, delta)
        others.append(
            OtherLine(
                **_facts(tree, other, delta, born), when=_when(repo, name, other, born),
                in_context=other not in strangers, overlap=overlap, matrices=matrices,
            )
        )  # fmt: skip
    neurons = codec.count_weights(mine)
    return BlameResult(
        rev=commit,
        own=BlameLine(**_facts(tree, name, mine, born)),
        share_kv=neurons / max(1, kv_weights(repo.objects.get(tree.base, Base))),
        alone=neurons - shared_weights(mine, list(deltas.values())),
        others=tuple(sorted(others, key=lambda line: (-line.overlap.shared, line.name))),
        missing=tuple(missing),
        compose=tree.compose,
    )


def _facts(tree: Tree, name: str, delta: codec.Delta, born: Born) -> dict[str, Any]:
    commit_id, commit = born.get(name, (None, None))
    return {
        "name": name,
        "concept_id": tree.concepts[name],
        "neurons": codec.count_weights(delta),
        "rank": codec.rank_of(delta),
        "commit": commit_id,
        "author": commit and commit.author,
        "time": commit and commit.time,
    }


def _when(repo: Repository, mine: str, other: str, born: Born) -> When | None:
    """When another concept came, by the two commits that brought them."""
    if mine not in born or other not in born:
        return None
    ours, theirs = born[mine][0], born[other][0]
    if is_ancestor(theirs, ours, repo.index.parents):
        return "before"
    return "after" if is_ancestor(ours, theirs, repo.index.parents) else "beside"
