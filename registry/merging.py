"""Merging trees: three-way, per name, against a merge base. Merge, cherry-pick and revert are all one function.

Integers add up in any order, so that there is nothing to fuse: a merge decides which concepts a model holds, and never
how they are put together. What is erased is merged per noun; where that is neither side's set, it must be solved anew.
This module knows trees; it does not read objects and does not move refs.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from registry.errors import BaseDiffers, RegistryError
from registry.objects import Compose, Tree

_COMPOSED: dict[Compose, str] = {"all": "all concepts at once", "named": "those that a prompt names"}


class ComposeDiffers(RegistryError):
    """Two trees that should be joined compose what prompts see in different ways."""

    def __init__(self, ours: Compose, theirs: Compose) -> None:
        self.ours = ours
        self.theirs = theirs
        super().__init__(
            f"the two sides compose differently: HEAD {_COMPOSED[ours]}, the other side {_COMPOSED[theirs]}; "
            "expected the same on both",
            f"cns config compose {theirs}",
        )


class ErasuresDiffer(RegistryError):
    """Two sides that should be joined draw different things in the place of an erased noun."""

    def __init__(self, noun: str, ours: str | None, theirs: str | None) -> None:
        self.noun = noun
        said = [("does not erase it" if one is None else f"draws {one or 'nothing'}") for one in (ours, theirs)]
        to = f" --to {shlex.quote(theirs)}" if theirs else ""
        super().__init__(
            f"the two sides disagree about {noun!r}: HEAD {said[0]}, the other side {said[1]}; expected the same",
            "cns log" if theirs is None else f"cns erase {shlex.quote(noun)}{to}",
        )


def merged_nouns(
    bases: Sequence[Mapping[str, str]], ours: Mapping[str, str], theirs: Mapping[str, str]
) -> dict[str, str]:
    """Merge what two trees erase, {noun: what stands in its place}, as `three_way` merges names.

    Raises:
        ErasuresDiffer: both changed a noun, and not alike.
    """
    merged: dict[str, str] = {}
    for noun in sorted({noun for side in (*bases, ours, theirs) for noun in side}):
        mine, yours, before = ours.get(noun), theirs.get(noun), {side.get(noun) for side in bases} or {None}
        if mine != yours and before not in ({mine}, {yours}):
            raise ErasuresDiffer(noun, mine, yours)
        kept = yours if before == {mine} else mine
        if kept is not None:
            merged[noun] = kept
    return merged


@dataclass(frozen=True)
class Conflict:
    """A name that both sides changed, and not alike. Each is a concept id, or None where that tree lacks the name.

    Attributes:
        bases: What the merge bases held, without repetition: several where they disagree.
    """

    name: str
    bases: tuple[str | None, ...]
    ours: str | None
    theirs: str | None


@dataclass(frozen=True)
class Merge:
    """What a three-way merge comes to.

    Attributes:
        concepts: {name: concept id} of all that is settled.
        conflicts: Names that are not, sorted.
        compose: What prompts see of it.
    """

    concepts: dict[str, str]
    conflicts: tuple[Conflict, ...]
    compose: Compose = "all"


def three_way(bases: Sequence[Tree], ours: Tree, theirs: Tree) -> Merge:
    """Merge two trees per name: the side that changed it wins; both alike is no conflict; a removal is a change.

    Where several merge bases disagree about a name on which the sides disagree, it is a conflict. What is composed may
    have been changed by one side alone, where the other has changed nothing at all: what both bring was learned for the
    way of its own side.

    Args:
        bases: Trees of the best common ancestors; none for histories that share no commit: then all names are new.
        ours: Tree of HEAD.
        theirs: Tree of what is merged.

    Raises:
        BaseDiffers: the sides stand on different base models.
        ComposeDiffers: they compose differently.
    """
    if ours.base != theirs.base:
        raise BaseDiffers(ours.base, theirs.base)
    if ours.compose != theirs.compose and set(bases) not in ({ours}, {theirs}):
        raise ComposeDiffers(ours.compose, theirs.compose)
    names = {name for tree in (*bases, ours, theirs) for name in tree.concepts}
    concepts: dict[str, str] = {}
    conflicts: list[Conflict] = []
    for name in sorted(names):
        mine, yours = ours.concepts.get(name), theirs.concepts.get(name)
        before = tuple(dict.fromkeys(tree.concepts.get(name) for tree in bases)) or (None,)
        if mine == yours or before == (yours,):
            kept = mine
        elif before == (mine,):
            kept = yours
        else:
            conflicts.append(Conflict(name, before, mine, yours))
            continue
        if kept is not None:
            concepts[name] = kept
    return Merge(concepts, tuple(conflicts), ours.compose if set(bases) == {theirs} else theirs.compose)
