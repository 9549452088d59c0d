"""Losses as a curve of plain characters: for a terminal of 80 columns, a log file, or one without colour.

A column is the mean of the steps that fall into it, since the loss of a single step hangs on what was drawn for it.
Nothing here knows where a series comes from.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from cns_cli.figures import number

WIDTH, HEIGHT = 80, 12
LABEL = 8
MARKS = {"loss": ".", "validation_loss": "o"}
"""Series that are drawn -> their mark; a later one stands above an earlier one."""


def curve_lines(series: Mapping[str, Sequence[float]], steps: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Draw the losses of a finetuning; nothing where there is none.

    Args:
        series: Name -> figures.
        steps: Name -> after which step each was taken; where a name is missing, after each step from 1 on.
    """
    points = {name: _points(series.get(name, ()), steps.get(name)) for name in MARKS}
    everything = [point for found in points.values() for point in found]
    if not everything:
        return
    last = max(step for step, _ in everything)
    columns = {name: _columns(found, last) for name, found in points.items()}
    values = [value for found in columns.values() for value in found.values()]
    low, high = min(values), max(values)
    rows = [[" "] * (WIDTH - LABEL - 2) for _ in range(HEIGHT)]
    for name, mark in MARKS.items():
        for column, value in columns[name].items():
            share = (value - low) / (high - low) if high > low else 0.0
            rows[round((1 - share) * (HEIGHT - 1))][column] = mark
    labels = {0: number(high), HEIGHT - 1: number(low)}
    for place, row in enumerate(rows):
        yield f"{labels.get(place, ''):>{LABEL}} |{''.join(row)}".rstrip()
    end = f"{last:,} steps"
    yield f"{'':>{LABEL}} +{'-' * (WIDTH - LABEL - 2)}"
    yield f"{'':>{LABEL}}  0{end:>{WIDTH - LABEL - 3}}"
    said = [f"{MARKS[name]} {name.replace('_', ' ')}" for name, found in points.items() if found]
    yield f"{'':>{LABEL}}  {'   '.join(said)}"


def _points(values: Sequence[float], steps: Sequence[int] | None) -> list[tuple[int, float]]:
    """(step, value) of what can be drawn: a record may hold anything."""
    pairs = zip(steps or range(1, len(values) + 1), values, strict=False)
    return [(step, value) for step, value in pairs if step >= 0 and math.isfinite(value)]


def _columns(points: Sequence[tuple[int, float]], last: int) -> dict[int, float]:
    """Column -> mean of the values that fall into it."""
    found: dict[int, list[float]] = defaultdict(list)
    for step, value in points:
        found[round(step / max(1, last) * (WIDTH - LABEL - 3))].append(value)
    return {column: sum(values) / len(values) for column, values in found.items()}
