"""What the template of a page sets beside what `ReportData` says itself: steps of colour, curves, pairs of words.

Nothing here is markup.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cns_cli import figures
from cns_cli.porcelain.reporting import drawing, words
from cns_cli.porcelain.reporting.data import CommitLine, MetricTable, ReportData, Tile

LEVELS = 10
DRAWN_SIDE = 96  # up to this side a picture is a drawing of few pixels and is enlarged without smoothing
TOLD_POINTS = 40  # a curve with more points has no words on each of them
LONGEST = 400


@dataclass(frozen=True)
class Scale:
    """The colours of a heat map: `LEVELS` steps of equal width from `low` to `high`."""

    low: float
    high: float

    def step(self, value: float) -> str:
        """Return the class of a value, `h0` to `h9`; beyond the ends the last one."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.0
        return f"h{max(0, min(LEVELS - 1, int(share * LEVELS)))}"


SHARES = Scale(0.0, 1.0)


def matrix_scale(table: MetricTable) -> Scale:
    """Return the colours of a matrix: from the least to the greatest of its scores and levels."""
    values = _values(table)
    return Scale(min(values), max(values)) if values else SHARES


def drift_scale(data: ReportData) -> Scale:
    """Return the colours of the drift since birth."""
    return Scale(0.0, max([0.02, *data.drift.values()]))


def current(data: ReportData) -> list[int]:
    """Return the columns of the concepts that the revision holds."""
    return [place for place, concept in enumerate(data.columns) if concept.current]


def address(tile: Tile) -> str:
    """Return a picture as an address that needs no network."""
    return f"data:image/webp;base64,{base64.b64encode(tile.data).decode('ascii')}"


def frame(data: ReportData, table: MetricTable) -> drawing.Frame:
    """Return the axes that all curves of a matrix share."""
    return drawing.frame_of(_values(table), len(data.rows) - 1)


def _values(table: MetricTable) -> list[float]:
    """Every score and level of a matrix."""
    levels = [level for level in (*table.base, *table.ceiling) if level is not None]
    return [cell.value for cells in table.cells for cell in cells if cell] + levels


def points(data: ReportData, table: MetricTable, column: int) -> list[drawing.Point]:
    """Return a concept's curve over the lineage."""
    measured = [(place, cell) for place, cells in enumerate(table.cells) if (cell := cells[column]) is not None]
    told, born = len(measured) <= TOLD_POINTS, data.columns[column]
    first = next((place for place, row in enumerate(data.rows) if born.id in row.concepts.values()), None)
    return [
        drawing.Point(
            place, cell.value,
            f"#{place + 1} {data.rows[place].subject}: {cell.value:.3f} ({words.signed(cell.change)})" * told,
            place == first and data.rows[place].seen(born.id) == born.birth_tree,
        )
        for place, cell in measured
    ]  # fmt: skip


def lineage(data: ReportData) -> Iterator[tuple[CommitLine, drawing.Lanes, int, str]]:
    """Yield every commit of the graph, newest first, with its row of the drawing, the drawing's width and its kind."""
    lanes = drawing.lay_out([(commit.id, commit.parents) for commit in data.graph])
    used = [lane for row in lanes for lane in (row.lane, *(end for line in (*row.above, *row.below) for end in line))]
    for commit, row in zip(data.graph, lanes, strict=True):
        kind = "head" if commit.id == data.head.id else "merge" if len(commit.parents) > 1 else ""
        yield commit, row, drawing.LANE * min(1 + max(used), drawing.MAX_LANES) + 4, kind


def protocol(data: ReportData) -> list[tuple[str, str]]:
    """Return what the scores depend on, and what they are held against."""
    limits = ", ".join(f"{metric} {limit:g}" for metric, limit in data.max_drop.items())
    hidden = f"{figures.plural(data.other_protocols, 'evaluation')} under other protocols"
    return [
        ("Digest", data.protocol_digest),
        *((str(key).capitalize(), _written(value)) for key, value in sorted(data.protocol.items())),
        ("Largest drop allowed", limits),
        *([("Not shown", hidden)] if data.other_protocols else []),
    ]


def is_digest(value: str) -> bool:
    """Whether a value is the id of an object or the digest of a protocol."""
    return len(value) == 64 and all(char in "0123456789abcdef" for char in value)


def _written(value: object) -> str:
    """A value of the protocol in one line; a nested one as its pairs, digests shortened."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_written(inner)}" for key, inner in sorted(value.items()))[:LONGEST]
    if isinstance(value, str):
        return figures.short_id(value) + "…" if is_digest(value) else value[:LONGEST]
    return json.dumps(value)[:LONGEST]
