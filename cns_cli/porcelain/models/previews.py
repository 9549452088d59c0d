"""Previews: sheets of pictures that a verb leaves in the registry's folder to be looked at; records hold them, too."""

from __future__ import annotations

from pathlib import Path

from registry import fsio
from registry.errors import DiskFailed


def write_preview(registry: Path, name: str, sheet: bytes) -> Path | None:
    """Write a PNG below a registry's folder and return where; None where the disk refuses: the commit stands."""
    path = registry / "previews" / f"{name}.png"
    try:
        fsio.make_folder(path.parent)
        fsio.replace(path, sheet)
    except DiskFailed:
        return None
    return path
