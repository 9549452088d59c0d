"""Means over orders and seeds with their intervals, and which rows of a table are not significantly below the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cns.gate import studentised_interval

MISSING = "missing"


def half_width(values: Sequence[float]) -> float:
    """Half of Student's 95 % interval of a mean; infinite for one value."""
    low, high = studentised_interval(np.asarray(values, float))
    return (high - low) / 2


def shown(values: Sequence[float], digits: int = 3) -> str:
    """Mean and interval; the mean alone where there is one value, and `MISSING` where there is none."""
    if not values:
        return MISSING
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {half_width(values):.{digits}f}"


def marked(rows: Mapping[str, Sequence[float]], digits: int = 3) -> dict[str, str]:
    """Show a column: the best mean in bold, `=` on those whose paired interval to it reaches 0.

    Values of two rows are paired in their order (the same seed and order of concepts); rows with fewer values than the
    others are not compared.
    """
    texts = {name: shown(values, digits) for name, values in rows.items()}
    complete = {name: values for name, values in rows.items() if len(values) == max(map(len, rows.values())) > 0}
    if not complete:
        return texts
    best = max(complete, key=lambda name: float(np.mean(complete[name])))
    texts[best] = f"**{texts[best]}**"
    for name, values in complete.items():
        if name != best and not is_below(values, complete[best]):
            texts[name] += " ="
    return texts


def is_below(values: Sequence[float], best: Sequence[float]) -> bool:
    """Whether the paired 95 % interval of the difference lies below 0; False where one value says nothing."""
    _low, high = studentised_interval(np.asarray(values, float) - np.asarray(best, float))
    return bool(high < 0)
