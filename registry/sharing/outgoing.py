"""From a registry to a remote: packs, then moves of refs.

What is sent is what the new tips need and no pack there holds. A move is refused where it would drop a commit that the
remote has, or where the remote moved meanwhile; the packs are there then, and the next push does not send them again.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from registry.dag import is_ancestor
from registry.errors import SHORT, RegistryError, UnknownRevision
from registry.objects import References
from registry.reflog import ReflogEntry
from registry.refs import HEADS
from registry.repository import Repository
from registry.sharing.incoming import tracking
from registry.sharing.inventory import Inventory, to_send
from registry.sharing.pack import Entry, Index, pack_of, split
from registry.sharing.remote import Meter, Move, Remote, fold


class PushRefused(RegistryError):
    """A ref of the remote does not move; commits that somebody else pushed would be lost, or may be.

    Attributes:
        ref: Its full name. remote: What the remote is called here.
        found: Where it is there. asked: Where it was to go.
    """

    def __init__(self, ref: str, remote: str, found: str | None, asked: str | None, reason: str, hint: str) -> None:
        self.ref, self.remote, self.found, self.asked = ref, remote, found, asked
        places = [value[:SHORT] if value else "nothing" for value in (found, asked)]
        super().__init__(f"{ref} of '{remote}' stays at {places[0]} and does not go to {places[1]}: {reason}", hint)


@dataclass
class Pushed:
    """What was sent.

    Attributes:
        moved: {full name there: (old, new)}; up_to_date: Refs that were where they should be.
        packs, objects, size_bytes: What was transferred. evaluations: How many of the objects are scores.
        photos: How many of the objects are training images, or would be sent.
        first_photos: The remote held none before.
        dry_run: Nothing was sent; the figures say what would be.
    """

    moved: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    up_to_date: list[str] = field(default_factory=list)
    packs: int = 0
    objects: int = 0
    size_bytes: int = 0
    evaluations: int = 0
    photos: int = 0
    first_photos: bool = False
    dry_run: bool = False


def push(
    repo: Repository,
    remote: Remote,
    name: str,
    asked: Mapping[str, str | None],
    *,
    author: str,
    time: int,
    force: bool = False,
    dry_run: bool = False,
    meter: Meter | None = None,
) -> Pushed:
    """Send what is missing and move refs of a remote.

    Args:
        repo: The registry.
        remote: Where to.
        name: What it is called here.
        asked: {full name: commit id} of branches and tags; None deletes one there.
        author: For the log.
        time: The same, unix seconds.
        force: Move also where commits are lost there, if the branch is where the last fetch or push here saw it.
        dry_run: Only say what would be done.
        meter: Is told of bytes.

    Raises:
        PushRefused: see there; every ref is looked at before anything is sent.
        RemoteUnavailable, RemoteReadOnly, LockBusy, ObjectMissing, ObjectCorrupt.
    """
    refs, _ = fold(remote.moves())
    done = Pushed(dry_run=dry_run, up_to_date=[ref for ref, new in asked.items() if refs.get(ref) == new])
    changes = {ref: (refs.get(ref), new) for ref, new in asked.items() if refs.get(ref) != new}
    for ref in (ref for ref, new in asked.items() if new is None and ref not in refs):
        raise UnknownRevision(ref, f"the remote '{name}' has none of this name", f"cns fetch {name} --prune")
    for ref, (old, new) in changes.items():
        _check(repo, name, ref, old, new, force=force)
    _send(repo, remote, [new for new in asked.values() if new is not None], done, meter or Meter())
    for ref, (old, new) in changes.items():
        if not dry_run:
            move = Move(ref, old, new, author, time, f"push: {len(changes)} refs", secrets.token_hex(16))
            if not remote.append(move):
                raise _not_forward(name, ref, fold(remote.moves())[0].get(ref), new)
            _track(repo, name, ref, ReflogEntry(None, new, author, time, f"push: to {name}"))
        done.moved[ref] = (old, new)
    return done


def _check(repo: Repository, name: str, ref: str, old: str | None, new: str | None, *, force: bool) -> None:
    """Refuse a move that would lose what others pushed."""
    if old is None:
        return
    if force or new is None:
        seen = repo.refs.get(tracking(name, ref.removeprefix(HEADS))) if ref.startswith(HEADS) else old
        if seen != old:
            reason = "it moved there since this registry last looked"
            raise PushRefused(ref, name, old, new, reason, f"cns fetch {name}")
    elif not ref.startswith(HEADS):
        raise PushRefused(ref, name, old, new, "a tag stays where it is", f"cns push {name} --tags --force")
    elif not (repo.objects.has(old) and is_ancestor(old, new, repo.parents)):
        raise _not_forward(name, ref, old, new)


def _not_forward(name: str, ref: str, found: str | None, new: str | None) -> PushRefused:
    return PushRefused(ref, name, found, new, "it has commits that this branch has not", f"cns pull {name}")


def _send(repo: Repository, remote: Remote, tips: list[str], done: Pushed, meter: Meter) -> None:
    inventory = Inventory(repo, remote)
    held = {entry.object_id: entry.kind for entry in inventory.entries()}
    entries = to_send(repo, tips, held)
    packs = list(split(entries, inventory.next_round))
    done.packs, done.objects = len(packs), len(entries)
    done.size_bytes = sum(index.pack_bytes for index in packs)
    done.evaluations = sum(entry.kind == "evaluation" for entry in entries)
    done.photos = _photos(repo, entries)
    done.first_photos = done.photos > 0 and "references" not in held.values()
    if packs and not done.dry_run:
        meter.begin("send", done.size_bytes)
        for index in packs:
            send_pack(repo, remote, index, meter)


def send_pack(repo: Repository, remote: Remote, index: Index, meter: Meter) -> None:
    """Add one pack to a remote, of objects that are here."""
    with tempfile.TemporaryDirectory(prefix="cns-push-") as scratch:
        file = Path(scratch) / "pack"
        with file.open("wb") as written:
            written.writelines(pack_of(index, repo.objects.sealed))
        remote.send(index.name, index.encoded, file, meter.moved)


def _photos(repo: Repository, entries: list[Entry]) -> int:
    """Return how many training images are among the objects."""
    found = (repo.objects.get(one.object_id, References) for one in entries if one.kind == References.object_kind)
    return sum(one.count for one in found if one.images is not None)


def _track(repo: Repository, name: str, ref: str, entry: ReflogEntry) -> None:
    """Note where a branch of the remote is now."""
    if not ref.startswith(HEADS):
        return
    here = tracking(name, ref.removeprefix(HEADS))
    with repo.locked():
        old = repo.refs.get(here)
        if old != entry.new:
            repo.reflogs.append(here, ReflogEntry(old, entry.new, entry.author, entry.time, entry.message))
            repo.refs.compare_and_swap(here, old, entry.new)
