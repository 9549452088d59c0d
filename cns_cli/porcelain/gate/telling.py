"""Telling MLflow of a check: new scores, and the verdict as a tag of the commit's run.

A check that needs no new score need not load MLflow either: a note in the registry's cache says what was last told of a
commit. Without the note, MLflow is told again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

from registry import fsio
from registry.errors import DiskFailed
from registry.repository import Repository

LONGEST_NOTE = 2**16  # bytes


def is_told(repo: Repository, commit_id: str, gate: str) -> bool:
    """Tell whether this verdict was the last that MLflow was told of a commit."""
    return fsio.read(_note(repo, commit_id), LONGEST_NOTE) == gate.encode("utf-8")


def tell(
    repo: Repository, commit_id: str, trees: Collection[str], mlflow_uri: str | None, gate: str | None
) -> tuple[str, ...]:
    """Record the scores of trees and, if there is one, the verdict; return what went wrong, as warnings."""
    from cns_cli.porcelain.models.mirroring import mirror_evaluations

    warnings = mirror_evaluations(repo, commit_id, set(trees), mlflow_uri, gate)
    if gate is not None and not warnings:
        note = _note(repo, commit_id)
        with contextlib.suppress(DiskFailed):  # where nothing may be written, MLflow is told each time
            fsio.make_folder(note.parent)
            fsio.replace(note, gate.encode("utf-8"))
    return warnings


def _note(repo: Repository, commit_id: str) -> Path:
    return repo.folder / "cache" / "gate" / commit_id
