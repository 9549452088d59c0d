"""Cells: finished parts of a long benchmark, kept one by one, so that it can be stopped and go on.

A cell is any JSON value under a key that names its settings. Delete the file to start anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Cells:
    """A JSON file of finished cells.

    Args:
        path: The file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        if path is not None and path.exists():
            self.values = json.loads(path.read_text(encoding="utf-8"))

    def of(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return the cell under a key, computing and keeping it where it is missing."""
        if key not in self.values:
            self.values[key] = compute()
            print(f"  {key}: {json.dumps(self.values[key])[:200]}", flush=True)
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.path.write_text(json.dumps(self.values, indent=1) + "\n", encoding="utf-8")
        return self.values[key]
