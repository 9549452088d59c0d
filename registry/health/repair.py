"""What can be made again from what is whole: the format line, refs and HEAD, the reflogs, the index, the mirror.

Objects decide: a ref is set only to a commit that is there, from the newest line of its reflog that is intact. What
holds the only copy of something is never overwritten, so the mirror in MLflow is left alone while an object is missing
that it may still have. Objects themselves come from elsewhere: `cns mlflow restore`, a clone, a backup.
"""

from __future__ import annotations

import re
import time as clock
from pathlib import Path

from registry import fsio, layout
from registry.errors import RegistryError
from registry.index import Index
from registry.objects import Commit
from registry.reflog import Reflog, ReflogEntry
from registry.refs import COMMITS, HEADS, Refs
from registry.repository import Repository
from registry.store import DiskStore

_MOVED_TO = re.compile(r"(?:checkout: moving|branch: renamed) from \S+ to (\S+)")


def rebuild_names(folder: Path, *, author: str, now: int | None = None) -> list[str]:
    """Mend the format line, refs, HEAD and reflogs of a `.cns` folder, under its lock, and say what was done.

    Raises:
        UnknownFormat: a newer version made the registry. LockBusy, DiskFailed.
    """
    with layout.locked(folder):
        return _Repair(folder, author, int(clock.time()) if now is None else now).run()


def rebuild_commits(folder: Path, wanted: list[str]) -> list[str]:
    """Put commits that are damaged or gone again from the index, which holds the bytes of each, and say which."""
    store = DiskStore(folder / "objects")
    index = Index(folder / "index.db", store)
    copies = {commit_id: copy for commit_id in wanted if (copy := index.stored(commit_id)) is not None}
    index.close()
    for copy in copies.values():
        store.put(copy)
    return [f"put commit {commit_id[:10]} again from index.db" for commit_id in copies]


def rebuild_index(repository: Repository) -> list[str]:
    """Make the index again from the objects and say so; empty where that is not possible now."""
    tips = {repository.head().commit, *repository.refs.all(*COMMITS).values()}
    return ["made index.db again from the objects"] if repository.index.rebuild(sorted(tips)) else []


class _Repair:
    def __init__(self, folder: Path, author: str, now: int) -> None:
        self.folder = folder
        self.author = author
        self.now = now
        self.refs = Refs(folder)
        self.logs = Reflog(folder / "logs")
        self.store = DiskStore(folder / "objects")
        self.done: list[str] = []

    def run(self) -> list[str]:
        self._format()
        for ref in self.logs.names():
            if ref != "HEAD" and self._broken(ref):
                self._set_ref(ref)
        self._set_head()
        for ref in self.logs.names():
            self._mend_log(ref)
        return self.done

    def _format(self) -> None:
        line = f"{layout.FORMAT_LINE}{layout.FORMAT}\n".encode()
        found = fsio.read(self.folder / "format")
        if found != line:
            fsio.replace(self.folder / "format", line)
            self.done.append("wrote the file format again")

    def _broken(self, ref: str) -> bool:
        """True for a ref whose file is damaged. One that is gone was perhaps deleted, and is left alone."""
        try:
            self.refs.get(ref)
        except RegistryError:
            return True
        return ref == self._head_ref() and self.refs.get(ref) is None

    def _head_ref(self) -> str | None:
        try:
            return self.refs.head()[0]
        except RegistryError:
            return None

    def _set_ref(self, ref: str) -> None:
        for move in reversed(self.logs.entries(ref)):
            if move.new is not None and self.store.holds(move.new, Commit):
                self.refs.overwrite(ref, move.new)
                self.done.append(f"set {ref} to {move.new[:10]}, from its reflog")
                return

    def _set_head(self) -> None:
        """Set HEAD where it is damaged: onto the branch that its reflog says if that is where it was, else detached."""
        try:
            branch, _ = self.refs.head()
            if branch is None or self.refs.get(branch) is not None:
                return
        except RegistryError:
            pass
        moves = [
            move for move in self.logs.entries("HEAD") if move.new is not None and self.store.holds(move.new, Commit)
        ]
        if not moves:
            return
        commit = moves[-1].new or ""
        switched = [match.group(1) for move in moves if (match := _MOVED_TO.fullmatch(move.message))]
        named = HEADS + (switched[-1] if switched else layout.FIRST_BRANCH)
        ref = named if self._value(named) == commit else None
        self.refs.set_head(ref=ref, commit=None if ref else commit)
        self.done.append(f"set HEAD to {ref or commit[:10]}, from its reflog")

    def _mend_log(self, ref: str) -> None:
        """Drop lines that are damaged or name what is gone, and let the log end where its ref is."""
        current = self._value(ref)
        entries = self.logs.entries(ref)
        damaged = self.logs.damaged(ref)
        kept = [move for move in entries if move.new is None or self.store.has(move.new)]
        newest = next((move.new for move in self.logs.read(ref, current)), None)
        if not damaged and len(kept) == len(entries) and (current is None or newest == current):
            return
        if current is not None and (not kept or kept[-1].new != current):
            old = kept[-1].new if kept else None
            kept.append(ReflogEntry(old, current, self.author, self.now, "fsck: the moves before this one are gone"))
        self.logs.rewrite(ref, kept)
        self.done.append(f"mended the reflog of {ref}")

    def _value(self, ref: str) -> str | None:
        try:
            if ref != "HEAD":
                return self.refs.get(ref)
            branch, commit = self.refs.head()
            return self.refs.get(branch) if branch else commit
        except RegistryError:
            return None
