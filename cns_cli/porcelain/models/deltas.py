"""The change that a stored concept or erasure makes, decoded without a model; numpy alone."""

from __future__ import annotations

from cns import codec
from registry.objects import Blob, Concept, Erasure
from registry.repository import Repository
from registry.store import ObjectStore


def stored_delta(repo: Repository, concept_id: str) -> codec.Delta:
    """Mask and integers of a concept; raises as `delta_of`."""
    return delta_of(repo.objects, repo.objects.get(concept_id, Concept))


def delta_of(objects: ObjectStore, concept: Concept | Erasure) -> codec.Delta:
    """Mask and integers that a concept or an erasure names.

    Raises:
        ObjectMissing, ObjectCorrupt, CodecError: They cannot be read.
    """
    return codec.decode(objects.get(concept.mask, Blob).data, objects.get(concept.delta, Blob).data)
