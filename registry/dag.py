"""Graphs without circles, such as commits and their parents: everything that some nodes need, each node once.

A node is an id; whoever walks says what one needs. No recursion, since a history is as deep as it is long. Of starts,
and of what a node needs, the last is followed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

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
