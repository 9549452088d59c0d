"""One turn of `fsck`: what it has read so far, and how its parts say what they saw.

Every part of the check walks files, notes which objects are held by which name, and adds findings. That is here; what
is checked is in `registry.health.fsck` and `registry.health.refs`.
"""

from __future__ import annotations

import os
import sys
import time as clock
from collections.abc import Iterator
from pathlib import Path

from registry import config
from registry.errors import DiskFailed, ObjectCorrupt, ObjectMissing, RegistryError, UnknownFormat
from registry.fsio import TEMPORARY
from registry.health.findings import Findings, Graph
from registry.mirror.server import URI_KEY
from registry.objects import Concept, Need, Tree
from registry.reflog import Reflog
from registry.refs import Refs
from registry.store import DiskStore

REBUILD = "cns fsck --rebuild"
RESTORE = "cns mlflow restore"
IN_TIME = "nothing: cns gc removes it in time"


class Scan:
    """What is known of one `.cns` folder.

    Attributes:
        folder: The `.cns` folder.
        report, graph: The answer, and what needs what, as far as both were made.
        values: {ref or HEAD: the id that it holds}; None where it is missing or damaged.
        roots: Ids that a name holds.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = DiskStore(folder / "objects")
        self.refs = Refs(folder)
        self.logs = Reflog(folder / "logs")
        self.report = Findings()
        self.graph = Graph()
        self.values: dict[str, str | None] = {}
        self.roots: set[str] = set()

    def files(self, folder: Path | str) -> Iterator[Path]:
        """Yield every file below a folder, sorted. Temporaries, and what cannot be listed, become findings instead."""
        try:
            with os.scandir(folder) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except OSError as error:
            self.unreadable(Path(folder), DiskFailed("read", Path(folder), error))
            return
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from self.files(entry.path)
                continue
            path = Path(entry.path)
            if entry.name.startswith(TEMPORARY):
                self.temporary(path)
            elif _is_file(entry):
                yield path
            elif path.exists() or path.is_symlink():  # else it went while we read
                self.report.add("error", "unreadable", "this is no regular file", self.name(path), "remove it")

    def name(self, path: Path) -> str:
        """Return a path as findings write it."""
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)

    def object(self, wanted: str) -> bool:
        """Read an object and note what it needs; False where it is not there or, which is a finding, not whole."""
        path, graph = self.store.path(wanted), self.graph
        try:
            obj = self.store.load(wanted)
            size = path.stat().st_size
        except (ObjectMissing, FileNotFoundError):
            return False
        except (RegistryError, OSError, MemoryError) as error:
            graph.bad.add(wanted)
            code, what = _what_is_bad(error)
            self.report.add("error", code, what, self.name(path), object_id=wanted)
            return False
        kind = obj.object_kind
        self.report.objects[kind] = self.report.objects.get(kind, 0) + 1
        self.report.bytes += size
        graph.kinds[wanted] = kind
        if needed := obj.needs():  # shared strings: a thousand trees name the same concepts
            graph.needs[wanted] = tuple(Need(sys.intern(n.object_id), n.kinds, sys.intern(n.role)) for n in needed)
        if isinstance(obj, Tree):
            for name, concept in obj.concepts.items():
                graph.names.setdefault(concept, name)
        elif isinstance(obj, Concept):
            graph.names[wanted] = obj.name
        return True

    def unreadable(self, path: Path, error: DiskFailed) -> None:
        """Add that a file or folder cannot be read."""
        self.report.add("error", "unreadable", error.message, self.name(path), error.hint)

    def temporary(self, path: Path) -> None:
        """Add that a temporary file lies there."""
        try:
            hours = max(0.0, clock.time() - path.lstat().st_mtime) / 3600
        except FileNotFoundError:
            return
        what = f"a temporary file, {hours:.1f} hours old, of a write that is going on or was interrupted"
        self.report.add("info", "temporary", what, self.name(path), IN_TIME)

    def hold(self, name: str, wanted: str, kind: str, path: str) -> None:
        """Note that a name holds an object, and add where it is not there or of another kind."""
        self.roots.add(wanted)
        if wanted not in self.graph.kinds and wanted not in self.graph.bad:
            self.object(wanted)  # it may have come while we read
        found = self.graph.kinds.get(wanted)
        if found == kind or wanted in self.graph.bad:
            return
        moved = "@{" in name
        state = "not in the store" if found is None else f"a {found}"
        what = f"{name} names {wanted[:10]}, which is {state}: expected a {kind}"
        code = "reflog-dangling" if moved else "ref-dangling"
        fix = f"{RESTORE}; {REBUILD} drops that line" if moved else ""
        self.report.add("error", code, what, path, fix, wanted, found or kind)

    def object_fix(self, wanted: str) -> str:
        """Say where an object can come from again."""
        copied = f"copy .cns/objects/{wanted[:2]}/{wanted[2:]} from a clone or a backup"
        mirrored = (self.folder / "mlflow.db").is_file() or self.mirror_is_elsewhere()
        return f"{RESTORE}, or {copied}" if mirrored else copied

    def ref_fix(self, name: str) -> str:
        """Say where the value of a ref or of HEAD can come from again."""
        try:
            known = bool(self.logs.entries(name))
        except RegistryError:
            known = False
        return f"{REBUILD} (its reflog has the value)" if known else RESTORE

    def mirror_is_elsewhere(self) -> bool:
        """True where the mirror is on a server."""
        try:
            uri = config.lookup(config.load(self.folder / "config.toml"), URI_KEY)
        except RegistryError:
            return False
        return isinstance(uri, str) and uri != f"sqlite:///{self.folder / 'mlflow.db'}"


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link in a circle
        return False


def _what_is_bad(error: Exception) -> tuple[str, str]:
    """Return (code, text) of a finding about an object that could not be read."""
    if isinstance(error, ObjectCorrupt):
        return "object-corrupt", f"is corrupt: {error.reason}"
    code = "object-unknown-format" if isinstance(error, UnknownFormat) else "object-unreadable"
    return code, f"cannot be read: {getattr(error, 'message', '') or str(error) or type(error).__name__}"
