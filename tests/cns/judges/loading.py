"""All judges of a base at once, as `cns_cli.porcelain.models.base` loads them one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cns.families import Family
from cns.judges.encoders import load_judge
from cns.judges.files import find_judge


def load_encoders(family: Family, base_folder: Path, names: Sequence[str] = ("clip", "identity")) -> dict[str, Any]:
    """The judges of a base, by name; None where it has no such judge."""
    judges: dict[str, Any] = {}
    for name in names:
        folder = find_judge(name, family, base_folder)
        judges[name] = None if folder is None else load_judge(name, folder)
    return judges
