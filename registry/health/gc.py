"""Collecting garbage: removing objects that no name has reached for a while, and what interrupted writes left.

What is reachable is found without the lock, since that takes longest and only ever grows; under the lock it is brought
up to date, and only then something is removed. Three rules keep a writer safe who has put objects and has not committed
yet. What was put, or put again, in the last two weeks stays, and so does all that it needs. A file is moved aside
before its time is read, so that a put at the same moment is either seen or finds nothing and writes anew. And a commit
looks under the same lock whether everything new is still there, so that one that waited longer is refused, not broken.

Removal goes from what needs to what is needed, commits before blobs: a kill at any point leaves no object without its
parts. Where anything is damaged that may name other objects, nothing is removed at all.
"""

from __future__ import annotations

import contextlib
import time as clock
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from registry import fsio, layout
from registry.dag import needed_first
from registry.errors import DiskFailed, LockBusy, RegistryError
from registry.health.reachability import Marks, in_progress, tips
from registry.pending import Pending
from registry.reflog import ReflogEntry
from registry.refs import ALIASES, EVALUATIONS
from registry.repository import Repository

DAY_S = 86_400.0
# git's grace periods: for loose objects, for moves of reflogs, and for moves to what no ref reaches any more.
GRACE_S = 14 * DAY_S
MOVES_S = 90 * DAY_S
UNREACHABLE_MOVES_S = 30 * DAY_S
# "Now" is a little before now: the kernel stamps files with a clock that is some milliseconds behind.
NOW_MARGIN_S = 2.0
# The shortest life of a temporary file, whatever the grace: its writer holds no lock while it writes an object.
TEMPORARY_S = 3600.0


class NotCollected(RegistryError):
    """Something is damaged, so that nobody can say what is still needed; nothing was removed."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(
            f"nothing was removed, because what is still needed cannot be told: {reason}; expected a whole registry",
            "cns fsck",
        )


@dataclass
class GcReport:
    """What a collection removed or, with dry_run, would remove.

    Attributes:
        dry_run: Nothing was changed.
        reachable: Number of objects that a name reaches. young: Unreachable ones that are in their grace, or needed by
            one that is.
        removed: Objects by kind; "damaged" stands for those that cannot be read. freed_bytes: Size of what is gone.
        evaluations: Names of evaluation refs whose model nothing reaches.
        moves: {ref: number of moves that its reflog dropped}.
        temporaries: Files, and folders beside the registry, that interrupted writes left; states of interrupted
            trainings that nobody resumed, never before `GRACE_S`.
    """

    dry_run: bool
    reachable: int = 0
    young: int = 0
    removed: dict[str, int] = field(default_factory=dict)
    freed_bytes: int = 0
    evaluations: list[str] = field(default_factory=list)
    moves: dict[str, int] = field(default_factory=dict)
    temporaries: list[Path] = field(default_factory=list)


def collect(
    repository: Repository, *, grace_s: float = GRACE_S, dry_run: bool = False, now: float | None = None
) -> GcReport:
    """Remove what nothing has reached for longer than the grace.

    Args:
        repository: The registry.
        grace_s: How long unreachable objects stay, in seconds since they were last put; 0: remove them all.
        dry_run: Only say what would go.
        now: Unix seconds that ages are counted from; None takes the clock.

    Raises:
        NotCollected: something is damaged; nothing was removed.
        LockBusy, DiskFailed.
    """
    collection = _Collection(repository, grace_s, dry_run, clock.time() if now is None else now)
    with contextlib.suppress(RegistryError):  # what is wrong here is looked at again with the lock in hand
        collection.mark()
    with repository.locked():
        collection.run()
    return collection.report


class _Collection:
    """One collection. Its marks only grow, which errs on the side of keeping."""

    def __init__(self, repository: Repository, grace_s: float, dry_run: bool, now: float) -> None:
        self.repository = repository
        self.store = repository.objects
        self.report = GcReport(dry_run)
        self.now = now
        self.before = now - max(grace_s, NOW_MARGIN_S)
        self.temporaries_before = now - max(grace_s, TEMPORARY_S)
        self.marks = Marks(self.store)
        self.doomed_refs: list[str] = []

    def mark(self) -> dict[str, list[ReflogEntry]]:
        """Mark what is reachable; return the reflogs as they shall be."""
        repository = self.repository
        held = sorted({repository.head().commit, *tips(repository.refs).values()})
        self.marks.extend(held)
        logs, ends = self._surviving(frozenset(commit for commit, _ in repository.index.log(held)))
        named = {known for ids in in_progress(repository.folder).values() for known in ids}
        for ids in (ends, named):
            self.marks.extend(sorted(known for known in ids if self.store.has(known)))
        self._mark_evaluations()
        return logs

    def run(self) -> None:
        """Bring the marks up to date and remove, under the lock."""
        try:
            logs = self.mark()
        except (LockBusy, DiskFailed):
            raise
        except RegistryError as error:
            raise NotCollected(error.message) from error
        doomed = self._doomed()
        self._shorten(logs)
        for name in self.doomed_refs:
            self.report.evaluations.append(name)
            if not self.report.dry_run:
                fsio.remove(self.repository.refs.path(name))
        self._remove(doomed)
        self._remove_temporaries()

    def _surviving(self, reachable: frozenset[str]) -> tuple[dict[str, list[ReflogEntry]], set[str]]:
        """Return {ref: the moves that stay, oldest first}, by git's rule, and the ids that they hold.

        The newest move stays always, since it says where the ref is; once it is old it does not hold where it was.
        """
        found: dict[str, list[ReflogEntry]] = {}
        ends: set[str | None] = set()
        for ref in self.repository.reflogs.names():
            damaged = self.repository.reflogs.damaged(ref)
            if damaged[:-1] or (damaged and not self.repository.reflogs.torn(ref)):
                raise NotCollected(f"line {damaged[0]} of the reflog of {ref} is damaged")
            moves = self.repository.reflogs.entries(ref)
            # Who put an alias where, and by which check, is kept for good, and so are the models that it named.
            kept_for_good = ref.startswith(ALIASES)
            young = [move for move in moves if kept_for_good or not self._expired(move, reachable)]
            # The last line may be of a move that a kill prevented: the newest one that came stays, too.
            current = self.repository.head().commit if ref == "HEAD" else self.repository.refs.get(ref)
            newest = moves[-1:] + self.repository.reflogs.read(ref, current)[:1]
            found[ref] = [move for move in moves if move in young or move in newest]
            ends |= {end for move in young for end in (move.old, move.new)}
            ends |= {move.new for move in newest}
        return found, {end for end in ends if end is not None}

    def _expired(self, move: ReflogEntry, reachable: frozenset[str]) -> bool:
        whole = all(end is None or end in reachable for end in (move.old, move.new))
        return move.time < self.now - (MOVES_S if whole else UNREACHABLE_MOVES_S)

    def _mark_evaluations(self) -> None:
        """Mark the scores of models that are reachable, or that were just made; the others are doomed."""
        refs = self.repository.refs
        waiting = set(refs.names(EVALUATIONS))
        while True:
            alive = self.marks.seen | self.marks.baselines()
            kept = {name for name in waiting if self._is_kept(name, alive)}
            if not kept:
                break
            values = (refs.get(name) for name in sorted(kept))
            self.marks.extend(value for value in values if value is not None)
            waiting -= kept
        self.doomed_refs = sorted(waiting)

    def _is_kept(self, name: str, alive: Container[str]) -> bool:
        """Whether the scores behind a ref stay, where some trees are alive."""
        tree = name.split("/")[2]
        return tree in alive or self._is_young(self.repository.refs.path(name)) or self.marks.can_be_seen(tree)

    def _is_young(self, path: Path) -> bool:
        try:
            return path.lstat().st_mtime >= self.before
        except FileNotFoundError:
            return False

    def _doomed(self) -> list[str]:
        """Return what shall be removed, what needs before what is needed."""
        loose = [known for known in self.store.ids() if known not in self.marks.seen]
        young = [known for known in loose if self._is_young(self.store.path(known))]
        kept = Marks(self.store, self.marks.seen, tolerant=True)
        kept.extend(young)
        doomed = [known for known in loose if known not in kept.seen]
        self.report.reachable = len(self.marks.seen)
        self.report.young = len(loose) - len(doomed)
        among = set(doomed)
        return list(needed_first(reversed(doomed), self._needs, lambda known: known not in among))[::-1]

    def _needs(self, wanted: str) -> tuple[str, ...]:
        try:
            return () if self.store.kind_of(wanted) == "blob" else self.store.load(wanted).links()
        except RegistryError:
            return ()  # damaged, and needed by nothing that stays

    def _shorten(self, logs: dict[str, list[ReflogEntry]]) -> None:
        for ref, moves in logs.items():
            dropped = len(self.repository.reflogs.entries(ref)) - len(moves)
            if dropped:
                self.report.moves[ref] = dropped
                if not self.report.dry_run:
                    self.repository.reflogs.rewrite(ref, moves)

    def _remove(self, doomed: list[str]) -> None:
        kinds = {known: self._kind(known) for known in doomed}
        gone: list[str] = []
        # Two passes, each made durable, so that a power cut does not leave a commit whose blobs are gone.
        for blobs in (False, True):
            folders = set()
            for known in doomed:
                if (kinds[known] == "blob") == blobs and self._remove_object(known, kinds[known]):
                    folders.add(self.store.path(known).parent)
                    gone.append(known)
            for folder in () if self.report.dry_run else sorted(folders):
                fsio.sync_folder(folder)
        if gone and not self.report.dry_run:
            self.repository.index.forget([known for known in gone if kinds[known] == "commit"])

    def _remove_object(self, known: str, kind: str) -> bool:
        path = self.store.path(known)
        try:
            size = path.lstat().st_size
        except FileNotFoundError:
            return False
        if not self.report.dry_run and not fsio.discard(path, self.before):
            self.report.young += 1  # it was put again just now
            return False
        self.report.removed[kind] = self.report.removed.get(kind, 0) + 1
        self.report.freed_bytes += size
        return True

    def _kind(self, known: str) -> str:
        try:
            return self.store.kind_of(known)
        except RegistryError:
            return "damaged"

    def _remove_temporaries(self) -> None:
        """Remove old temporary files, old states of trainings, and what a killed `init` left beside the registry."""
        folder = self.repository.folder
        old = [path for path in sorted(folder.rglob(f"{fsio.TEMPORARY}*")) if self._is_old_temporary(path)]
        abandoned = self.now - max(GRACE_S, self.now - self.before)
        old += [state.path for state in Pending(folder).all() if state.saved < abandoned]
        for path in old:
            self.report.temporaries.append(path)
            self.report.freed_bytes += path.lstat().st_size
            if not self.report.dry_run:
                fsio.remove(path)
        root = self.repository.root
        self.report.temporaries += layout.abandoned(root) if self.report.dry_run else layout.remove_abandoned(root)

    def _is_old_temporary(self, path: Path) -> bool:
        ours = path.relative_to(self.repository.folder).parts[0] not in ("cache", "mlartifacts")
        return ours and path.is_file() and path.lstat().st_mtime < self.temporaries_before
