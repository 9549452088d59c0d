"""`log`: the history of a revision, newest first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cns_cli.porcelain.views.commits import CommitView, commit_view, refs_by_commit
from registry.repository import Repository


def log(start: Path, rev: str = "HEAD", limit: int | None = None, *, figures: bool = True) -> Iterator[CommitView]:
    """Yield the commits that a revision reaches, newest first.

    Args:
        start: Folder to look for the registry from.
        rev: Where to begin.
        limit: How many at most; None for all.
        figures: Also read what was recorded with each commit (a quarter of a millisecond each).

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision: before the first commit is yielded.
    """
    repo = Repository.discover(start)
    begin = repo.resolve(rev)
    refs = refs_by_commit(repo)
    walk = repo.log(begin, limit)
    return (commit_view(repo, commit_id, commit, refs, figures=figures) for commit_id, commit in walk)
