"""Conflicts as a reader sees them: what each side did to a name, and what to type to settle it."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cns_cli.porcelain.combining.settle import Choices, Dispute, Settled
from cns_cli.porcelain.combining.sides import Sides
from cns_cli.porcelain.result import Result
from cns_cli.porcelain.views.concepts import introductions
from registry.objects import Concept, Tree
from registry.repository import Repository


@dataclass(frozen=True, kw_only=True)
class SideView(Result):
    """What a side did to a name, and what it has there: nothing where `concept` is None.

    Attributes:
        did: "added", "changed", "removed", "kept", or "nothing" where neither the side nor a base has the name.
        commit: The commit that brought the concept in.
    """

    did: str
    concept: str | None = None
    class_noun: str | None = None
    tokens: tuple[str, ...] = ()
    commit: str | None = None


@dataclass(frozen=True, kw_only=True)
class ConflictView(Result):
    """A name that the two sides do not agree about.

    Attributes:
        choices: Options, each of which settles it.
    """

    name: str
    why: str
    ours: SideView
    theirs: SideView
    choices: tuple[str, ...]


def conflict_views(repo: Repository, sides: Sides, settled: Settled) -> tuple[ConflictView, ...]:
    """Return every conflict with what each side did, by name."""
    names = sorted({dispute.name for dispute in settled.disputes})
    ours, theirs = _sides(repo, sides, sides.ours, names), _sides(repo, sides, sides.theirs, names)
    taken = {*repo.tree_of(sides.ours).concepts, *repo.tree_of(sides.theirs).concepts, *settled.tree.concepts}
    return tuple(
        ConflictView(
            name=one.name,
            why=one.why,
            ours=ours[one.name],
            theirs=theirs[one.name],
            choices=_choices(one, taken),
        )
        for one in sorted(settled.disputes, key=lambda dispute: dispute.name)
    )


def commands(words: Sequence[str], conflicts: Sequence[ConflictView], choices: Choices) -> tuple[str, ...]:
    """Return commands that settle all conflicts: for ours, for theirs and, where that can be, keeping both.

    Args:
        words: The command as it was typed, without its choices.
        conflicts: What it met.
        choices: What was chosen before.
    """
    made = [[*words, *replace(choices, favour=side).words()] for side in ("ours", "theirs")]
    renames = [[one for one in conflict.choices if one.startswith("--rename ")] for conflict in conflicts]
    if all(renames):
        made.append([*words, *choices.words(), *" ".join(one for (one,) in renames).split()])
    return tuple(shlex.join(one) for one in made)


def _sides(repo: Repository, sides: Sides, commit: str, names: Sequence[str]) -> dict[str, SideView]:
    concepts = repo.tree_of(commit).concepts
    held = {name: concepts[name] for name in names if name in concepts}
    born = introductions(repo, commit, Tree(repo.tree_of(commit).base, held))
    bases = [repo.tree_of(base).concepts for base in sides.bases] or [{}]
    views = {}
    for name in names:
        before = {base.get(name) for base in bases}
        if name not in held:
            views[name] = SideView(did="nothing" if before == {None} else "removed")
            continue
        did = "kept" if held[name] in before else "added" if before == {None} else "changed"
        found = SideView.of(repo.objects.get(held[name], Concept), did=did, concept=held[name])
        views[name] = replace(found, commit=born[name][0] if name in born else None)
    return views


def _choices(dispute: Dispute, taken: set[str]) -> tuple[str, ...]:
    name, holder = dispute.name, dispute.holder
    made = [f"--ours {name}", f"--theirs {holder or name}"]
    if dispute.renamable:
        new = next(one for number in itertools.count(2) if (one := f"{name[:60]}{number}") not in taken)
        made.append(f"--rename {name}={new}")
    return tuple(made)
