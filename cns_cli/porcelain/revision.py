"""What can be refused before torch is imported: a missing registry, an unknown revision, an unknown concept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from registry.errors import UnknownConcept
from registry.repository import Repository


def require(start: Path, rev: str, concepts: Sequence[str] = ()) -> str:
    """Return the id of the commit that a revision means, after looking for concepts in its tree.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision, UnknownConcept.
    """
    repo = Repository.discover(start)
    commit = repo.resolve(rev)
    known = repo.tree_of(commit).concepts
    for name in concepts:
        if name not in known:
            raise UnknownConcept(name, list(known))
    return commit
