"""Purging: concepts, or their photos, leave a registry for good, at once, with all that leads to them.

What becomes of history is `registry.rewriting`; here it is done to a registry. New objects are written first; then refs
move, logged as ever, and the logs are written anew; then all that can be made again is dropped (index, caches, the
mirror); at last the old objects go. A kill at any point leaves a registry that works, and the same purge ends it: blobs
go first and the purged concepts themselves last, so that whatever is left is still found by their names.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from registry import bisect_state, fsio, locks
from registry.dag import needed_first, reachable
from registry.errors import RegistryError, UnknownConcept
from registry.health.reachability import in_progress, tips
from registry.objects import AnyObject, Concept, Evaluation
from registry.reflog import ReflogEntry
from registry.refs import COMMITS, EVALUATIONS, LOST, NAMESPACES
from registry.repository import Repository
from registry.rewriting import Rewriting, links, purged_concepts

# What costs work and no history: caches, contact sheets, states of interrupted trainings, which began on trees that are
# others now; the index, and the mirror with its journals and what was set aside as broken.
CAN_BE_MADE_AGAIN = ("cache", "previews", "resume", "index.db*", "mlflow.db*", "mlartifacts*")

_TEMPORARY = re.compile(re.escape(fsio.TEMPORARY) + r"(?:mlflow-)?(\d+).*")


class NotPurged(RegistryError):
    """A purge cannot be done as it was asked for; nothing was changed."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(f"nothing was purged: {reason}", hint)


@dataclass(frozen=True)
class Wish:
    """What shall go.

    Attributes:
        names: Of concepts, wherever in history.
        photos_only: Their weights stay.
    """

    names: tuple[str, ...]
    photos_only: bool = False


class Purge:
    """What a purge does to a registry: worked out when it is made, done by `apply`.

    Attributes:
        freed_bytes: Size of the files of the objects that go.

    Args:
        repository: The registry.
        wish: What shall go.

    Raises:
        UnknownConcept: no object has that name, or nothing of it is left.
        NotPurged: something stands in the way.
    """

    def __init__(self, repository: Repository, wish: Wish) -> None:
        self.repository, self.store, self.wish = repository, repository.objects, wish
        _check_ready(repository)
        self.kinds = {one: self.store.kind_of(one) for one in self.store.ids()}
        self.objects: dict[str, AnyObject] = {
            one: self.store.load(one) for one, kind in self.kinds.items() if kind != "blob"
        }
        self._check_names()
        self.evaluations = repository.refs.all(EVALUATIONS)
        self.refs = tips(repository.refs)
        self.rewriting = Rewriting(self.objects, self._starts(), wish.names, photos_only=wish.photos_only)
        paths = (self.store.path(one) for turn in self.doomed for one in turn)
        self.freed_bytes = sum(path.lstat().st_size for path in paths)
        self._check_shared()

    @cached_property
    def commits(self) -> dict[str, str]:
        """{old id: new id} of the commits that are another one now."""
        return {one: new for one, new in self.rewriting.ids.items() if new and self.kinds[one] == "commit"}

    @cached_property
    def lost_evaluations(self) -> list[str]:
        """Names of the evaluation refs that go."""
        return [name for name, value in self.evaluations.items() if self.rewriting.new(value) is None]

    @cached_property
    def renewed(self) -> list[str]:
        """Names of other concepts that have another id, since they were trained beside a purged one."""
        kept = {one for one, new in self.rewriting.ids.items() if new and self.kinds[one] == "concept"}
        return sorted({concept.name for one in kept if isinstance(concept := self.objects[one], Concept)})

    @cached_property
    def moved(self) -> dict[str, str]:
        """{full name, or HEAD: new id} of the refs that move."""
        return {name: new for name, old in self.refs.items() if (new := self.rewriting.new(old)) and new != old}

    @cached_property
    def lost(self) -> list[str]:
        """Names of refs under refs/lost whose commit is none any more."""
        return [name for name in self.refs if name.startswith(LOST) and self.refs[name] in self.rewriting.dropped]

    @cached_property
    def doomed(self) -> list[list[str]]:
        """The objects that go, in turns: blobs first, at last the concepts themselves, by whose names all is found."""
        objects = self.objects | self.rewriting.made
        old = self.rewriting.led_to_it()
        behind = reachable(sorted(old), lambda one: links(self.objects, one))
        held = {new for one in self._starts() if (new := self.rewriting.new(one)) is not None}
        kept = reachable([*held, *self.kinds.keys() - behind, *self._in_progress()], lambda one: links(objects, one))
        doomed = (behind - kept) & self.kinds.keys()
        return self._ordered(doomed)

    @property
    def kinds_gone(self) -> dict[str, int]:
        """How many objects of each kind go."""
        return dict(sorted(Counter(self.kinds[one] for turn in self.doomed for one in turn).items()))

    @cached_property
    def still_named(self) -> list[str]:
        """Refs whose own name has the name of a concept that goes: they are the user's to rename."""
        return [name for name in self.repository.refs.names(*COMMITS) if name not in self.lost and self._is_named(name)]

    def apply(self, author: str, time: int) -> None:
        """Do it. The caller holds the registry's lock and the mirror's.

        Raises:
            DiskFailed: what was done so far stands; the same purge again ends it.
        """
        doomed = self.doomed
        for obj in self.rewriting.made.values():
            self.store.put(obj)
        what = f"{len(self.wish.names)} concept{'s' if len(self.wish.names) > 1 else ''}"
        photos = "the photos of " if self.wish.photos_only else ""
        said = f"purge: {photos}{what} gone for good, {len(self.commits)} commits are others now"
        self._move(author, time, said)
        self._rewrite_logs()
        self._forget_work()
        self._remove(doomed)
        self.repository.index.refresh(sorted({*tips(self.repository.refs).values()}))

    def _starts(self) -> list[str]:
        """Return what is reachable by a name: refs, HEAD, scores, and the ends of moves that are still there."""
        logs = (self.repository.reflogs.entries(ref) for ref in self.repository.reflogs.names())
        ends = {end for moves in logs for move in moves for end in (move.old, move.new) if end in self.kinds}
        return sorted({*self.refs.values(), *self.evaluations.values(), *filter(None, ends)})

    def _in_progress(self) -> Iterator[str]:
        for path, ids in in_progress(self.repository.folder).items():
            if path.relative_to(self.repository.folder).parts[0] not in CAN_BE_MADE_AGAIN:
                yield from ids

    def _check_names(self) -> None:
        for name in self.wish.names:
            if not purged_concepts(self.objects, [name]):
                known = {concept.name for concept in self.objects.values() if isinstance(concept, Concept)}
                raise UnknownConcept(name, sorted(known))
            if self.wish.photos_only and not purged_concepts(self.objects, [name], with_photos=True):
                raise NotPurged(f"the registry holds no photos of '{name}'", f"cns purge {name}")

    def _check_shared(self) -> None:
        """Refuse where a concept of another name holds the same: one that was renamed, or learned from these photos."""
        mine = {blob for one in self.rewriting.purged for blob in self._own_blobs(one)}
        others = {one: obj.name for one, obj in self.objects.items() if isinstance(obj, Concept)}
        others = {one: name for one, name in others.items() if one not in self.rewriting.purged}
        shared = {name for one, name in others.items() if not mine.isdisjoint(self._own_blobs(one))}
        if shared:
            every = " ".join([*self.wish.names, *sorted(shared)])
            raise NotPurged(
                f"{', '.join(sorted(shared))} holds the same photos or weights: expected the names of all that do",
                f"cns purge {every}",
            )

    def _own_blobs(self, concept_id: str) -> set[str]:
        """Return the blobs that tell a concept from every other: photos, features of them, and what was learned."""
        concept = self.objects.get(concept_id)
        if not isinstance(concept, Concept):
            return set()
        learned = () if self.wish.photos_only else (concept.delta, concept.embedding)
        return {*links(self.objects, concept.references), *learned}

    def _ordered(self, doomed: set[str]) -> list[list[str]]:
        """Return the objects in turns: blobs, parts, what needs others (before these), the concepts themselves."""
        turns: list[list[str]] = [[], [], [], []]
        among = (one for one in needed_first(sorted(doomed), lambda one: links(self.objects, one)) if one in doomed)
        for one in reversed(list(among)):
            kind = self.kinds[one]
            parts = {"blob": 0, "record": 1, "references": 1}
            turns[3 if one in self.rewriting.purged else parts.get(kind, 2)].append(one)
        return turns

    def _move(self, author: str, time: int, said: str) -> None:
        """Move refs to what their commits are now, and scores to what their trees are."""
        refs, logs = self.repository.refs, self.repository.reflogs
        for new in (self.rewriting.new(value) for value in self.evaluations.values()):
            if new in self.rewriting.made and isinstance(score := self.rewriting.made[new], Evaluation):
                refs.overwrite(f"{EVALUATIONS}{score.tree}/{new}", new)
        branch = refs.head()[0]
        for name, new in self.moved.items():
            entry = ReflogEntry(self.refs[name], new, author, time, said)
            if name in (branch, "HEAD"):
                logs.append("HEAD", entry)
            if name == "HEAD":
                refs.set_head(commit=new)
            else:
                logs.append(name, entry)
                refs.compare_and_swap(name, entry.old, new)
        if not self.moved.keys() & {branch, "HEAD"}:
            here = self.repository.head().commit
            logs.append("HEAD", ReflogEntry(here, here, author, time, said))
        for name in (
            *self.lost,
            *(name for name, value in self.evaluations.items() if self.rewriting.new(value) != value),
        ):
            fsio.remove(refs.path(name))

    def _rewrite_logs(self) -> None:
        logs, there = self.repository.reflogs, {*self.repository.refs.names(*NAMESPACES), "HEAD"}
        for ref in logs.names():
            if ref in self.lost or (ref not in there and self._is_named(ref)):
                fsio.remove(logs.path(ref))
                continue
            before = logs.entries(ref)
            after = [self._entry(entry) for entry in before]
            kept = [new for old, new in zip(before, after, strict=True) if not _came_to_nothing(old, new)]
            if kept != before or logs.damaged(ref):
                logs.rewrite(ref, kept)

    def _entry(self, entry: ReflogEntry) -> ReflogEntry:
        old, new = (None if end is None else self.rewriting.new(end) for end in (entry.old, entry.new))
        return replace(entry, old=old, new=new, message=self.rewriting.text(entry.message))

    def _is_named(self, ref: str) -> bool:
        return any(self.rewriting.names_it(part) for part in ref.split("/")[2:])

    def _forget_work(self) -> None:
        """Remove what can be made again, and what killed writers left."""
        folder = self.repository.folder
        self.repository.index.forget([])
        for path in (path for pattern in CAN_BE_MADE_AGAIN for path in folder.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                fsio.remove(path)
        fsio.sync_folder(folder)
        for path in folder.rglob(f"{fsio.TEMPORARY}*"):
            writer = _TEMPORARY.fullmatch(path.name)
            if writer and not fsio.is_alive(int(writer[1])):
                fsio.remove(path)

    def _remove(self, turns: list[list[str]]) -> None:
        """Remove objects, each turn durably before the next begins."""
        for turn in turns:
            for one in turn:
                fsio.remove(self.store.path(one), durably=False)
            for folder in sorted({self.store.path(one).parent for one in turn}):
                fsio.sync_folder(folder)


def purge(repository: Repository, wish: Wish, *, author: str, time: int) -> Purge:
    """Purge, under the locks of the mirror and of the registry, and return what was done; raises as `Purge` does."""
    with locks.hold(repository.folder / "mlflow.lock"), repository.locked():
        done = Purge(repository, wish)
        done.apply(author, time)
    return done


def _check_ready(repository: Repository) -> None:
    if (repository.folder / bisect_state.FILE).exists():
        raise NotPurged("a bisection is running, and names commits", "cns bisect reset")
    for ref in repository.reflogs.names():
        damaged = repository.reflogs.damaged(ref)
        if damaged[:-1] or (damaged and not repository.reflogs.torn(ref)):
            raise NotPurged(f"the reflog of {ref} is damaged: what it names cannot be told", "cns fsck --rebuild")


def _came_to_nothing(old: ReflogEntry, new: ReflogEntry) -> bool:
    """True where a move was to a commit that is none any more; a checkout stays, for `checkout -`."""
    kind = old.message.partition(":")[0]
    return new.old == new.new and old.old != old.new and kind not in ("checkout", "purge")
