"""`log`: the history of a revision, newest first, or in the order in which it is drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cns_cli.porcelain.views.commits import CommitView, commit_view, refs_by_commit
from registry.dag import between, children_first
from registry.repository import Repository
from registry.revisions import commits_of


def log(start: Path, rev: str = "HEAD", limit: int | None = None, *, figures: bool = True) -> Iterator[CommitView]:
    """Yield the commits that a revision reaches, or those of a range, newest first.

    Args:
        start: Folder to look for the registry from.
        rev: Where to begin; `A..B` and `A...B` mean what they mean to git.
        limit: How many at most; None for all.
        figures: Also read what was recorded with each commit (a quarter of a millisecond each).

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision: before the first commit is yielded.
    """
    repo = Repository.discover(start)
    walk = repo.log(rev, limit)
    refs = refs_by_commit(repo)
    return (commit_view(repo, commit_id, commit, refs, figures=figures) for commit_id, commit in walk)


def log_graph(
    start: Path, rev: str = "HEAD", limit: int | None = None, *, figures: bool = True
) -> Iterator[tuple[CommitView, list[str]]]:
    """Yield what `log` yields, each commit after all of its children, with those of its parents that are shown, too.

    Parents of all commits are read first: a clock may be wrong, and a child may come late. All else is read as it is
    asked for. A parent that only `limit` leaves out counts as shown.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision: before the first commit is yielded.
    """
    repo = Repository.discover(start)
    tips, excluded = commits_of(repo, rev)
    repo.index.refresh([*tips, *excluded])
    parents = cache(repo.index.parents)
    shown = between(excluded, tips, parents)
    refs = refs_by_commit(repo)
    walk = itertools.islice(children_first(tips, shown, parents), limit)
    views = (commit_view(repo, one, repo.index.commit(one), refs, figures=figures) for one in walk)
    return ((view, [parent for parent in view.parents if parent in shown]) for view in views)
