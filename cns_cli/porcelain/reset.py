"""`reset`: move HEAD's branch to another commit. Nothing is lost: the reflog keeps where it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cns_cli.porcelain.options import Request
from cns_cli.porcelain.refs import unreached
from cns_cli.porcelain.result import Result
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class ResetResult(Result):
    """Where HEAD's branch went.

    Attributes:
        branch: None where HEAD is detached; it moved alone.
        before: The commit that it was at.
        concepts: Names that the model holds now.
        left_behind: {id: first line of its message} of commits that no branch, tag or HEAD reaches any more, the newest
            first.
    """

    commit: str
    branch: str | None
    before: str
    concepts: tuple[str, ...]
    left_behind: Mapping[str, str]


def reset(request: Request, rev: str) -> ResetResult:
    """Move HEAD's branch, or a detached HEAD, to a revision.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision, LockBusy.
        RefMoved: another process moved HEAD meanwhile.
    """
    repo = Repository.discover(request.start)
    before, to = repo.head(), repo.resolve(rev)
    said = f"reset: moving to {rev}"
    now = repo.move(to, message=said, author=request.author, time=request.time, old=before.commit)
    return ResetResult.of(
        now,
        before=before.commit,
        concepts=tuple(sorted(repo.tree_of(now.commit).concepts)),
        left_behind=subjects(repo, before.commit),
    )


def subjects(repo: Repository, commit: str) -> dict[str, str]:
    """Return {id: subject} of commits from one on back that no ref and no HEAD reaches, newest first."""
    return {one: repo.index.commit(one).subject for one in unreached(repo, commit)}
