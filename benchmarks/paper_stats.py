"""Means over orders and seeds with their intervals, and which rows of a table are not significantly below the best."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from benchmarks.report import Cell
from cns.gate import studentised_interval

MISSING = "missing"
LEAST_ORDERS = 3
"""Of fewer orders no interval is shown and nothing is compared: Student's t for two values is 12.7."""

ByOrder = Mapping[int, float]
"""Number of an order -> a figure of a method in it."""

Cells = Mapping[str, Mapping[int, Any]]
"""Method -> number of the order (or seed) -> its cell."""

Value = TypeVar("Value")


def on_common_orders(rows: Mapping[str, Mapping[int, Value]]) -> dict[str, dict[int, Value]]:
    """Keep of every row the orders that all rows have, rows without any aside, so that like is compared with like."""
    common = set.intersection(*found) if (found := [set(row) for row in rows.values() if row]) else set()
    return {name: {order: row[order] for order in sorted(common & set(row))} for name, row in rows.items()}


def finished(rows: Mapping[str, Mapping[int, Value]], orders: int) -> dict[str, Mapping[int, Value]]:
    """The rows as they are, those that lack an order emptied where another row has all of them."""
    whole = any(len(row) == orders for row in rows.values())
    return {name: {} if whole and len(row) < orders else row for name, row in rows.items()}


def figures_of(cells: Cells, figure: Callable[[Any], Value]) -> dict[str, dict[int, Value]]:
    """One figure, or several, of every cell."""
    return {name: {order: figure(cell) for order, cell in row.items()} for name, row in cells.items()}


def plain(rows: Mapping[str, ByOrder]) -> dict[str, str]:
    """A column in which nothing is best."""
    return {name: shown(row.values()) for name, row in rows.items()}


def means(rows: Mapping[str, ByOrder]) -> dict[str, str]:
    """A column of means without intervals, where orders differ more than methods do."""
    return {name: f"{np.mean(list(row.values())):.3f}" if row else MISSING for name, row in rows.items()}


def table_rows(names: Sequence[str], columns: Collection[Mapping[str, str]]) -> list[list[Cell]]:
    """The rows of a table: each name, and what every column has for it."""
    return [[name, *(column[name] for column in columns)] for name in names]


def half_width(values: Sequence[float]) -> float:
    """Half of Student's 95 % interval of a mean; infinite for one value."""
    low, high = studentised_interval(np.asarray(values, float))
    return (high - low) / 2


def shown(values: Collection[float], digits: int = 3) -> str:
    """Mean and interval; the mean alone of fewer than `LEAST_ORDERS` values, and `MISSING` where there is none."""
    found = list(values)
    if not found:
        return MISSING
    mean = f"{round(float(np.mean(found)), digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.000"
    return mean if len(found) < LEAST_ORDERS else f"{mean} ± {half_width(found):.{digits}f}"


def marked(rows: Mapping[str, ByOrder], digits: int = 3) -> dict[str, str]:
    """Show a column: the best mean in bold, `=` on those whose paired interval to it reaches 0.

    A row that lacks a value in one of the orders is shown as missing and left out. Below `LEAST_ORDERS` orders nothing
    is marked.
    """
    paired = _paired(rows)
    texts = {name: shown(paired.get(name, []), digits) for name in rows}
    found = best_and_below(rows)
    if found is None:
        return texts
    best, below = found
    marks = {name: f"**{texts[name]}**" if name == best else f"{texts[name]} =" for name in paired if name not in below}
    return {**texts, **marks}


def best_and_below(rows: Mapping[str, ByOrder]) -> tuple[str, set[str]] | None:
    """The row of the best mean, and those significantly below it; None of fewer than `LEAST_ORDERS` orders.

    Rows that lack a value in one of the orders are left out.
    """
    paired = _paired(rows)
    if not paired or len(next(iter(paired.values()))) < LEAST_ORDERS:
        return None
    best = max(paired, key=lambda name: float(np.mean(paired[name])))
    return best, {name for name, values in paired.items() if name != best and is_below(values, paired[best])}


def _paired(rows: Mapping[str, ByOrder]) -> dict[str, list[float]]:
    """The values of the rows that have one in every order, in the same order of orders."""
    orders = sorted({order for values in rows.values() for order in values})
    return {
        name: [values[order] for order in orders]
        for name, values in rows.items()
        if values and len(values) == len(orders)
    }


def is_below(values: Sequence[float], best: Sequence[float]) -> bool:
    """Whether the paired 95 % interval of the difference lies below 0."""
    _low, high = studentised_interval(np.asarray(values, float) - np.asarray(best, float))
    return bool(high < 0)
