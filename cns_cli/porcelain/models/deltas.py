"""The change that a stored concept makes, decoded without a model; numpy alone."""

from __future__ import annotations

from cns import codec
from registry.objects import Blob, Concept
from registry.repository import Repository


def stored_delta(repo: Repository, concept_id: str) -> codec.Delta:
    """Mask and integers of a concept.

    Raises:
        ObjectMissing, ObjectCorrupt, CodecError: They cannot be read.
    """
    concept = repo.objects.get(concept_id, Concept)
    return codec.decode(repo.objects.get(concept.mask, Blob).data, repo.objects.get(concept.delta, Blob).data)
