"""Graphs without circles, such as commits and their parents: everything that some nodes need, each node once.

A node is an id; whoever walks says what one needs, so that the index, a store or a dict can serve. No recursion: a
history is as deep as it is long. Of starts, and of what a node needs, the last is followed first.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from registry.objects import Commit

Needs = Callable[[str], Iterable[str]]


def reachable(starts: Iterable[str], needs: Needs) -> set[str]:
    """Return starts and everything that they need; `needs` is asked once for each."""
    seen: set[str] = set()
    waiting = list(starts)
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += needs(current)
    return seen


def needed_first(
    starts: Iterable[str], needs: Needs, settled: Callable[[str], bool] = lambda _: False
) -> Iterator[str]:
    """Yield starts and everything that they need, each after all that it needs itself.

    Args:
        starts: Where to begin.
        needs: What a node needs.
        settled: Nodes that are left out, with what only they need; asked before `needs`.
    """
    seen: set[str] = set()
    waiting = [(start, False) for start in starts]
    while waiting:
        current, needs_done = waiting.pop()
        if needs_done:
            yield current
        elif current not in seen and not settled(current):
            seen.add(current)
            waiting.append((current, True))
            waiting += [(needed, False) for needed in needs(current) if needed not in seen]


def newest_first(
    starts: Iterable[str], read: Callable[[str], Commit], left_out: Iterable[str] = ()
) -> Iterator[tuple[str, Commit]]:
    """Yield (id, commit) of all commits that are reachable from starts, newest first, but for those that are left out.

    "Newest" is by commit time; of equal times, the one that was reached first. In a line of commits a child comes
    before its parent whatever their clocks said.
    """
    order = itertools.count()
    waiting: list[tuple[int, int, str, Commit]] = []

    def reach(current: str) -> None:
        commit = read(current)
        heapq.heappush(waiting, (-commit.time, next(order), current, commit))

    seen = set(left_out)
    begin = set(starts) - seen
    seen |= begin
    for start in sorted(begin):
        reach(start)
    while waiting:
        _, _, current, commit = heapq.heappop(waiting)
        yield current, commit
        for parent in commit.parents:
            if parent not in seen:
                seen.add(parent)
                reach(parent)


def children_first(tips: Sequence[str], shown: Collection[str], parents: Needs) -> Iterator[str]:
    """Yield the nodes of a set, each after all of its children among them, and a line of history in one piece.

    The order of `git log --topo-order`: behind a merge its last parent's line comes first, as far as it goes alone.

    Args:
        tips: Where to begin; all of the set is reachable from them. Of two that nothing leads to the first comes first.
        shown: The set.
        parents: What a node needs.
    """
    above = Counter(parent for one in shown for parent in parents(one))
    ready = [tip for tip in reversed(list(dict.fromkeys(tips))) if tip in shown and not above[tip]]
    while ready:
        current = ready.pop()
        yield current
        for parent in parents(current):
            above[parent] -= 1
            if parent in shown and not above[parent]:
                ready.append(parent)


def is_ancestor(ancestor: str, descendant: str, parents: Needs) -> bool:
    """True where descendant is ancestor, or reaches it."""
    return ancestor in reachable([descendant], parents)


def independent(commits: Iterable[str], parents: Needs) -> list[str]:
    """Return the commits that none of the others reaches, sorted."""
    given = set(commits)
    if len(given) < 2:
        return sorted(given)
    below = reachable([parent for one in given for parent in parents(one)], parents)
    return sorted(given - below)


def merge_bases(left: str, right: str, parents: Needs) -> list[str]:
    """Return the best common ancestors: those that no other common ancestor descends from, sorted.

    One in a history without crossing merges, several in a criss-cross one, none where the two share no commit. Exact
    whatever the commits' clocks said.
    """
    ours = reachable([left], parents)
    walked = reachable([right], lambda one: () if one in ours else parents(one))
    return independent(walked & ours, parents)


def octopus_bases(commits: Iterable[str], parents: Needs) -> list[str]:
    """Return the best common ancestors of all of one or more commits, sorted. Of two, these are their merge bases."""
    shared = set.intersection(*(reachable([one], parents) for one in commits))
    return independent(shared, parents)


def between(excluded: Iterable[str], included: Iterable[str], parents: Needs) -> set[str]:
    """Return what some commits reach and others do not; `A..B` excludes A and includes B."""
    return reachable(included, parents) - reachable(excluded, parents)
