"""How many neurons concepts share: as the later one's commit recorded it, else counted from the masks. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cns import codec
from cns.errors import CodecError
from cns_cli.porcelain.deltas import stored_delta
from cns_cli.porcelain.report_data import ConceptFacts
from cns_cli.porcelain.views import numbers
from registry.errors import RegistryError
from registry.repository import Repository

Pair = tuple[int, int]
"""Columns: the share of the first one's neurons that the second one holds, too."""


def overlaps(
    repo: Repository, columns: Sequence[ConceptFacts], records: Sequence[Mapping[str, Any]], warnings: list[str]
) -> dict[Pair, float]:
    """Return the overlap of every pair of concepts that the revision holds.

    Args:
        repo: The registry.
        columns: Concepts, in the order in which they came.
        records: What was recorded with each of them.
        warnings: Told of what cannot be read; such a pair is left out.
    """
    masks: dict[int, codec.Delta | None] = {}
    found: dict[Pair, float] = {}
    current = [place for place, column in enumerate(columns) if column.current]
    for later in current:
        recorded = numbers(records[later].get("overlap"))
        for earlier in (place for place in current if place < later):
            share = recorded.get(columns[earlier].name)
            sizes = columns[later].neurons, columns[earlier].neurons
            if share is not None and 0 <= share <= 1 and sizes[0] and sizes[1]:
                found[later, earlier] = share
                found[earlier, later] = min(1.0, share * sizes[0] / sizes[1])
                continue
            for place in (earlier, later):
                if place not in masks:
                    masks[place] = _mask(repo, columns[place].id, warnings)
            one, other = masks[earlier], masks[later]
            if one is not None and other is not None:
                found[earlier, later] = codec.overlap(one, other)
                found[later, earlier] = codec.overlap(other, one)
    return found


def _mask(repo: Repository, concept_id: str, warnings: list[str]) -> codec.Delta | None:
    try:
        return stored_delta(repo, concept_id)
    except (RegistryError, CodecError) as error:
        warnings.append(error.message)
        return None
