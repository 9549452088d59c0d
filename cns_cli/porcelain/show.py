"""`show`: one commit, what it changed and every figure that was recorded with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.commits import CommitView, changes_of, commit_view, numbers, record_data, refs_by_commit
from cns_cli.porcelain.views.concepts import ConceptView, concept_views
from registry.errors import UnknownRevision
from registry.objects import Blob
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class ShowResult(Result):
    """One commit.

    Attributes:
        added, removed, replaced: Names of concepts, against the first parent.
        concepts: What the model of this commit holds.
        record: The whole record as it is stored; empty without one.
        previews: {name: blob id} of the recorded pictures.
    """

    commit: CommitView
    added: tuple[str, ...]
    removed: tuple[str, ...]
    replaced: tuple[str, ...]
    concepts: tuple[ConceptView, ...]
    record: Mapping[str, Any]
    drift: Mapping[str, float]
    overlap: Mapping[str, float]
    previews: Mapping[str, str]


def show(start: Path, rev: str = "HEAD") -> ShowResult:
    """Return one commit with its figures.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision, ObjectMissing, ObjectCorrupt.
    """
    repo = Repository.discover(start)
    commit_id = repo.resolve(rev)
    commit = repo.commit_of(commit_id)
    record = record_data(repo, commit)
    return ShowResult.of(
        changes_of(repo, commit_id),
        commit=commit_view(repo, commit_id, commit, refs_by_commit(repo)),
        concepts=tuple(concept_views(repo, commit_id)),
        record=record,
        drift=numbers(record.get("drift")),
        overlap=numbers(record.get("overlap")),
        previews=_previews(record),
    )


def preview(start: Path, rev: str, name: str | None = None) -> bytes:
    """Return the bytes of a recorded picture, a PNG.

    Args:
        start: Folder to look for the registry from.
        rev: The commit.
        name: Which picture; None takes the first by name.

    Raises:
        UnknownRevision: the commit has no picture, or none of that name.
    """
    repo = Repository.discover(start)
    previews = _previews(record_data(repo, repo.commit_of(repo.resolve(rev))))
    wanted = name or min(previews, default="")
    if wanted not in previews:
        known = ", ".join(sorted(previews)) or "none"
        raise UnknownRevision(rev, f"it has no picture {wanted!r} (recorded: {known})", "cns show " + rev)
    return repo.objects.get(previews[wanted], Blob).data


def _previews(record: Mapping[str, Any]) -> dict[str, str]:
    found = record.get("previews")
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, Mapping) else {}
