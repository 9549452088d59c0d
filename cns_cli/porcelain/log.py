"""`log`: the history of a revision, newest first, or in the order in which it is drawn."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from cns_cli.porcelain.views.commits import CommitView, commit_view, refs_by_commit
from registry.dag import children_first, reachable
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


def log_graph(
    start: Path, rev: str = "HEAD", limit: int | None = None, *, figures: bool = True
) -> Iterator[tuple[CommitView, list[str]]]:
    """Yield what `log` yields, each commit after all of its children, with those of its parents that are shown, too.

    Ids and parents of all commits are read first: a clock may be wrong, and a child may come late. All else is read as
    it is asked for. Parents that only `limit` leaves out count as shown.
    """
    repo = Repository.discover(start)
    begin = repo.resolve(rev)
    refs = refs_by_commit(repo)
    repo.index.refresh([begin])
    repo.index.read_ahead()
    parents = cache(lambda one: repo.index.commit(one).parents)
    shown = reachable([begin], parents)
    for one in itertools.islice(children_first([begin], shown, parents), limit):
        view = commit_view(repo, one, repo.index.commit(one), refs, figures=figures)
        yield view, [parent for parent in view.parents if parent in shown]
