"""Walking commits by their parents, newest first.

A walk needs one function that reads a commit by id, so that the index, a store or a dict can serve it. It does not
know refs; it holds in memory only the ids that it has seen and the commits that wait for their turn.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

from registry.objects import Commit

ReadCommit = Callable[[str], Commit]


def walk(starts: Iterable[str], read: ReadCommit) -> Iterator[tuple[str, Commit]]:
    """Yield (id, commit) of all that is reachable from starts, each once, newest first.

    "Newest" is by commit time; of equal times, the one that was reached first. In a line of commits a child comes
    before its parent whatever their clocks said.
    """
    seen = set(starts)
    waiting: list[tuple[int, int, str, Commit]] = []
    for order, start in enumerate(sorted(seen)):
        commit = read(start)
        waiting.append((-commit.time, order, start, commit))
    heapq.heapify(waiting)
    order = len(waiting)
    while waiting:
        _, _, current, commit = heapq.heappop(waiting)
        yield current, commit
        for parent in commit.parents:
            if parent not in seen:
                seen.add(parent)
                order += 1
                older = read(parent)
                heapq.heappush(waiting, (-older.time, order, parent, older))
