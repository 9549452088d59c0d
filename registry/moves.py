"""What moves in a registry: HEAD, branches and tags. Everything else in it stays as it was written.

A move is made under the lock, and logged before it is made, so that none is forgotten and each can be undone. This
module moves what it is told to; it makes no commit.
"""

from __future__ import annotations

import contextlib
import time as clock
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from registry import layout, revisions, signals
from registry.errors import BranchInUse, NameTaken, RefCorrupt, RefMoved, RegistryError, UnknownRevision
from registry.index import Index
from registry.names import check_ref_name, is_id, is_ref_name
from registry.objects import Commit
from registry.reflog import Reflog, ReflogEntry
from registry.refs import ALIASES, HEADS, NAMESPACES, TAGS, Head, Refs
from registry.store import DiskStore


class NothingToUndo(RegistryError):
    """HEAD, or a branch, has no move that could be taken back."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(
            f"nothing to undo: no earlier place of {name} is recorded; expected a move in its reflog",
            f"cns reflog {name}",
        )


class LoggedRefs:
    """The names of a registry, the log of where they were, and the commits that they name.

    Attributes:
        folder: `.cns`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = DiskStore(folder / "objects")
        self.refs = Refs(folder)
        self.reflogs = Reflog(folder / "logs")
        self.index = Index(folder / "index.db", self.objects)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock under which refs, reflogs and settings are written; raises LockBusy.

        Waiting for it can be interrupted. With it in hand a Ctrl-C waits for what was begun, and so does a second one.
        """
        with layout.locked(self.folder), signals.held(patience=2):
            yield

    def head(self) -> Head:
        """Return where HEAD is; raises RefCorrupt where it, or its branch, cannot be read."""
        ref, commit = self.refs.head()
        if ref is None:
            return Head(None, commit or "")
        found = self.refs.get(ref)
        if found is None:
            raise RefCorrupt(ref, self.refs.path(ref), "is missing")
        return Head(ref.removeprefix(HEADS), found)

    def resolve(self, revision: str) -> str:
        """Return the commit id that a revision means; see `registry.revisions`."""
        return revisions.resolve(self, revision)

    def commit_of(self, commit_id: str) -> Commit:
        """Return a commit by its full id, verified."""
        return self.objects.get(commit_id, Commit)

    def parents(self, commit_id: str) -> tuple[str, ...]:
        """Return the ids of a commit's parents, the first one first: what `registry.dag` asks for."""
        return self.index.parents(commit_id)

    def checkout(self, revision: str, *, author: str = "", time: int | None = None) -> Head:
        """Move HEAD: onto a branch where revision is its name, else onto the commit that it means."""
        with self.locked():
            before = self.head()
            if revision in ("HEAD", "@"):
                return before
            self._switch(before, revision, "", author, time)
        return self.head()

    def previous(self) -> str:
        """Return the branch, or the id of the commit, that HEAD was on before its last checkout."""
        head = self.head()
        left = (move.came_from for move in self.reflog())
        found = next((place for place in left if place not in (None, head.branch or head.commit)), None)
        if found is None:
            raise UnknownRevision("-", "HEAD was on no other branch or commit before", "cns branch")
        return found

    def move(self, to: str, *, message: str, author: str, time: int | None = None, old: str | None = None) -> Head:
        """Move HEAD's branch, or a detached HEAD, to a commit: on or back, or to quite another one. The log keeps it.

        Args:
            to: Id of the commit. Where HEAD is there already, nothing is done and nothing is logged.
            message: Why, for the reflog.
            author: Who.
            time: Unix seconds, UTC; None for now.
            old: The commit that HEAD must be at, of a caller who has looked.

        Raises:
            RefMoved: HEAD is not at `old`. ObjectMissing: there is no such commit.
        """
        with self.locked():
            head = self.head()
            if old not in (None, head.commit):
                raise RefMoved("HEAD", old, head.commit)
            self.commit_of(to)
            if to != head.commit:
                self._move_head(head, ReflogEntry(head.commit, to, author, _now(time), message))
        self.index.refresh([to])
        return Head(head.branch, to)

    def undo(self, name: str = "HEAD", *, author: str, time: int | None = None) -> ReflogEntry:
        """Take the last move of HEAD, or of a branch, back, and return it. Undone once more, it is made again.

        A checkout is undone by one: HEAD is on its former branch again, or detached. A deleted branch is there again.

        Raises:
            NothingToUndo: it is as it was made, or its log does not say where it was.
            UnknownRevision: HEAD was on a branch that is gone.
        """
        full = name if name == "HEAD" else HEADS + check_ref_name(name)
        with self.locked():
            head = self.head()
            at = head.commit if full == "HEAD" else self.refs.get(full)
            moves = (move for move in self.reflog(full) if move.came_from != (head.branch or head.commit))
            # but for a checkout that led nowhere, and a renaming
            last = next((move for move in moves if move.came_from or move.old != move.new), None)
            if last is None or last.old is None or last.new != at:
                raise NothingToUndo(name)
            label = "redo: " if last.message.startswith("undo: ") else "undo: "
            if last.came_from is not None:
                self._switch(head, self._still_there(last.came_from), label, author, time)
                return last
            self.commit_of(last.old)
            message = label + last.message.removeprefix("undo: ").removeprefix("redo: ")
            entry = ReflogEntry(at, last.old, author, _now(time), message)
            if full == "HEAD":
                self._move_head(head, entry)
            else:
                self._move_ref(full, entry)
        return last

    def branches(self) -> dict[str, str]:
        """Return {branch: commit id}, by name."""
        return {name.removeprefix(HEADS): commit for name, commit in self.refs.all(HEADS).items()}

    def tags(self) -> dict[str, str]:
        """Return {tag: commit id}, by name."""
        return {name.removeprefix(TAGS): commit for name, commit in self.refs.all(TAGS).items()}

    def aliases(self) -> dict[str, str]:
        """Return {alias: commit id}, by name."""
        return {name.removeprefix(ALIASES): commit for name, commit in self.refs.all(ALIASES).items()}

    def create_branch(self, name: str, at: str = "HEAD", *, author: str = "", time: int | None = None) -> str:
        """Make a branch at a revision and return its commit id; raises NameTaken."""
        return self._create(HEADS, "branch", name, at, author, time)

    def rename_branch(self, old: str, new: str, *, author: str = "", time: int | None = None) -> str:
        """Give a branch another name, with its log; HEAD goes with it. What the old name meant stays in its own log.

        Returns:
            Where it is.

        Raises:
            BadName, NameTaken.
            UnknownRevision: there is no such branch.
        """
        source, target = HEADS + check_ref_name(old, "branch name"), HEADS + check_ref_name(new, "branch name")
        with self.locked():
            commit = self.refs.get(source)
            if commit is None:
                raise UnknownRevision(old, "there is no branch of this name", "cns branch")
            if self.refs.get(target) is not None:
                raise NameTaken(new, "branch", hint="cns branch")
            entry = ReflogEntry(commit, commit, author, _now(time), f"branch: renamed from {old} to {new}")
            log = [*self.reflogs.entries(target), *reversed(self.reflog(source)), entry]
            self.reflogs.rewrite(target, log)
            self.refs.compare_and_swap(target, None, commit)
            if self.refs.head()[0] == source:
                self.reflogs.append("HEAD", entry)
                self.refs.set_head(ref=target)
            self._move_ref(source, replace(entry, new=None))
        return commit

    def create_tag(self, name: str, at: str = "HEAD", *, author: str = "", time: int | None = None) -> str:
        """Make a tag at a revision and return its commit id; raises NameTaken."""
        return self._create(TAGS, "tag", name, at, author, time)

    def delete_branch(self, name: str, *, author: str = "", time: int | None = None) -> str:
        """Remove a branch, whose commits stay, and return where it was; raises UnknownRevision, BranchInUse."""
        return self._delete(HEADS, "branch", name, author, time)

    def delete_tag(self, name: str, *, author: str = "", time: int | None = None) -> str:
        """Remove a tag, whose commit stays, and return where it was; raises UnknownRevision."""
        return self._delete(TAGS, "tag", name, author, time)

    def move_ref(self, name: str, old: str | None, new: str | None, *, author: str, time: int, message: str) -> None:
        """Log and move a ref by its full name; None stands for no ref. Raises RefMoved where it is not at old."""
        with self.locked():
            if new is not None:
                self.commit_of(new)
            self._move_ref(name, ReflogEntry(old, new, author, time, message))

    def reflog(self, ref: str = "HEAD") -> list[ReflogEntry]:
        """Return the moves of HEAD, a branch, or a ref by its full name, newest first."""
        if ref == "HEAD":
            return self.reflogs.read("HEAD", self.head().commit)
        full = ref if ref.startswith(NAMESPACES) else HEADS + ref
        return self.reflogs.read(full, self.refs.get(full))

    def _still_there(self, place: str) -> str:
        if not is_id(place) and self.refs.get(HEADS + place) is None:
            raise UnknownRevision(place, "the branch that HEAD was on is gone", f"cns undo {place}")
        return place

    def _switch(self, before: Head, revision: str, label: str, author: str, time: int | None) -> None:
        branch = revision if is_ref_name(revision) and self.refs.get(HEADS + revision) else None
        commit = self.resolve(HEADS + branch if branch else revision)
        self.commit_of(commit)
        moved = f"{label}checkout: moving from {before.branch or before.commit} to {revision}"
        self.reflogs.append("HEAD", ReflogEntry(before.commit, commit, author, _now(time), moved))
        self.refs.set_head(ref=HEADS + branch if branch else None, commit=commit)

    def _move_head(self, head: Head, entry: ReflogEntry) -> None:
        if head.branch is not None:
            self._move_ref(HEADS + head.branch, entry)
        else:
            self.reflogs.append("HEAD", entry)
            self.refs.set_head(commit=entry.new)

    def _move_ref(self, name: str, entry: ReflogEntry) -> None:
        found = self.refs.get(name)
        if found != entry.old:  # before it is logged: a refused move leaves no trace
            raise RefMoved(name, entry.old, found)
        if self.refs.head()[0] == name:
            self.reflogs.append("HEAD", entry)
        self.reflogs.append(name, entry)
        self.refs.compare_and_swap(name, entry.old, entry.new)

    def _create(self, namespace: str, what: str, name: str, at: str, author: str, time: int | None) -> str:
        full = namespace + check_ref_name(name, f"{what} name")
        commit = self.resolve(at)
        with self.locked():
            self.commit_of(commit)  # it may have been garbage, and collected meanwhile
            if self.refs.get(full) is not None:
                raise NameTaken(name, what)
            self._move_ref(full, ReflogEntry(None, commit, author, _now(time), f"{what}: created from {at}"))
        return commit

    def _delete(self, namespace: str, what: str, name: str, author: str, time: int | None) -> str:
        full = namespace + check_ref_name(name, f"{what} name")
        with self.locked():
            found = self.refs.get(full)
            if found is None:
                raise UnknownRevision(name, f"there is no {what} of this name", f"cns {what}")
            if self.refs.head()[0] == full:
                raise BranchInUse(name)
            self._move_ref(full, ReflogEntry(found, None, author, _now(time), f"{what}: deleted"))
        return found


def _now(time: int | None) -> int:
    return int(clock.time()) if time is None else time
