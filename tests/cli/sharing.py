"""Two people and the folder that they share, as the shell sees them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.cli.conftest import Lineage, run


def shared(lineage: Lineage, tmp_path: Path) -> Path:
    """Push the lineage of the current folder to a folder, which is its origin."""
    place = tmp_path / "shared"
    assert run("remote", "add", "origin", str(place)).exit_code == 0
    assert run("push").exit_code == 0
    return place


def cloned(place: Path, tmp_path: Path, monkeypatch: Any) -> Path:
    """Clone it, and go there."""
    assert run("clone", str(place), str(tmp_path / "bob")).exit_code == 0
    monkeypatch.chdir(tmp_path / "bob")
    return tmp_path / "bob"
