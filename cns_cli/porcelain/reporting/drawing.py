"""The drawings of a report: pure functions from numbers to inline SVG.

Colours are classes that the page's style sheet fills in, so that dark mode and print need no second drawing. Nothing is
told by colour alone: lines differ in their dashes, points in their shapes, and the figures stand beside them.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from cns_cli.output import safe

LANE, ROW, DOT = 16, 52, 5
MAX_LANES = 12
PANEL_WIDTH, PANEL_HEIGHT = 320, 168
LEFT, RIGHT, TOP, BOTTOM = 34, 80, 12, 22
NOTE = 13
FOREST_WIDTH, FOREST_HEIGHT = 180, 26

_ICONS = {
    "kept": "M5 12.5l4.5 4.5L19 7.5",
    "forgot": "M7 7l10 10M17 7L7 17",
    "inconclusive": "M9 9.2a3 3 0 1 1 4.4 2.7c-.9.5-1.4 1-1.4 2.1M12 17.3v.2",
    "unmeasured": "M7 12h10",
}


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


def icon(outcome: str) -> Markup:
    """The mark of an outcome: a tick, a cross, a question mark or a bar, in a disc."""
    return _svg(
        24, 24, _el("circle", cx=12, cy=12, r=11, cls="disc"), _el("path", d=_ICONS[outcome], cls="mark"),
        cls=f"icon {outcome}", aria_hidden="true",
    )  # fmt: skip


def frame_of(values: Sequence[float], last: int) -> Frame:
    """Return axes that hold all values, to full steps of 0.1."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low, high = int(low * 10 - (low < 0)) / 10, -int(-high * 10 - (high > 0)) / 10
    return Frame(last, low, max(high, low + 0.1))


def panel(frame: Frame, points: Sequence[Point], base: float | None, ceiling: float | None, label: str) -> Markup:
    """One concept's score over the lineage, between the base's level and the ceiling.

    Args:
        frame: Axes.
        points: In order; a gap between two rows is drawn dashed.
        base: Level of the class noun alone; None draws none.
        ceiling: Level of the references; None draws none.
        label: The whole drawing in words.
    """
    lines = [_el("path", d=_line(frame, a, b), cls="curve" if b.row - a.row == 1 else "curve gap")
             for a, b in pairwise(points)]  # fmt: skip
    levels = [("ceiling", ceiling), ("score", points[-1].value if points else None), ("base", base)]
    return _svg(
        PANEL_WIDTH, PANEL_HEIGHT, *_grid(frame), *_level(frame, base, "base"), *_level(frame, ceiling, "ceiling"),
        *lines, *(_dot(frame, point) for point in points), *_notes(frame, levels),
        role="img", aria_label=label, cls="panel",
    )  # fmt: skip


def forest(low: float, mean: float, high: float, limit: float, outcome: str) -> Markup:
    """A drop with its interval beside the largest drop allowed; further right = forgotten more."""
    span = max(0.05, limit * 2.5)
    half, middle = FOREST_WIDTH / 2 - 6, FOREST_HEIGHT / 2

    def x(value: float) -> float:
        return FOREST_WIDTH / 2 + half * max(-1.0, min(1.0, value / span))

    return _svg(
        FOREST_WIDTH, FOREST_HEIGHT,
        _el("rect", x=x(-span), y=3, width=x(limit) - x(-span), height=FOREST_HEIGHT - 6, cls="allowed"),
        _el("line", x1=x(0), x2=x(0), y1=3, y2=FOREST_HEIGHT - 3, cls="zero"),
        _el("line", x1=x(limit), x2=x(limit), y1=1, y2=FOREST_HEIGHT - 1, cls="limit"),
        _el("line", x1=x(low), x2=x(high), y1=middle, y2=middle, cls="range"),
        _el("circle", cx=x(mean), cy=middle, r=4, cls="mean"),
        cls=f"forest {outcome}", aria_hidden="true",
    )  # fmt: skip


def lane_row(lanes: Lanes, width: int, kind: str) -> Markup:
    """The lines of one commit's row of the history.

    Args:
        lanes: Where they run.
        width: Lanes of the whole drawing.
        kind: "head", "merge" or "": the shape of the point.
    """
    middle = ROW / 2
    paths = [_lane(one, 0, two, middle, one if one != lanes.lane else two) for one, two in lanes.above]
    paths += [_lane(one, middle, two, ROW, two if two != lanes.lane else one) for one, two in lanes.below]
    centre = _lane_x(lanes.lane)
    dot = _el("circle", cx=centre, cy=middle, r=DOT, cls=f"commit {kind}".strip())
    ring = _el("circle", cx=centre, cy=middle, r=DOT + 3.5, cls="ring") if kind == "head" else ""
    side = LANE * min(width, MAX_LANES) + 4
    return _svg(side, ROW, *paths, ring, dot, width=side, height=ROW, cls="lanes", aria_hidden="true")


def _lane(x1: int, y1: float, x2: int, y2: float, lane: int) -> Markup:
    one, two, bend = _lane_x(x1), _lane_x(x2), (y1 + y2) / 2
    way = f"V{_n(y2)}" if one == two else f"C{_n(one)} {_n(bend)} {_n(two)} {_n(bend)} {_n(two)} {_n(y2)}"
    return _el("path", d=f"M{_n(one)} {_n(y1)}{way}", cls=f"lane l{min(lane, MAX_LANES - 1) % 4}")


def _lane_x(lane: int) -> float:
    return LANE * (min(lane, MAX_LANES - 1) + 0.5) + 2


def _grid(frame: Frame) -> list[Markup]:
    """Lines at full steps with their figures, and the first and last row below."""
    steps = round((frame.high - frame.low) * 10)
    stride = -(-steps // 4)
    marks = []
    for step in range(0, steps + 1, stride):
        value = frame.low + step / 10
        y = frame.y(value)
        marks.append(_el("line", x1=LEFT, x2=PANEL_WIDTH - RIGHT, y1=y, y2=y, cls="grid"))
        marks.append(_el("text", f"{value:.1f}", x=LEFT - 6, y=y + 4, cls="tick", text_anchor="end"))
    for row in sorted({0, frame.last}):
        y = PANEL_HEIGHT - 6
        marks.append(_el("text", f"#{row + 1}", x=frame.x(row), y=y, cls="tick", text_anchor="middle"))
    return marks


def _level(frame: Frame, value: float | None, name: str) -> list[Markup]:
    if value is None:
        return []
    y = frame.y(value)
    return [_el("line", x1=LEFT, x2=PANEL_WIDTH - RIGHT, y1=y, y2=y, cls=f"level {name}")]


def _line(frame: Frame, one: Point, two: Point) -> str:
    return f"M{_n(frame.x(one.row))} {_n(frame.y(one.value))}L{_n(frame.x(two.row))} {_n(frame.y(two.value))}"


def _dot(frame: Frame, point: Point) -> Markup:
    """A disc; at birth a square."""
    x, y = frame.x(point.row), frame.y(point.value)
    title = _el("title", point.what)
    if point.born:
        return _el("rect", title, x=x - 4, y=y - 4, width=8, height=8, cls="point born")
    return _el("circle", title, cx=x, cy=y, r=3.5, cls="point")


def _notes(frame: Frame, levels: Sequence[tuple[str, float | None]]) -> list[Markup]:
    """The levels in words at the right edge, pushed apart so that none lies over another."""
    known = sorted((frame.y(value), name, value) for name, value in levels if value is not None)
    notes, free = [], float(TOP)
    lowest = PANEL_HEIGHT - BOTTOM - NOTE * (len(known) - 1) + 4
    for place, (y, name, value) in enumerate(known):
        free = min(max(y + 4, free), lowest + NOTE * place)
        notes.append(_el("text", f"{name} {value:.3f}", x=PANEL_WIDTH - RIGHT + 8, y=free, cls=f"note {name}"))
        free += NOTE
    return notes


def text(value: object) -> Markup:
    """Return anything as text of a page, escaped, control and bidi characters made visible; markup stays as it is."""
    return value if isinstance(value, Markup) else Markup(html.escape(safe(value)))


def _svg(width: float, height: float, /, *children: str, **attributes: object) -> Markup:
    return _el("svg", *children, viewBox=f"0 0 {width} {height}", **attributes)


def _el(tag: str, *children: str, **attributes: object) -> Markup:
    """Return an element of text, markup and attributes: `cls` means class, an underscore a hyphen."""
    written = "".join(
        f' {name.replace("cls", "class").replace("_", "-")}="{_n(value) if isinstance(value, float) else text(value)}"'
        for name, value in attributes.items()
    )
    return Markup(f"<{tag}{written}>{''.join(map(text, children))}</{tag}>")  # noqa: S704 (all of it is escaped)


def _n(value: float) -> str:
    """A coordinate: one decimal is finer than a screen's pixel."""
    return f"{value:.1f}".removesuffix(".0")


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
