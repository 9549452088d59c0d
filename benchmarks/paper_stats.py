"""Means over orders and seeds with their intervals, and which rows of a table are not significantly below the best."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from cns.gate import studentised_interval

MISSING = "missing"

ByOrder = Mapping[int, float]
"""Number of an order -> a figure of a method in it."""


def half_width(values: Sequence[float]) -> float:
    """Half of Student's 95 % interval of a mean; infinite for one value."""
    low, high = studentised_interval(np.asarray(values, float))
    return (high - low) / 2


def shown(values: Collection[float], digits: int = 3) -> str:
    """Mean and interval; the mean alone where there is one value, and `MISSING` where there is none."""
    found = list(values)
    if not found:
        return MISSING
    mean = f"{round(float(np.mean(found)), digits) + 0.0:.{digits}f}"  # + 0.0: no "-0.000"
    return mean if len(found) < 2 else f"{mean} ± {half_width(found):.{digits}f}"


def marked(rows: Mapping[str, ByOrder], digits: int = 3) -> dict[str, str]:
    """Show a column: the best mean in bold, `=` on those whose paired interval to it reaches 0.

    Rows are compared on the orders that all of them have, of those that have any; below two such orders nothing is
    marked, since one value proves nothing.
    """
    texts = {name: shown(values.values(), digits) for name, values in rows.items()}
    measured = {name: values for name, values in rows.items() if values}
    common = sorted(set.intersection(*(set(values) for values in measured.values()))) if measured else []
    if len(common) < 2:
        return texts
    paired = {name: [values[order] for order in common] for name, values in measured.items()}
    best = max(paired, key=lambda name: float(np.mean(paired[name])))
    texts[best] = f"**{texts[best]}**"
    for name, values in paired.items():
        if name != best and not is_below(values, paired[best]):
            texts[name] += " ="
    return texts


def is_below(values: Sequence[float], best: Sequence[float]) -> bool:
    """Whether the paired 95 % interval of the difference lies below 0."""
    _low, high = studentised_interval(np.asarray(values, float) - np.asarray(best, float))
    return bool(high < 0)
