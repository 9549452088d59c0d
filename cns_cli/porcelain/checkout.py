"""`checkout`: move HEAD. There is no working tree, so nothing else moves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cns_cli.porcelain.refs import shadowing, unreached
from cns_cli.porcelain.result import Result
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class CheckoutResult(Result):
    """Where HEAD went.

    Attributes:
        branch: The branch that HEAD follows now, None when it is detached.
        before: The commit that HEAD was at; `before_branch` the branch that it followed.
        concepts: Names that the model holds now.
        warnings: What the user should know of a branch that was made.
        left_behind: Commits below `before` that no branch, tag or HEAD reaches any more, the newest first.
    """

    commit: str
    branch: str | None
    before: str
    before_branch: str | None
    concepts: tuple[str, ...]
    left_behind: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def checkout(start: Path, rev: str, *, create: str | None = None) -> CheckoutResult:
    """Move HEAD to a branch, or detached to any other revision.

    Args:
        start: Folder to look for the registry from.
        rev: Where to; "-" for where HEAD was before its last checkout.
        create: Make a branch of this name there, and move HEAD onto it.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision, BadName, NameTaken, LockBusy.
    """
    repo = Repository.discover(start)
    before = repo.head()
    place = repo.previous() if rev == "-" else rev
    if create is not None:
        repo.create_branch(create, place)
    now = repo.checkout(create or place)
    return CheckoutResult.of(
        now,
        before=before.commit,
        before_branch=before.branch,
        concepts=tuple(sorted(repo.tree_of(now.commit).concepts)),
        left_behind=unreached(repo, before.commit) if before.branch is None else (),
        warnings=shadowing(repo, "branch", create),
    )
