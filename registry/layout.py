"""The folder `.cns` itself: its format, how it is made, and what a killed `init` left beside it.

A new registry is built under a temporary name and renamed into place, so that a crash leaves none half-made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time as clock
from pathlib import Path
from typing import Any

from registry import config, fsio
from registry.errors import AlreadyARegistry, DiskFailed, LockBusy, NotARegistry, UnknownFormat
from registry.objects import Base, Commit, Tree
from registry.reflog import Reflog, ReflogEntry
from registry.refs import HEADS, Refs
from registry.store import DiskStore

FOLDER = ".cns"
FIRST_BRANCH = "main"
FORMAT = 1
FORMAT_LINE = "cns registry "
ABANDONED_AFTER_S = 3600


def create(folder: Path, base: Base, settings: dict[str, Any], *, author: str, time: int) -> Path:
    """Make folder/.cns with one commit of an empty tree and return folder, resolved; see `Repository.init`."""
    root = Path(folder).resolve()
    if os.path.lexists(root / FOLDER):
        raise AlreadyARegistry(root)
    fsio.make_folder(root)
    _remove_abandoned(root)
    building = root / f"{FOLDER}{fsio.TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}"
    try:
        fsio.make_folder(building)
        with fsio.locked(building / "lock"):
            _build(building, base, config.nested(settings), author, time)
            if not fsio.move_folder(building, root / FOLDER):
                raise AlreadyARegistry(root)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return root


def check_format(folder: Path) -> None:
    """Refuse a folder that is no registry, or that a newer version made.

    Raises:
        NotARegistry, UnknownFormat.
    """
    line = fsio.read(folder / "format")
    if line is None:
        raise NotARegistry(folder.parent)
    number = line.decode("ascii", "replace").removeprefix(FORMAT_LINE).strip()
    if number != str(FORMAT):
        raise UnknownFormat(f"the registry in '{folder}'", number[:20], FORMAT)


def write_skeleton(folder: Path, settings: dict[str, Any]) -> None:
    """Write what a registry has beside objects, refs and logs: its format, settings, and empty folders."""
    for name in ("refs/heads", "logs"):
        fsio.make_folder(folder / name)
    DiskStore.create(folder / "objects")
    config.save(folder / "config.toml", settings)
    fsio.replace(folder / "format", f"{FORMAT_LINE}{FORMAT}\n".encode())


def _build(folder: Path, base: Base, settings: dict[str, Any], author: str, time: int) -> None:
    write_skeleton(folder, settings)
    store, refs, logs = DiskStore(folder / "objects"), Refs(folder), Reflog(folder / "logs")
    tree = store.put(Tree(store.put(base), {}))
    first = store.put(Commit(tree, (), None, "init", "init", author, time))
    branch = HEADS + FIRST_BRANCH
    for name in (branch, "HEAD"):
        logs.append(name, ReflogEntry(None, first, author, time, "init"))
    refs.compare_and_swap(branch, None, first)
    refs.set_head(ref=branch)


def _remove_abandoned(root: Path) -> None:
    """Remove what a killed `init` left: old, and with a lock that nobody holds."""
    for folder in root.glob(f"{FOLDER}{fsio.TEMPORARY}*"):
        with contextlib.suppress(OSError, LockBusy, DiskFailed):
            if clock.time() - folder.stat().st_mtime > ABANDONED_AFTER_S:
                with fsio.locked(folder / "lock", timeout_s=0):
                    shutil.rmtree(folder)
