"""How figures are written for people: ids, sizes, shares, times. `--json` carries the exact values instead.

Nothing here knows where a figure comes from, and nothing here prints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cns.templates import with_article

# Hex digits shown: among 10,000 objects two share them with probability 5e-5, and lookups refuse such a pair.
SHORT_ID = 10

COMPOSED = {"all": "all concepts", "named": "the concepts that they name"}
"""What prompts see of a tree, by how it composes."""


def erased(nouns: Mapping[str, str]) -> str:
    """Return what a model erases: `dog, car (now bus)`; `nothing` of nothing."""
    return ", ".join(f"{noun} (now {other})" if other else noun for noun, other in nouns.items()) or "nothing"


def short_id(object_id: str) -> str:
    """Return the prefix of an id that is shown and that can be typed back."""
    return object_id[:SHORT_ID]


def byte_size(count: float) -> str:
    """Write a number of bytes with three digits and a decimal unit: `812 B`, `41.3 KB`, `1.20 MB`."""
    value = float(count)
    for unit in ("B", "KB", "MB"):
        if value < 999.5:
            return f"{value:.0f} B" if unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} GB" if value < 999.5 else f"{value:.0f} GB"


def percent(share: float | None) -> str:
    """Write a share in percent with two digits that matter: `5.8 %`, `0.13 %`; `-` when it is unknown."""
    value = math.inf if share is None else 100 * share  # a received record may hold any share
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0 %"
    decimals = max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 6)}f} %"


def cosine(value: float | None) -> str:
    """Write a cosine with three decimals; `-` when it is unknown."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def drift(value: float | None) -> str:
    """Write a relative squared drift: `0` stays `0`, small ones keep two digits."""
    if value is None or not math.isfinite(value):
        return "-"
    return "0" if value == 0 else f"{value:.2g}" if abs(value) < 0.001 else f"{value:.4f}"


def number(value: float) -> str:
    """Write a loss, a learning rate or a setting: integers plainly, others with four digits."""
    if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:.4g}"


def duration(seconds: float) -> str:
    """Write a time span: `0.4 s`, `41 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(unix_s: int) -> str:
    """Write a commit's time in UTC, so that two people read the same line: `2026-11-24 10:36 UTC`."""
    try:
        return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):  # a commit received from others may hold any integer
        return f"{unix_s} s"


def place(path: Path) -> str:
    """Write a path from the current folder where it lies below it, else whole."""
    try:
        here = Path.cwd()
    except OSError:  # somebody removed it
        return str(path)
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def a(noun: str) -> str:
    """Write a noun with its article: `a dog`, `an apple`."""
    return with_article(noun)


def tokens(named: Sequence[str]) -> str:
    """Write a concept's tokens on one line: `<rex>`, `<rex> +15` where it has fifteen further vectors."""
    if not named:
        return "-"
    return named[0] if len(named) == 1 else f"{named[0]} +{len(named) - 1}"


def plural(count: int, noun: str, many: str = "") -> str:
    """Write a count with its noun: `1 image`, `5 images`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def capacity(shares: Mapping[str, float]) -> str:
    """How full a model is: "5.8% held by concepts, 29.1% general, 65.6% free"."""
    words = {"capacity_held": "held by concepts", "general_share": "general", "capacity_free": "free"}
    return ", ".join(f"{percent(shares[name])} {said}" for name, said in words.items() if name in shares)
