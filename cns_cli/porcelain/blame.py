"""`blame`: who shares a concept's neurons, and which commits brought them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import UnknownConcept
from registry.repository import Repository

if TYPE_CHECKING:  # numpy costs 0.1 s
    from cns_cli.porcelain.views.blame import BlameResult


def blame(start: Path, concept: str, rev: str = "HEAD") -> BlameResult:
    """Compare a concept with every other one of a model.

    Args:
        start: Folder to look for the registry from.
        concept: Its name.
        rev: The model.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision, UnknownConcept: before a delta is read.
        ObjectMissing, ObjectCorrupt, CodecError: a delta cannot be read.
    """
    repo = Repository.discover(start)
    commit = repo.resolve(rev)
    known = repo.tree_of(commit).concepts
    if concept not in known:
        raise UnknownConcept(concept, list(known))
    from cns_cli.porcelain.views.blame import blame_of

    return blame_of(repo, commit, concept)
