"""`show`: one commit, what it changed and every figure that was recorded with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

    @property
    def losses(self) -> CurveResult:
        """What is recorded of its training; a record may come from others, and what is no number is not there."""
        series = {name: values for name, values in _lists(self.record.get("series")) if _are(values, (int, float))}
        steps = {name: at for name, at in _lists(self.record.get("series_steps")) if _are(at, int)}
        fitting = {name: at for name, at in steps.items() if len(at) == len(series.get(name, ()))}
        return CurveResult(commit=self.commit.id, series=series, series_steps=fitting)


@dataclass(frozen=True, kw_only=True)
class CurveResult(Result):
    """How the losses of a commit's training fell.

    Attributes:
        series: Figures of each step; of those in `series_steps`, of these steps only.
    """

    commit: str
    series: Mapping[str, list[float]]
    series_steps: Mapping[str, list[int]]


def _lists(table: Any) -> Iterator[tuple[str, list[Any]]]:
    for name, values in table.items() if isinstance(table, Mapping) else ():
        if isinstance(values, (list, tuple)) and values:
            yield str(name), list(values)


def _are(values: list[Any], kind: Any) -> bool:
    return all(isinstance(one, kind) and not isinstance(one, bool) for one in values)


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
