"""Where the parts of a report's drawings lie: pure functions from numbers to coordinates.

A drawing's markup is in `drawing.html.jinja`. A coordinate is a float, in the units of its drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LANE, MAX_LANES = 16, 12
PANEL_WIDTH, PANEL_HEIGHT = 320, 168
LEFT, RIGHT, TOP, BOTTOM = 34, 80, 12, 22
NOTE = 13
FOREST_WIDTH, FOREST_MARGIN = 180, 6


@dataclass(frozen=True)
class Point:
    """A measured score: the row of the matrix it belongs to, its value, what a pointer that rests on it reads."""

    row: int
    value: float
    what: str
    born: bool = False


@dataclass(frozen=True)
class Frame:
    """The axes that all panels of a metric share: rows 0..last, values low..high."""

    last: int
    low: float
    high: float

    def x(self, row: float) -> float:
        """Column of a row, in the panel's units."""
        return LEFT + (PANEL_WIDTH - LEFT - RIGHT) * (row / self.last if self.last else 0.5)

    def y(self, value: float) -> float:
        """Line of a value, in the panel's units."""
        share = (value - self.low) / (self.high - self.low)
        return PANEL_HEIGHT - BOTTOM - (PANEL_HEIGHT - TOP - BOTTOM) * share

    def grid(self) -> list[float]:
        """Return the values at full steps that have a line, at most five."""
        steps = round((self.high - self.low) * 10)
        return [self.low + step / 10 for step in range(0, steps + 1, -(-steps // 4))]

    def notes(self, levels: Sequence[tuple[str, float | None]]) -> list[tuple[str, float, float]]:
        """Return (name, value, line) of the levels that are known, pushed apart so that none lies over another."""
        known = sorted((self.y(value), name, value) for name, value in levels if value is not None)
        notes, free = [], float(TOP)
        lowest = PANEL_HEIGHT - BOTTOM - NOTE * (len(known) - 1) + 4
        for place, (y, name, value) in enumerate(known):
            free = min(max(y + 4, free), lowest + NOTE * place)
            notes.append((name, value, free))
            free += NOTE
        return notes


def frame_of(values: Sequence[float], last: int) -> Frame:
    """Return axes that hold all values, to full steps of 0.1."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low, high = int(low * 10 - (low < 0)) / 10, -int(-high * 10 - (high > 0)) / 10
    return Frame(last, low, max(high, low + 0.1))


def forest_x(drop: float, limit: float) -> float:
    """Return the column of a drop beside the largest that is allowed; the middle is 0, the right end forgotten most."""
    share = max(-1.0, min(1.0, drop / max(0.05, limit * 2.5)))
    return FOREST_WIDTH / 2 + (FOREST_WIDTH / 2 - FOREST_MARGIN) * share


def shown_lane(lane: int) -> int:
    """Return where a lane is drawn: those beyond the last that is shown lie on it."""
    return min(lane, MAX_LANES - 1)


def lane_x(lane: int) -> float:
    """Return the column of a lane."""
    return LANE * (shown_lane(lane) + 0.5) + 2


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
