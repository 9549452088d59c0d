"""From a remote to a registry: packs, then refs.

An object is kept when it hashes to its id and all that it needs is here, of the right kind; so at any point everything
here is closed, and a fetch that dies is continued by the next. Garbage collection leaves alone what is younger than two
weeks and what that needs. Refs move under the lock, after a look at what the commits that are new to them need.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from registry.dag import needed_first, reachable
from registry.errors import ObjectMissing
from registry.names import is_ref_name
from registry.objects import Blob, Commit, Evaluation
from registry.reflog import ReflogEntry
from registry.refs import COMMITS, EVALUATIONS, HEADS, REMOTES, TAGS
from registry.repository import Repository
from registry.sharing.inventory import Inventory, needs_of
from registry.sharing.pack import Entry, Index, PackCorrupt, opened, unpacked
from registry.sharing.remote import Meter, Remote, RemoteUnavailable, fold

WRITERS = 4  # chosen: a disk takes several fsyncs at once


@dataclass
class Fetched:
    """What came.

    Attributes:
        heads: {branch: commit id} as the remote has them.
        moved: {full name here: (old, new)} of the refs that were set or, with new None, removed.
        kept: Tags that are here and lead to another commit there.
        packs, objects, size_bytes: What was transferred, and kept.
        evaluations: How many scores became known.
    """

    heads: dict[str, str] = field(default_factory=dict)
    moved: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    packs: int = 0
    objects: int = 0
    size_bytes: int = 0
    evaluations: int = 0


def fetch(
    repo: Repository,
    remote: Remote,
    name: str,
    *,
    author: str,
    time: int,
    prune: bool = False,
    meter: Meter | None = None,
) -> Fetched:
    """Bring what a remote has and the registry lacks; branches of the remote become refs/remotes/NAME/BRANCH.

    Args:
        repo: The registry.
        remote: Where from.
        name: What it is called here.
        author: For the reflogs.
        time: The same, unix seconds.
        prune: Remove refs/remotes/NAME/… of branches that the remote has no more.
        meter: Is told of bytes.

    Raises:
        RemoteUnavailable: it cannot be used, or lacks what its refs name.
        PackCorrupt: something there is not what it says it is; all that came before it stays.
        LockBusy, DiskFailed.
    """
    refs, _ = fold(remote.moves())  # before the packs: what a move needs was sent before it
    heads = {ref.removeprefix(HEADS): commit for ref, commit in refs.items() if ref.startswith(HEADS)}
    done = Fetched(heads)
    wanted = {commit for ref, commit in refs.items() if ref.startswith((HEADS, TAGS))}
    receiving = _Receiving(repo, remote, done, meter or Meter())
    receiving.bring(wanted)
    repo.objects.settle()
    with repo.locked():
        receiving.require_whole(wanted)
        receiving.note_evaluations()
        for ref, new in _targets(repo, refs, name, done, prune=prune).items():
            _set(repo, ref, new, ReflogEntry(repo.refs.get(ref), new, author, time, f"fetch: from {name}"), done)
    receiving.mark()
    repo.index.refresh(wanted)
    return done


class _Receiving:
    """One fetch: what has come so far."""

    def __init__(self, repo: Repository, remote: Remote, done: Fetched, meter: Meter) -> None:
        self.repo, self.remote, self.done, self.meter = repo, remote, done, meter
        self.store = repo.objects
        self.inventory = Inventory(repo, remote)
        self.whole: list[Index] = []
        self.fresh: set[str] = set()
        self._kinds: dict[str, str | None] = {}
        self._writing: deque[Future[None]] = deque()

    def bring(self, wanted: Iterable[str]) -> None:
        """Receive packs until the wanted commits are here."""
        known = {index.name for index in self.inventory.indexes if self.inventory.was_received(index)}
        self._receive([index for index in self.inventory.indexes if index.name not in known])
        if not all(map(self.store.has, wanted)):  # collected here since, and wanted again
            self._receive([index for index in self.inventory.indexes if index.name in known])
        for one in wanted:
            if (kind := self._kind(one)) != Commit.object_kind:
                state = "no pack of it holds" if kind is None else f"is a {kind}"
                raise RemoteUnavailable(self.remote.shown, f"a ref of it names {one[:10]}, which {state}")

    def require_whole(self, wanted: set[str]) -> None:
        """Look whether all that the commits need is here, but for what a ref holds already or what just came."""
        held = set(self.repo.refs.all(*COMMITS).values())
        if wanted <= held | self.fresh:
            return
        held = reachable(held, self.repo.parents)
        settled = held | self.fresh
        for _ in needed_first(wanted, lambda one: needs_of(self.store, one), settled.__contains__):
            pass

    def note_evaluations(self) -> None:
        """Name scores that are here and whose model is: lineages join theirs by union."""
        refs = self.repo.refs
        known = {name.rpartition("/")[2] for name in refs.names(EVALUATIONS)}
        for entry in self.inventory.entries():
            if (
                entry.kind == Evaluation.object_kind
                and entry.object_id not in known
                and self.store.has(entry.object_id)
            ):
                found = self.store.get(entry.object_id, Evaluation)
                if all(map(self.store.has, found.links())):
                    refs.overwrite(f"{EVALUATIONS}{found.tree}/{entry.object_id}", entry.object_id)
                    self.done.evaluations += 1

    def mark(self) -> None:
        """Note which packs need not be asked for again."""
        for index in self.whole:
            self.inventory.mark_received(index)

    def _receive(self, indexes: list[Index]) -> None:
        missing = [index for index in indexes if not all(self.store.has(one.object_id) for one in index.entries)]
        self.whole += indexes
        if missing:
            self.meter.begin("receive", sum(index.pack_bytes for index in missing))
        for index in missing:
            with ThreadPoolExecutor(WRITERS) as pool:
                for entry, content in unpacked(index, self.remote.receive(index.name)):
                    if not self.store.has(entry.object_id):
                        self._take(pool, index, entry, content)
                    self.meter.moved(entry.size)
                self._wait(0)
            self.done.packs += 1
            self.done.size_bytes += index.pack_bytes

    def _take(self, pool: Executor, index: Index, entry: Entry, content: bytes) -> None:
        """Keep an object: a blob, which needs nothing, while the next ones come; any other after all that came."""
        if entry.kind == Blob.object_kind:
            self._wait(WRITERS)
            self._writing.append(pool.submit(self._keep, index, entry, content))
        else:
            self._wait(0)
            self._keep(index, entry, content)
        self._kinds[entry.object_id] = entry.kind
        self.fresh.add(entry.object_id)
        self.done.objects += 1

    def _wait(self, most: int) -> None:
        """Wait until at most so many blobs are being written, so that few are in memory; raises what failed."""
        while len(self._writing) > most:
            self._writing.popleft().result()

    def _keep(self, index: Index, entry: Entry, content: bytes) -> None:
        checked(index, entry, content, self._kind)
        self.store.adopt(entry.object_id, content)

    def _kind(self, wanted: str) -> str | None:
        if self._kinds.get(wanted) is None:
            try:
                self._kinds[wanted] = self.store.kind_of(wanted)
            except ObjectMissing:
                self._kinds[wanted] = None
        return self._kinds[wanted]


def checked(index: Index, entry: Entry, content: bytes, kind_of: Callable[[str], str | None]) -> None:
    """Refuse an object of a pack that is not what it says it is, or that needs what is not there.

    Args:
        index: Of the pack.
        entry: What it was announced as.
        content: Its envelope.
        kind_of: Returns the kind of an object that is there already; None where it is not.

    Raises:
        PackCorrupt: and names it. UnknownFormat: a newer version wrote it.
    """
    for need in opened(entry, content, index.name).needs():
        kind = kind_of(need.object_id)
        if kind not in need.kinds:
            state = "neither here nor before it" if kind is None else f"a {kind}"
            reason = f"the {need.role} of {entry.kind} {entry.object_id[:10]} in it is {state}"
            raise PackCorrupt(index.name, reason, entry.object_id)


def tracking(name: str, branch: str) -> str:
    """Return the ref that says where a branch of a remote was seen last."""
    return f"{REMOTES}{name}/{branch}"


def _targets(repo: Repository, refs: dict[str, str], name: str, done: Fetched, *, prune: bool) -> dict[str, str | None]:
    """Return {full name here: commit id} of what a fetch sets; None: removes."""
    targets: dict[str, str | None] = {}
    for ref, commit in sorted(refs.items()):
        if ref.startswith(HEADS) and is_ref_name(f"{name}/{ref.removeprefix(HEADS)}"):
            targets[tracking(name, ref.removeprefix(HEADS))] = commit
        elif ref.startswith(TAGS) and repo.refs.get(ref) not in (None, commit):
            done.kept.append(ref.removeprefix(TAGS))
        elif ref.startswith(TAGS):
            targets[ref] = commit
    if prune:
        here = (ref for ref in repo.refs.names(REMOTES) if ref.startswith(f"{REMOTES}{name}/"))
        targets |= {ref: None for ref in here if ref not in targets}
    return targets


def _set(repo: Repository, ref: str, new: str | None, entry: ReflogEntry, done: Fetched) -> None:
    if entry.old != new:
        repo.reflogs.append(ref, entry)
        repo.refs.compare_and_swap(ref, entry.old, new)
        done.moved[ref] = (entry.old, new)
