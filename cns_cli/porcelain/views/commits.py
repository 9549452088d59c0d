"""Commits as a reader sees them: the stored objects joined with the figures of their records.

Records are free JSON that may come from others, so every figure is read with care here and nowhere else: a value of the
wrong kind is as good as none. Nothing is computed from weights; what was not recorded at commit is not shown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cns_cli.porcelain.result import Result
from registry.errors import RegistryError
from registry.objects import Commit, Compose, Record, Tree, subject_of
from registry.repository import Repository
from registry.trees import Changes, changes, erased_in


@dataclass(frozen=True, kw_only=True)
class CommitView(Result):
    """A commit with what points at it.

    Attributes:
        refs: Branches, tags and aliases at this commit; `HEAD -> main` or `HEAD` stands first when HEAD is here.
        metrics: The record's figures (`neurons`, `share_kv`, `identity_after`, ...); empty without a record.
        compose: What prompts see of its model, "all" concepts or those that are "named"; None where it was not read.
        erased: Noun -> what stands in its place, of what its model erases; empty where it was not read.
    """

    id: str
    parents: tuple[str, ...]
    tree: str
    record: str | None
    kind: str
    message: str
    author: str
    time: int
    refs: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    compose: Compose | None = None
    erased: Mapping[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        """What the commit did, in a line."""
        return subject_of(self.message, self.kind)


def commit_view(
    repo: Repository, commit_id: str, commit: Commit, refs: Mapping[str, tuple[str, ...]], *, figures: bool = True
) -> CommitView:
    """Return a commit as `log` and `show` present it; a record or a tree that cannot be read is left out.

    Args:
        repo: Where it is.
        commit_id: Its id.
        commit: The commit.
        refs: What `refs_by_commit` returned.
        figures: Read the record and the tree, too.
    """
    metrics: dict[str, float] = {}
    compose: Compose | None = None
    erased: dict[str, str] = {}
    if figures:
        with contextlib.suppress(RegistryError):  # what is damaged must not hide the history; `show` complains
            tree = repo.objects.get(commit.tree, Tree)
            compose = tree.compose
            erased = erased_in(tree, repo.objects)
        with contextlib.suppress(RegistryError):
            metrics = numbers(record_data(repo, commit).get("metrics"))
    return CommitView.of(
        commit, id=commit_id, refs=refs.get(commit_id, ()), metrics=metrics, compose=compose, erased=erased
    )


def refs_by_commit(repo: Repository) -> dict[str, tuple[str, ...]]:
    """Return what points at each commit, in the words of git: `HEAD -> main`, `dev`, `tag: v1`; `alias: champion`."""
    head = repo.head()
    names: dict[str, list[str]] = {head.commit: [f"HEAD -> {head.branch}" if head.branch else "HEAD"]}
    for branch, commit in sorted(repo.branches().items()):
        if branch != head.branch:
            names.setdefault(commit, []).append(branch)
    for tag, commit in sorted(repo.tags().items()):
        names.setdefault(commit, []).append(f"tag: {tag}")
    for alias, commit in sorted(repo.aliases().items()):
        names.setdefault(commit, []).append(f"alias: {alias}")
    return {commit: tuple(listed) for commit, listed in names.items()}


def changes_of(repo: Repository, commit_id: str) -> Changes:
    """Return what a commit changed, against its first parent."""
    now = repo.tree_of(commit_id).concepts
    parents = repo.commit_of(commit_id).parents
    return changes(repo.tree_of(parents[0]).concepts if parents else {}, now)


def record_data(repo: Repository, commit: Commit) -> Mapping[str, Any]:
    """Return what a commit's record says; empty without one."""
    return repo.objects.get(commit.record, Record).data if commit.record else {}


def numbers(value: Any) -> dict[str, float]:
    """Return those entries of a recorded mapping that are numbers."""
    if not isinstance(value, Mapping):
        return {}
    return {str(k): v for k, v in value.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
