"""A registry on disk: the folder `.cns`, its objects, refs, reflog, index and settings, under one roof.

A commit is made in this order: objects, commit object, then under the lock: read the tip again, log the move, swap the
ref. Then it is acknowledged; the index and MLflow follow and may fail. So a crash at any point leaves either the old
tip or the new one, with everything that it needs. This module does not know what a concept's blobs mean.
"""

from __future__ import annotations

import contextlib
import itertools
import time as clock
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import config, layout, revisions, signals
from registry.errors import BranchInUse, NameTaken, RefCorrupt, RefMoved, TipMoved, UnknownRevision
from registry.index import LAG, Index
from registry.names import check_name, check_ref_name, is_id, is_ref_name
from registry.objects import Base, Commit, Concept, Evaluation, Record, Tree
from registry.reflog import Reflog, ReflogEntry
from registry.refs import EVALUATIONS, HEADS, LOST, NAMESPACES, TAGS, Head, Refs
from registry.store import DiskStore
from registry.trees import DOES_NOT_FIT, Change, changed, check_brought, check_tree, concepts_of


@dataclass(frozen=True)
class Committed:
    """An acknowledged commit.

    Attributes:
        rebased: The tip had moved since the caller looked; the change was applied to the new tip.
    """

    id: str
    commit: Commit
    rebased: bool


class Repository:
    """One registry. Open it with `discover` or make it with `init`."""

    def __init__(self, root: Path) -> None:
        """Open the registry in root/.cns.

        Raises:
            NotARegistry: there is none. UnknownFormat: a newer version made it; it is left untouched.
        """
        self.root = Path(root).resolve()
        self.folder = self.root / layout.FOLDER
        layout.check_format(self.folder)
        self.objects = DiskStore(self.folder / "objects")
        self.refs = Refs(self.folder)
        self.reflogs = Reflog(self.folder / "logs")
        self.index = Index(self.folder / "index.db", self.objects)

    @classmethod
    def init(cls, folder: Path, base: Base, settings: dict[str, Any], *, author: str, time: int) -> Repository:
        """Make a registry in folder, on a base model, with one commit of an empty tree.

        It is built beside its place and renamed into it, so that a crash leaves no half-made registry.

        Args:
            folder: Where `.cns` goes; made where there is none.
            base: The base model, by content.
            settings: For config.toml; nested, or with dotted keys such as {"base.source": "emoji-64"}.
            author: Of the first commit.
            time: Of the first commit, unix seconds, UTC.

        Raises:
            AlreadyARegistry: folder holds one.
        """
        return cls(layout.create(folder, base, settings, author=author, time=time))

    @classmethod
    def discover(cls, start: Path) -> Repository:
        """Open the registry of start or of the nearest folder above it; raises NotARegistry."""
        return cls(layout.find(start).parent)

    @property
    def config(self) -> dict[str, Any]:
        """The settings of config.toml, nested, as they are now."""
        return config.load(self.folder / "config.toml")

    def set_config(self, dotted: str, value: Any) -> None:
        """Set a key of config.toml, such as "mlflow.required"; None removes it."""
        with self.locked():
            config.change(self.folder / "config.toml", dotted, value)

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

    def tree_of(self, revision: str) -> Tree:
        """Return the tree of a revision or commit id."""
        commit_id = revision if is_id(revision) else self.resolve(revision)
        return self.objects.get(self.commit_of(commit_id).tree, Tree)

    def concepts(self, tree: Tree) -> dict[str, Concept]:
        """Return {name: concept} of a tree, by name."""
        return concepts_of(tree, self.objects)

    def log(self, start: str = "HEAD", limit: int | None = None) -> Iterator[tuple[str, Commit]]:
        """Yield (id, commit) from a revision back, newest first, at most limit."""
        tip = start if is_id(start) else self.resolve(start)
        if limit is None or limit > LAG:
            self.index.refresh([tip])
        if limit is None:
            self.index.read_ahead()
        return itertools.islice(self.index.log([tip]), limit)

    def commit(
        self,
        *,
        kind: str,
        message: str,
        author: str,
        time: int,
        record: Record | None,
        change: Change,
        seen: str,
        keep_as: str,
    ) -> Committed:
        """Apply a change to the tip of HEAD and move HEAD's branch (or a detached HEAD) there, durably.

        Args:
            kind: One of COMMIT_KINDS, such as "add".
            message: Why.
            author: Who.
            time: Unix seconds, UTC.
            record: How it came; None for a change that has no figures.
            change: Takes the tip's tree and returns the new one; called again where the tip has moved.
            seen: The commit that the caller worked on.
            keep_as: Where the tip moved and the change does not fit: kept as refs/lost/<keep_as>.

        Raises:
            NameTaken, TokenTaken, DeltaTaken, UnknownConcept, NothingToDo: the change does not fit; nothing is written.
            TipMoved: it does not fit on the new tip; its commit, with parent seen, is kept.
        """
        check_name(keep_as)

        def build(parent: str) -> Commit:
            before = self.tree_of(parent)
            tree = changed(before, change, before.base if parent == seen else self.tree_of(seen).base, f"this {kind}")
            check_tree(tree, self.objects)
            check_brought(before, tree, record, self.objects)
            record_id = None if record is None else self.objects.put(record)
            return Commit(self.objects.put(tree), (parent,), record_id, kind, message, author, time)

        with self.locked():
            head = self.head()
            try:
                made = build(head.commit)
            except DOES_NOT_FIT as error:
                if head.commit == seen:
                    raise
                raise self._kept(build(seen), keep_as, error.message) from error
            new = self.objects.put(made)
            subject = (message.splitlines() or [""])[0][:120]
            self._move_head(head, ReflogEntry(head.commit, new, author, time, f"{kind}: {subject}"))
        self.index.refresh([new])
        return Committed(new, made, head.commit != seen)

    def checkout(self, revision: str, *, author: str = "", time: int | None = None) -> Head:
        """Move HEAD: onto a branch where revision is its name, else onto the commit that it means."""
        with self.locked():
            before = self.head()
            if revision in ("HEAD", "@"):
                return before
            branch = revision if is_ref_name(revision) and self.refs.get(HEADS + revision) else None
            commit = self.resolve(HEADS + branch if branch else revision)
            self.commit_of(commit)
            moved = f"checkout: moving from {before.branch or before.commit} to {revision}"
            now = int(clock.time()) if time is None else time
            self.reflogs.append("HEAD", ReflogEntry(before.commit, commit, author, now, moved))
            self.refs.set_head(ref=HEADS + branch if branch else None, commit=commit)
        return self.head()

    def branches(self) -> dict[str, str]:
        """Return {branch: commit id}, by name."""
        return {name.removeprefix(HEADS): commit for name, commit in self.refs.all(HEADS).items()}

    def tags(self) -> dict[str, str]:
        """Return {tag: commit id}, by name."""
        return {name.removeprefix(TAGS): commit for name, commit in self.refs.all(TAGS).items()}

    def create_branch(self, name: str, at: str = "HEAD", *, author: str = "", time: int | None = None) -> str:
        """Make a branch at a revision and return its commit id; raises NameTaken."""
        return self._create(HEADS, "branch", name, at, author, time)

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

    def add_evaluation(self, evaluation: Evaluation) -> str:
        """Store scores, durably, and return their id. Lineages with different scores merge by union.

        Raises:
            ObjectMissing: what they are scores of is not in the store.
        """
        with self.locked():  # so that a collection of garbage sees the object and its ref, or neither
            for needed in evaluation.links():
                self.objects.require(needed, "what was evaluated, object")
            new = self.objects.put(evaluation)
            self.refs.overwrite(f"{EVALUATIONS}{evaluation.tree}/{new}", new)
        return new

    def _kept(self, made: Commit, keep_as: str, reason: str) -> TipMoved:
        commit = self.objects.put(made)
        taken = set(self.refs.names(LOST))
        names = (f"{LOST}{keep_as}{end}" for end in itertools.chain([""], (f"-{n}" for n in itertools.count(2))))
        name = next(name for name in names if name not in taken)
        self._move_ref(name, ReflogEntry(None, commit, made.author, made.time, f"{made.kind}: the tip moved"))
        return TipMoved(name, commit, reason)

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
        now = int(clock.time()) if time is None else time
        with self.locked():
            self.commit_of(commit)  # it may have been garbage, and collected meanwhile
            if self.refs.get(full) is not None:
                raise NameTaken(name, what)
            self._move_ref(full, ReflogEntry(None, commit, author, now, f"{what}: created from {at}"))
        return commit

    def _delete(self, namespace: str, what: str, name: str, author: str, time: int | None) -> str:
        full = namespace + check_ref_name(name, f"{what} name")
        now = int(clock.time()) if time is None else time
        with self.locked():
            found = self.refs.get(full)
            if found is None:
                raise UnknownRevision(name, f"there is no {what} of this name", f"cns {what}")
            if self.refs.head()[0] == full:
                raise BranchInUse(name)
            self._move_ref(full, ReflogEntry(found, None, author, now, f"{what}: deleted"))
        return found
