"""The folder `.cns` itself: its format, how it is made, and what a killed `init` left beside it.

A new registry is built under a temporary name and renamed into place, so that a crash leaves none half-made.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time as clock
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry import config, fsio, locks, trust
from registry.errors import AlreadyARegistry, DiskFailed, LockBusy, NotARegistry, UnknownFormat
from registry.objects import Base, Commit, Compose, Tree
from registry.reflog import Reflog, ReflogEntry
from registry.refs import HEADS, LONGEST_LINE, Refs
from registry.store import DiskStore

FOLDER = ".cns"
FIRST_BRANCH = "main"
UNFINISHED = "unfinished"
FORMAT = 1
FORMAT_LINE = "cns registry "
ABANDONED_AFTER_S = 3600


def create(
    folder: Path, base: Base, settings: dict[str, Any], *, author: str, time: int, compose: Compose = "all"
) -> Path:
    """Make folder/.cns with one commit of an empty tree and return folder, resolved; see `Repository.init`."""
    root = Path(folder).resolve()
    if os.path.lexists(root / FOLDER):
        raise AlreadyARegistry(root)
    fsio.make_folder(root)
    remove_abandoned(root)
    building = root / f"{FOLDER}{fsio.TEMPORARY}{os.getpid()}-{os.urandom(4).hex()}"
    try:
        fsio.make_folder(building)
        with locks.hold(building / "lock"):
            fsio.mark(building / UNFINISHED)
            _build(building, base, config.nested(settings), author, time, compose)
            if not fsio.move_folder(building, root / FOLDER):
                raise AlreadyARegistry(root)
            fsio.unmark(root / FOLDER / UNFINISHED)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return root


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock under which refs, reflogs and settings of a registry are written.

    Who was killed with the lock in hand may have renamed a file and not have synced its folder, or have written a line
    of a log. The next one sees it, builds on it, and would lose its own work with it in a power cut. So it makes
    durable what it finds, first.

    Raises:
        LockBusy, DiskFailed.
    """
    with locks.hold(folder / "lock"):
        mark = folder / UNFINISHED
        if mark.exists():
            for place in (folder.parent, folder, *_folders(folder / "refs"), *_folders(folder / "logs")):
                fsio.sync_folder(place)
            for place in _folders(folder / "logs"):
                for name in fsio.files_in(place):
                    fsio.sync(place / name)
        fsio.mark(mark)
        yield
        fsio.unmark(mark)  # not after an error: what failed may have been the syncing


def find(start: Path) -> Path:
    """Return the `.cns` folder of start or of the nearest folder above it, unopened; raises NotARegistry."""
    place = Path(start).resolve()
    for folder in (place, *place.parents):
        if (folder / FOLDER).is_dir():
            return folder / FOLDER
    raise NotARegistry(place)


def check_format(folder: Path) -> None:
    """Refuse a folder that is no registry, or that a newer version made.

    Raises:
        Untrusted, NotARegistry, UnknownFormat.
    """
    trust.check(folder)
    line = fsio.read(folder / "format", LONGEST_LINE)
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


def _build(folder: Path, base: Base, settings: dict[str, Any], author: str, time: int, compose: Compose) -> None:
    write_skeleton(folder, settings)
    store, refs, logs = DiskStore(folder / "objects"), Refs(folder), Reflog(folder / "logs")
    tree = store.put(Tree(store.put(base), {}, compose))
    first = store.put(Commit(tree, (), None, "init", "init", author, time))
    branch = HEADS + FIRST_BRANCH
    for name in (branch, "HEAD"):
        logs.append(name, ReflogEntry(None, first, author, time, "init"))
    refs.compare_and_swap(branch, None, first)
    refs.set_head(ref=branch)


def _folders(top: Path) -> list[Path]:
    return [Path(place) for place, _, _ in os.walk(top)]


def abandoned(root: Path) -> list[Path]:
    """Return the folders that a killed `init` left beside a registry: those that are old."""
    found = []
    for folder in sorted(root.glob(f"{FOLDER}{fsio.TEMPORARY}*")):
        with contextlib.suppress(OSError):
            if folder.is_dir() and clock.time() - folder.stat().st_mtime > ABANDONED_AFTER_S:
                found.append(folder)
    return found


def remove_abandoned(root: Path) -> list[Path]:
    """Remove what a killed `init` left, where nobody holds its lock, and return what is gone."""
    removed = []
    for folder in abandoned(root):
        with contextlib.suppress(OSError, LockBusy, DiskFailed), locks.hold(folder / "lock", timeout_s=0):
            shutil.rmtree(folder)
            removed.append(folder)
    return removed
