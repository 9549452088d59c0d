"""What concepts that come together from two sides have in common: neurons, and what each adds there. numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cns.codec import Delta
from cns.overlap import overlap
from cns_cli.porcelain.models.deltas import stored_delta
from cns_cli.porcelain.result import Result
from registry.objects import Tree
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class Meeting(Result):
    """A concept of HEAD's side and one of the other side.

    Attributes:
        shared: Neurons that both change; `share`: of the neurons of that one of the two which has fewer.
        ours_energy, theirs_energy: Share of each one's squared change that lies on the shared neurons; 0 to 1.
        cosine: Of the two changes, whole; 0 where they share no neuron, None where one changes nothing.
    """

    ours: str
    theirs: str
    shared: int
    share: float
    ours_energy: float
    theirs_energy: float
    cosine: float | None


def meetings(repo: Repository, ours: Tree, theirs: Tree, outcome: Tree) -> tuple[Meeting, ...]:
    """Compare every concept that only HEAD's side held with every one that is new to it; most shared neurons first.

    Args:
        repo: Where the objects are.
        ours: HEAD's tree.
        theirs: The other side's.
        outcome: What the two come to.

    Raises:
        ObjectMissing, ObjectCorrupt, CodecError: A concept cannot be read.
    """
    old, other = set(ours.concepts.values()), set(theirs.concepts.values())
    mine = [name for name, concept in sorted(outcome.concepts.items()) if concept in old - other]
    new = [name for name, concept in sorted(outcome.concepts.items()) if concept not in old]
    deltas = {name: stored_delta(repo, outcome.concepts[name]) for name in (*mine, *new) if mine and new}
    found = [_meeting(one, another, deltas) for one in mine for another in new]
    return tuple(sorted(found, key=lambda pair: -pair.share))


def _meeting(ours: str, theirs: str, deltas: Mapping[str, Delta]) -> Meeting:
    found = overlap(deltas[ours], deltas[theirs])
    return Meeting(
        ours=ours,
        theirs=theirs,
        shared=found.shared,
        share=found.shared / max(1, min(found.one, found.other)),
        ours_energy=found.one_shared / found.one_energy if found.one_energy else 0.0,
        theirs_energy=found.other_shared / found.other_energy if found.other_energy else 0.0,
        cosine=found.cosine,
    )
