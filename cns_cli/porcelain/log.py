"""`log`: the history of a revision, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cns_cli.porcelain.views import CommitView, commit_view, refs_by_commit
from registry.repository import Repository


def log(start: Path, rev: str = "HEAD", limit: int | None = None) -> Iterator[CommitView]:
    """Yield the commits that a revision reaches, newest first.

    Args:
        start: Folder to look for the registry from.
        rev: Where to begin.
        limit: How many at most; None for all.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision: before the first commit is yielded.
    """
    repo = Repository.discover(start)
    begin = repo.resolve(rev)
    refs = refs_by_commit(repo)
    return (commit_view(repo, commit_id, commit, refs) for commit_id, commit in repo.log(begin, limit))
