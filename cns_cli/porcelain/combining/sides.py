"""Which two trees come together, and what both are compared with.

A merge compares two tips with their best common ancestors. A cherry-pick is the change that one commit made, a revert
the opposite of it: three-way, too, with a parent of that commit, or the commit itself, as the base.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry import dag
from registry.errors import RegistryError
from registry.repository import Repository


@dataclass(frozen=True)
class Sides:
    """Two commits and their bases, by full ids.

    Attributes:
        kind: Of the commit that is to be made.
        revision: What was typed; `named`: the commit that it means.
        ours: The tip of HEAD; `branch`: the branch that it is on, None when HEAD is detached.
        theirs: The commit whose tree is the other side.
        bases: The commits that both sides are compared with.
    """

    kind: Literal["merge", "cherry-pick", "revert"]
    revision: str
    named: str
    ours: str
    branch: str | None
    theirs: str
    bases: tuple[str, ...]


class UnrelatedHistories(RegistryError):
    """Two tips share no commit."""

    def __init__(self, revision: str) -> None:
        self.revision = revision
        super().__init__(
            f"refusing to merge unrelated histories: HEAD and '{revision}' share no commit",
            f"cns merge {revision} --allow-unrelated-histories",
        )


class MainlineNeeded(RegistryError):
    """A commit has another number of parents than the request is about."""

    def __init__(self, kind: str, revision: str, why: str, hint: str) -> None:
        self.revision = revision
        super().__init__(f"cannot {kind} '{revision}': {why}", hint)


def merging(repo: Repository, revision: str, *, unrelated: bool = False) -> Sides:
    """Return the sides of a merge of a revision into HEAD.

    Raises:
        UnknownRevision, AmbiguousRevision.
        UnrelatedHistories: they share no commit, and `unrelated` does not allow that.
    """
    head, named = repo.head(), repo.resolve(revision)
    bases = dag.merge_bases(head.commit, named, repo.parents)
    if not bases and not unrelated:
        raise UnrelatedHistories(revision)
    return Sides("merge", revision, named, head.commit, head.branch, named, tuple(bases))


def of_one(repo: Repository, kind: Literal["cherry-pick", "revert"], revision: str, mainline: int | None) -> Sides:
    """Return the sides of applying to HEAD what a commit changed, or of taking it back.

    Args:
        repo: The registry.
        kind: Which of the two.
        revision: The commit.
        mainline: Against which of its parents, the first is 1; needed where it has several.

    Raises:
        UnknownRevision, AmbiguousRevision, MainlineNeeded.
    """
    head, named = repo.head(), repo.resolve(revision)
    parent = _parent(repo, kind, revision, named, mainline)
    theirs, base = (named, parent) if kind == "cherry-pick" else (parent, named)
    return Sides(kind, revision, named, head.commit, head.branch, theirs, (base,))


def _parent(repo: Repository, kind: str, revision: str, named: str, mainline: int | None) -> str:
    parents = repo.parents(named)
    if not parents:
        raise MainlineNeeded(kind, revision, "it is the first commit, and changed nothing", "cns log")
    listed = ", ".join(f"-m {number}: {one[:10]}" for number, one in enumerate(parents, 1))
    if mainline is None and len(parents) > 1:
        why = f"it is a merge; expected against which of its parents ({listed})"
        raise MainlineNeeded(kind, revision, why, f"cns {kind} {revision} -m 1")
    if mainline is not None and mainline > len(parents):
        why = f"it has no parent {mainline}; expected one of: {listed}"
        raise MainlineNeeded(kind, revision, why, f"cns show {revision}")
    return parents[(mainline or 1) - 1]
