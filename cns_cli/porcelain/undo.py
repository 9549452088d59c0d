"""`undo`: take back the last move of HEAD or of a branch, by its reflog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cns_cli.porcelain.options import Request
from cns_cli.porcelain.reset import subjects
from cns_cli.porcelain.result import Result
from registry.refs import HEADS
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class UndoResult(Result):
    """A move that was taken back.

    Attributes:
        ref: "HEAD", or the name of a branch.
        undone: What the move was, as the reflog says it.
        commit: Where the ref is now.
        before: Where it was; None where the branch had been deleted.
        branch: The branch that HEAD follows now, None when it is detached.
        concepts: Names that the model at `commit` holds.
        left_behind: {id: first line of its message} of commits that no branch, tag or HEAD reaches any more, the newest
            first.
    """

    ref: str
    undone: str
    commit: str
    before: str | None
    branch: str | None
    concepts: tuple[str, ...]
    left_behind: Mapping[str, str]


def undo(request: Request, ref: str = "HEAD") -> UndoResult:
    """Take back the last move of HEAD or of a branch.

    Raises:
        NotARegistry, BadName, NothingToUndo, UnknownRevision, LockBusy.
    """
    repo = Repository.discover(request.start)
    move = repo.undo("HEAD" if ref == "@" else ref, author=request.author, time=request.time)
    head = repo.head()
    commit = head.commit if ref in ("HEAD", "@") else repo.resolve(HEADS + ref)
    return UndoResult(
        ref="HEAD" if ref == "@" else ref,
        undone=move.message,
        commit=commit,
        before=move.new,
        branch=head.branch,
        concepts=tuple(sorted(repo.tree_of(commit).concepts)),
        left_behind={} if move.new is None else subjects(repo, move.new),
    )
