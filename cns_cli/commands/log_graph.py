"""`cns log --graph`: the drawing of a history, with the text of each commit beside it."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from cns_cli.graph import Graph
from cns_cli.output import Line, Styled, safe, width

if TYPE_CHECKING:
    from cns_cli.porcelain.views.commits import CommitView

NARROWEST = 24
"""Columns that text gets beside the widest drawing; a terminal then wraps the lines."""


def beside_graph(
    blocks: Iterable[tuple[CommitView, Sequence[str], Sequence[Line]]], columns: int | None, *, spaced: bool
) -> Iterator[Line]:
    """Draw commits as they come, each with its text.

    Args:
        blocks: A commit, the parents that its lines lead to, and its text.
        columns: How wide lines may be, for a terminal; None: as wide as they are.
        spaced: Leave a row between two commits.
    """
    graph = Graph()
    for i, (commit, parents, text) in enumerate(blocks):
        if spaced and i:
            yield graph.rest()
        rows = graph.draw(commit.id, parents)
        while "*" not in rows[0]:
            yield rows.pop(0)
        wide = max(graph.width, *map(len, rows))
        fitted = [part for line in text for part in _fitted(line, columns and max(columns - wide - 1, NARROWEST))]
        for row, line in itertools.zip_longest(rows, fitted, fillvalue=""):
            drawn = row or graph.rest()
            yield [drawn.ljust(wide + 1), *([line] if isinstance(line, str) else line)] if line else drawn


def _fitted(line: Line, room: int | None) -> Iterator[Line]:
    """A line in parts that fit: one of a message is wrapped, one of several pieces loses the end of its last."""
    if room is None or _width(line) <= room:
        yield line
    elif isinstance(line, str):
        indent = line[: len(line) - len(line.lstrip())]
        yield from textwrap.wrap(line, room, subsequent_indent=indent, break_on_hyphens=False)
    else:
        *rest, last = line
        kept = str(last)[: max(room - _width(rest) - 1, 0)]
        yield line if isinstance(last, Styled) else [*rest, f"{kept}…"]


def _width(line: Line) -> int:
    pieces = [line] if isinstance(line, str) else line
    return sum(width(safe(piece.text if isinstance(piece, Styled) else piece)) for piece in pieces)
