"""Cells: finished parts of a long benchmark, kept one by one, so that it can be stopped and go on.

A cell is any JSON value under a key that names its settings. Several processes may fill one file: a cell is claimed by
a kernel lock while it is computed (a process that dies leaves none behind), and the file is read again, under a lock,
before a cell is added to it. Delete the file to start anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout


class Cells:
    """A JSON file of finished cells.

    Args:
        path: The file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.values: dict[str, Any] = {}
        self.read()

    def read(self) -> None:
        """Take what other processes have added."""
        if self.path is not None and self.path.exists():
            self.values = json.loads(self.path.read_text(encoding="utf-8"))

    def of(self, key: str, compute: Callable[[], Any]) -> Any:
        """Return the cell under a key, computing and keeping it where it is missing."""
        if key not in self.values:
            self.add(key, compute())
        return self.values[key]

    def add(self, key: str, value: Any) -> None:
        """Keep a finished cell, beside whatever others have added in the meantime."""
        print(f"  {key}: {json.dumps(value)[:200]}", flush=True)
        if self.path is None:
            self.values[key] = value
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._lock("file")):
            self.read()
            self.values[key] = value
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps(self.values, indent=1) + "\n", encoding="utf-8")
            os.replace(part, self.path)

    def join(self, other: Path) -> None:
        """Add the cells of another machine's file that this one lacks."""
        for key, value in Cells(other).values.items():
            if key not in self.values:
                self.add(key, value)

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Within the context, nobody else computes this cell; gives False if somebody does, or if it is finished."""
        try:
            lock = FileLock(self._lock(key), timeout=0)
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            self.read()
            yield key not in self.values
        finally:
            lock.release()

    def _lock(self, key: str) -> Path:
        """A file outside of the repository: locks are not results."""
        name = hashlib.sha256(f"{self.path and self.path.resolve()}|{key}".encode()).hexdigest()[:24]
        folder = Path(tempfile.gettempdir()) / f"cns-cells-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder / f"{name}.lock"
