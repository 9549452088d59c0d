r"""A history drawn in characters beside its text, as `git log --graph` does: a star a commit, a line an edge.

A lane is a column of two characters that leads down to one commit. Lines fork to the right (`\`) and join to the left
(`/`); one that joins a lane further off runs along the floor, over the lanes between (`|_|/`). Commits come one by one,
each after all of its children, and are drawn as they come: nothing is kept but the open lanes.

The module knows ids and parents, nothing of commits.
"""

from __future__ import annotations

from collections.abc import Sequence


class Graph:
    """A drawing that grows downwards."""

    def __init__(self) -> None:
        self._lanes: list[str] = []
        self._ended = -1  # lane of a commit without parents that was drawn last: nothing may seem to go on there

    def draw(self, current: str, parents: Sequence[str]) -> list[str]:
        """Draw the next commit.

        Args:
            current: Its id; no commit that was drawn is a parent of it.
            parents: Those that will be drawn, too, or whose lanes shall stay open.

        Returns:
            Rows from top to bottom, the star in the first; in the second where an empty column must come before.
        """
        rows = []
        if current not in self._lanes:
            if self._ended == len(self._lanes):
                rows.append(self.rest())
            self._lanes.append(current)
        at = self._lanes.index(current)
        rows.append(_row(self._lanes, {2 * at: "*"}))
        self._ended = -1
        if parents:
            rows += self._fork(at, list(dict.fromkeys(parents)))
            rows += self._join()
        else:
            rows += self._close(at)
        return rows

    @property
    def width(self) -> int:
        """Columns of the rows that are drawn next."""
        return max(2 * len(self._lanes) - 1, 0)

    def rest(self) -> str:
        """Draw a row between two commits, for text that takes more rows than the drawing."""
        self._ended = -1
        return _row(self._lanes, {})

    def _fork(self, at: int, parents: list[str]) -> list[str]:
        """Let a lane lead to all parents of its commit: a row for each parent after the first."""
        self._lanes[at] = parents[0]
        rows = []
        for place, parent in enumerate(parents[1:], at):
            moved = range(place, len(self._lanes))
            rows.append(_row(self._lanes[: place + 1], {2 * lane + 1: "\\" for lane in moved}))
            self._lanes.insert(place + 1, parent)
        return rows

    def _join(self) -> list[str]:
        """Lead lanes together that wait for the same commit: a row for each."""
        rows = []
        while twice := [lane for lane, one in enumerate(self._lanes) if one in self._lanes[:lane]]:
            lane = twice[0]
            target = self._lanes.index(self._lanes[lane])
            floor = {2 * between + 1: "_" for between in range(target, lane - 1)}
            rows.append(_row(self._lanes[:lane], floor | self._moved_left(lane)))
            del self._lanes[lane]
        return rows

    def _close(self, at: int) -> list[str]:
        """End a lane; those behind it move up, which takes a row where there are any."""
        moved = self._moved_left(at + 1)
        rows = [_row(self._lanes[:at], moved)] if moved else []
        del self._lanes[at]
        self._ended = at if not moved else -1
        return rows

    def _moved_left(self, first: int) -> dict[int, str]:
        return {2 * lane - 1: "/" for lane in range(first, len(self._lanes))}


def _row(straight: Sequence[str], marks: dict[int, str]) -> str:
    """A row of lanes that go straight down, with marks at their columns."""
    cells = {2 * lane: "|" for lane in range(len(straight))} | marks
    return "".join(cells.get(column, " ") for column in range(max(cells, default=-1) + 1))
