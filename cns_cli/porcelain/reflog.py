"""`reflog`: where HEAD or a branch was, move by move."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cns_cli.porcelain.result import Result
from registry.errors import UnknownRevision
from registry.names import is_ref_name
from registry.refs import HEADS, NAMESPACES
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class MoveView(Result):
    """One move of a ref.

    Attributes:
        revision: What to type for the value after it, such as `HEAD@{3}`.
        old, new: Ids before and after; None where the ref was new, or was deleted.
    """

    revision: str
    old: str | None
    new: str | None
    author: str
    time: int
    message: str


@dataclass(frozen=True, kw_only=True)
class ReflogResult(Result):
    """The moves of one ref, newest first; `damaged` are lines of its log that cannot be read."""

    ref: str
    moves: tuple[MoveView, ...]
    damaged: tuple[int, ...]


def reflog(start: Path, ref: str = "HEAD") -> ReflogResult:
    """Return the moves of HEAD, a branch, or a ref by its full name.

    Raises:
        NotARegistry, RefCorrupt.
        UnknownRevision: there is no such ref and no log of one.
    """
    repo = Repository.discover(start)
    full = "HEAD" if ref in ("HEAD", "@") else ref if ref.startswith(NAMESPACES) else HEADS + ref
    short = "HEAD" if full == "HEAD" else ref
    unknown = UnknownRevision(ref, "expected HEAD, a branch, or the full name of a ref", "cns branch")
    if full != "HEAD" and not is_ref_name(full.split("/", 2)[2]):
        raise unknown
    moves, damaged = repo.reflog(full), repo.reflogs.damaged(full)
    if full != "HEAD" and full not in repo.reflogs.names() and repo.refs.get(full) is None:
        raise unknown
    views = tuple(MoveView.of(move, revision=f"{short}@{{{number}}}") for number, move in enumerate(moves))
    return ReflogResult(ref=full, moves=views, damaged=tuple(damaged))
