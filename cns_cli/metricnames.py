"""What `--metric`, `--max-drop` and `--min` may say: names of metrics, built-in or of installed packages, and limits.

A built-in name is known without a look at the installed packages.
"""

from __future__ import annotations

from collections.abc import Sequence

import typer

from cns_cli.porcelain.metrics import METRIC_NAMES, METRICS


def largest_drop(text: str) -> tuple[str, float]:
    """Parse a largest drop of a metric."""
    name, value = _limit(text)
    if value < 0:
        raise typer.BadParameter(f"{text!r}: a largest drop is at least 0")
    return name, value


def least_score(text: str) -> tuple[str, float]:
    """Parse a least score of a metric."""
    name, value = _limit(text)
    if (not name or name in METRIC_NAMES) and abs(value) > 1:
        raise typer.BadParameter(f"{text!r}: a least score is a cosine, from -1 to 1")
    return name, value


def metric_list(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Split `id,clip-i`."""
    names = tuple(dict.fromkeys(name.strip() for text in texts or () for name in text.split(",")))
    for name in names:
        known_metric(name)
    return names


def known_metric(name: str) -> None:
    """Refuse what is neither a built-in metric nor one of an installed package.

    Raises:
        typer.BadParameter: it is neither; the message lists those that there are.
    """
    if is_metric(name):
        return
    from cns_cli.porcelain.scoring.names import metric_names

    meant = next((one for one, row in METRICS.items() if row.label.lower() == name.lower()), "")
    near = f"did you mean {meant}? " if meant else ""
    raise typer.BadParameter(f"{name!r} is no metric; {near}expected {', '.join(metric_names())}")


def is_metric(name: str) -> bool:
    """Whether `cns check` can judge on it; installed packages are asked only where it is not built in."""
    if name in METRIC_NAMES:
        return True
    from cns_cli.porcelain.scoring.names import unknown_metric

    return unknown_metric([name]) is None


def _limit(text: str) -> tuple[str, float]:
    """Parse `0.05` or `clip-i=0.05`; without a name the name is empty."""
    name, _, number = text.strip().rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = float("nan")
    if name:
        known_metric(name)
    if not abs(value) < float("inf"):
        raise typer.BadParameter(f"{text!r} is no limit; expected a number, or METRIC=NUMBER")
    return name, value
