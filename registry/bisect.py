"""Bisection: which commit to look at next, so that each answer halves what is left.

The suspects are the ancestors of the bad commit (itself included) that are no ancestors of a good one. The next to test
is the one whose number of ancestors among the suspects is nearest to half of them (git's rule, also for merges). On a
line of N suspects it takes at most ceil(log2 N) answers. What was skipped is kept out of the way as git does it: by
a fixed pseudo-random step away from the middle, so that a run of untestable neighbours is not tried one by one.
This module is pure: it knows ids and their parents, neither objects nor refs nor what "bad" means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from registry.dag import needed_first
from registry.errors import SHORT, RegistryError

Parents = Callable[[str], Sequence[str]]

# git's constants (bisect.c): the same history and the same answers lead to the same commits on every machine.
_RANDOM_STEPS = 32768


class BisectConflict(RegistryError):
    """Answers that contradict each other: a bad commit is an ancestor of a good one."""

    def __init__(self, bad: str, good: str) -> None:
        self.bad = bad
        self.good = good
        known = f"{bad[:SHORT]} is bad and {good[:SHORT]} is good"
        if bad == good:
            reason = f"{bad[:SHORT]} cannot be good and bad at once"
        else:
            reason = f"{known}, but the bad one is older: it was mended between them, not broken"
        super().__init__(f"{reason}; expected a bad commit that is newer than the good ones", "cns bisect reset")


@dataclass(frozen=True)
class Marks:
    """What is known. Ids of commits; the three are disjoint."""

    bad: str
    good: frozenset[str]
    skipped: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Step:
    """What to do next.

    Attributes:
        kind: "test": look at `commit`. "found": `commit` is the first bad one. "undecided": only skipped commits are
            left, and the first bad one is among `candidates`.
        commit: The commit; the bad one where it is undecided.
        left: Suspects that may still be asked about after this answer, in the worse case.
        rounds: About how many answers that is.
        candidates: Where it is undecided: every commit that may be the first bad one.
        merge_base: `commit` is asked about only because a good commit is no ancestor of the bad one.
    """

    kind: Literal["test", "found", "undecided"]
    commit: str
    left: int = 0
    rounds: int = 0
    candidates: tuple[str, ...] = ()
    merge_base: bool = False


def next_step(marks: Marks, parents: Parents) -> Step:
    """Say what to do next.

    Raises:
        BisectConflict: the bad commit is an ancestor of a good one: what was sought was mended there, not broken.
    """
    below_bad, below_good = reachable([marks.bad], parents), reachable(marks.good, parents)
    if marks.bad in below_good:
        newer = next(good for good in sorted(marks.good) if marks.bad in reachable([good], parents))
        raise BisectConflict(marks.bad, newer)
    suspects = [commit for commit in below_bad if commit not in below_good]
    rounds = math.ceil(math.log2(len(suspects)))
    for base in _open_merge_bases(marks, below_bad, below_good, parents):
        return Step("test", base, len(suspects), rounds + 1, merge_base=True)
    if len(suspects) == 1:
        return Step("found", marks.bad)
    weights = ancestors_among(suspects, parents)
    order = sorted(suspects, key=lambda commit: -min(weights[commit], len(suspects) - weights[commit]))
    chosen = _away_from_skipped(order, marks)
    if chosen == marks.bad:
        return Step("undecided", marks.bad, candidates=(*(one for one in suspects if one in marks.skipped), marks.bad))
    left = max(weights[chosen], len(suspects) - weights[chosen]) - 1
    return Step("test", chosen, left, math.ceil(math.log2(left + 1)))


def reachable(starts: Iterable[str], parents: Parents) -> dict[str, None]:
    """Commits that are reachable from starts, themselves included: an ordered set, parents before their children."""
    return dict.fromkeys(needed_first(sorted(starts, reverse=True), lambda commit: reversed(parents(commit))))


def ancestors_among(suspects: Collection[str], parents: Parents) -> dict[str, int]:
    """For each suspect, how many of the suspects are its ancestors, itself included.

    Args:
        suspects: Parents before their children.
        parents: Of any commit; those that are no suspects do not count.
    """
    known = set(suspects)
    inside = {commit: [parent for parent in parents(commit) if parent in known] for commit in suspects}
    weights: dict[str, int] = {}
    for commit in suspects:
        above = set(inside[commit])
        if len(above) > 1:  # two parents may share ancestors: only walking tells
            weights[commit] = len(reachable([commit], inside.__getitem__))
        else:
            weights[commit] = 1 + sum(weights[parent] for parent in above)
    return weights


def _open_merge_bases(
    marks: Marks, below_bad: Mapping[str, None], below_good: Mapping[str, None], parents: Parents
) -> list[str]:
    """Newest common ancestors of bad and good that nobody has vouched for, when a good one is no ancestor of bad.

    Were such a base bad, then the good commit is where it was mended, and searching above it would find nothing true.
    """
    if all(good in below_bad for good in marks.good):
        return []
    common = [commit for commit in below_bad if commit in below_good]
    covered = {parent for commit in common for parent in parents(commit)}
    known = reachable([good for good in marks.good if good in below_bad], parents)
    return [one for one in common if one not in covered and one not in known and one not in marks.skipped]


def _away_from_skipped(order: Sequence[str], marks: Marks) -> str:
    """The best suspect that was not skipped: the first of the order, or, where that was skipped, one further off."""
    free = [commit for commit in order if commit not in marks.skipped]
    if free[0] == order[0]:
        return free[0]
    random = (len(free) * 1103515245 + 12345) // 65536 % _RANDOM_STEPS
    at = len(free) * random // _RANDOM_STEPS * math.isqrt(random) // math.isqrt(_RANDOM_STEPS)
    chosen = free[at]
    return free[max(at - 1, 0)] if chosen == marks.bad else chosen
