"""A registry on disk: the folder `.cns`, its objects, refs, reflog, index and settings, under one roof.

A commit is made in this order: objects, commit object, then under the lock: read the tip again, log the move, swap the
ref. Then it is acknowledged; the index and MLflow follow and may fail. So a crash at any point leaves either the old
tip or the new one, with everything that it needs. This module does not know what a concept's blobs mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry import config, layout, revisions
from registry.errors import TipMoved
from registry.index import LAG
from registry.moves import LoggedRefs
from registry.names import check_name, is_id
from registry.objects import Base, Commit, Compose, Concept, Evaluation, Record, Tree
from registry.reflog import ReflogEntry
from registry.refs import EVALUATIONS, LOST
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


class Repository(LoggedRefs):
    """One registry. Open it with `discover` or make it with `init`."""

    def __init__(self, root: Path) -> None:
        """Open the registry in root/.cns.

        Raises:
            NotARegistry: there is none. UnknownFormat: a newer version made it; it is left untouched.
        """
        self.root = Path(root).resolve()
        layout.check_format(self.root / layout.FOLDER)
        super().__init__(self.root / layout.FOLDER)

    @classmethod
    def init(
        cls,
        folder: Path,
        base: Base,
        settings: dict[str, Any],
        *,
        author: str,
        time: int,
        compose: Compose = "all",
    ) -> Repository:
        """Make a registry in folder, on a base model, with one commit of an empty tree.

        It is built beside its place and renamed into it, so that a crash leaves no half-made registry.

        Args:
            folder: Where `.cns` goes; made where there is none.
            base: The base model, by content.
            settings: For config.toml; nested, or with dotted keys such as {"base.source": "emoji-64"}.
            author: Of the first commit.
            time: Of the first commit, unix seconds, UTC.
            compose: What prompts see of the trees that begin here.

        Raises:
            AlreadyARegistry: folder holds one.
        """
        return cls(layout.create(folder, base, settings, author=author, time=time, compose=compose))

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

    def tree_of(self, revision: str) -> Tree:
        """Return the tree of a revision or commit id."""
        commit_id = revision if is_id(revision) else self.resolve(revision)
        return self.objects.get(self.commit_of(commit_id).tree, Tree)

    def concepts(self, tree: Tree) -> dict[str, Concept]:
        """Return {name: concept} of a tree, by name."""
        return concepts_of(tree, self.objects)

    def log(self, start: str = "HEAD", limit: int | None = None) -> Iterator[tuple[str, Commit]]:
        """Yield (id, commit) from a revision back, or of a range such as "A..B", newest first, at most limit."""
        tips, excluded = ([start], []) if is_id(start) else revisions.commits_of(self, start)
        if excluded or limit is None or limit > LAG:
            self.index.refresh([*tips, *excluded])
        if limit is None:
            self.index.read_ahead()
        return itertools.islice(self.index.log(tips, excluded), limit)

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
        merged: Sequence[str] = (),
    ) -> Committed:
        """Apply a change to the tip of HEAD and move HEAD's branch (or a detached HEAD) there, durably.

        A commit with more than one parent may leave the tree as it is: it joins histories.

        Args:
            kind: One of COMMIT_KINDS, such as "add".
            message: Why.
            author: Who.
            time: Unix seconds, UTC.
            record: How it came; None for a change that has no figures.
            change: Takes the tip's tree and returns the new one; called again where the tip has moved.
            seen: The commit that the caller worked on.
            keep_as: Where the tip moved and the change does not fit: kept as refs/lost/<keep_as>.
            merged: Ids of the commits that become parents behind the tip, in this order.

        Raises:
            NameTaken, TokenTaken, DeltaTaken, UnknownConcept, NothingToDo: the change does not fit; nothing is written.
            TipMoved: it does not fit on the new tip; its commit, with parent seen, is kept.
        """
        check_name(keep_as)

        def build(parent: str) -> Commit:
            parents = tuple(dict.fromkeys((parent, *merged)))
            before = [self.tree_of(one) for one in parents]
            base = before[0].base if parent == seen else self.tree_of(seen).base
            tree = changed(before[0], change, base, f"this {kind}", joins=len(parents) > 1)
            check_tree(tree, self.objects)
            check_brought(before, tree, record, self.objects)
            record_id = None if record is None else self.objects.put(record)
            return Commit(self.objects.put(tree), parents, record_id, kind, message, author, time)

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
