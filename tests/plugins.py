"""Makes the entry points of a package visible to a test, as pip would: a `.dist-info` folder on the path."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "plugin"


def install(
    patch: pytest.MonkeyPatch, place: Path, name: str, version: str, groups: Mapping[str, Mapping[str, str]]
) -> None:
    """Make a package of this name and version, with these entry points, visible in `place`."""
    folder = place / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [line for group, entries in groups.items() for line in (f"[{group}]", *map(" = ".join, entries.items()))]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
    patch.syspath_prepend(str(place))


def install_example(patch: pytest.MonkeyPatch, place: Path, version: str | None = None) -> None:
    """Make examples/plugin visible, in its own version unless told otherwise."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    install(patch, place, project["name"], version or project["version"], project["entry-points"])
    patch.syspath_prepend(str(EXAMPLE))
