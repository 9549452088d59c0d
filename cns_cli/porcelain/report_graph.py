"""A history drawn in lanes, as git draws it: which lane each commit lies in, and which lines pass by.

Pure: commits with parents go in, newest first and each before its parents; numbers come out. A lane is a place from the
left; the same branch keeps its lane until it meets another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Lanes:
    """One commit's row.

    Attributes:
        lane: Where the commit lies.
        above: Lines in the upper half, (lane at the top edge, lane in the middle).
        below: Lines in the lower half, (lane in the middle, lane at the bottom edge).
    """

    lane: int
    above: tuple[tuple[int, int], ...]
    below: tuple[tuple[int, int], ...]


def lay_out(commits: Sequence[tuple[str, Sequence[str]]]) -> list[Lanes]:
    """Give every commit its row.

    Args:
        commits: (id, ids of its parents), newest first. A parent that is not among them leaves its line open.
    """
    waiting: list[str | None] = []  # by lane, the commit that it leads down to
    rows = []
    for commit, parents in commits:
        arriving = [lane for lane, wanted in enumerate(waiting) if wanted == commit]
        lane = arriving[0] if arriving else _free(waiting)
        above = [(one, lane if waiting[one] == commit else one) for one, wanted in enumerate(waiting) if wanted]
        passing = [(one, one) for one, wanted in enumerate(waiting) if wanted and wanted != commit]
        waiting = [None if wanted == commit else wanted for wanted in waiting]
        below = passing + _leave(waiting, lane, parents)
        while waiting and waiting[-1] is None:
            waiting.pop()
        rows.append(Lanes(lane, tuple(above), tuple(below)))
    return rows


def _leave(waiting: list[str | None], lane: int, parents: Sequence[str]) -> list[tuple[int, int]]:
    """Send a commit's lines down to its parents: the first keeps the lane, the others take their own."""
    lines = []
    for place, parent in enumerate(parents):
        if place == 0:
            target = lane  # two lanes may lead to one commit: they meet there, and the left one goes on
        else:
            target = waiting.index(parent) if parent in waiting else _free(waiting)
        _put(waiting, target, parent)
        lines.append((lane, target))
    return lines


def _free(waiting: Sequence[str | None]) -> int:
    return next((lane for lane in range(len(waiting)) if waiting[lane] is None), len(waiting))


def _put(waiting: list[str | None], lane: int, commit: str) -> None:
    waiting.extend([None] * (lane + 1 - len(waiting)))
    waiting[lane] = commit
