"""The golden registry of format 1, and how a test gets at it. README.md beside this file says what it holds."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

ARCHIVE = Path(__file__).resolve().parent / "format-1.tar"
CACHES = ("index.db", "mlflow", "mlartifacts", "cache", "previews", "lock")
"""Starts of names in `.cns` that are not packed: what can be made again, and locks."""


def pack(registry: Path, archive: Path) -> None:
    """Write the files of a `.cns` folder that cannot be made again into a tar of reproducible bytes."""
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(registry.rglob("*")):
            name = path.relative_to(registry)
            if path.is_file() and not name.parts[0].startswith(CACHES):
                entry = tarfile.TarInfo(f".cns/{name.as_posix()}")
                data = path.read_bytes()
                entry.size, entry.mode = len(data), path.stat().st_mode & 0o777
                tar.addfile(entry, io.BytesIO(data))


def unpack(folder: Path, archive: Path = ARCHIVE) -> Path:
    """Put the golden registry into a folder as `.cns`; return the folder.

    Folders that were empty are not in the archive: the registry must do without them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:
        # Debian 12's Python is 3.11.2; filters came with 3.11.4, and without one later versions warn.
        tar.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder
