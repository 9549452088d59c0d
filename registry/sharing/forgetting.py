"""Purging a remote: packs without what was purged take the place of those with it, and refs go to what they are now.

A pack is read after those of lower rounds, so that with one all later ones must be written anew. New packs are sent
first, then refs move, then the old packs are deleted: a purge that dies leaves a remote that works, and the same one
ends it. The log of moves stays; it holds ids of commits that are no more, and no name of a concept.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Collection

from registry.purging import NotPurged, Purge
from registry.repository import Repository
from registry.sharing.incoming import fetch
from registry.sharing.inventory import Inventory, to_send
from registry.sharing.outgoing import send_pack
from registry.sharing.pack import split
from registry.sharing.remote import Meter, Move, Remote, fold


def bring_all(repo: Repository, remote: Remote, name: str, *, author: str, time: int, meter: Meter) -> None:
    """Fetch everything that a remote holds, also what was received once and collected since: it is purged here first.

    Raises:
        RemoteUnavailable, PackCorrupt, LockBusy.
    """
    shutil.rmtree(repo.folder / "cache" / "packs", ignore_errors=True)
    fetch(repo, remote, name, author=author, time=time, meter=meter)


def forget(repo: Repository, remote: Remote, name: str, done: Purge, *, author: str, time: int, meter: Meter) -> int:
    """Make a remote hold no more than a purged registry knows; return how many packs were deleted.

    Args:
        repo: The registry, purged.
        remote: Which one.
        name: What it is called here.
        done: The purge, made after `bring_all`.
        author: For the log of moves.
        time: The same, unix seconds.
        meter: Is told of bytes.

    Raises:
        NotPurged: somebody pushed meanwhile. RemoteUnavailable, RemoteReadOnly.
    """
    refs, _ = fold(remote.moves())
    now = {ref: done.rewriting.new(old) or old for ref, old in refs.items()}
    for ref, new in now.items():
        if not repo.objects.has(new):
            raise _overtaken(name, ref, done)
    inventory = Inventory(repo, remote)
    gone = {one for turn in done.doomed for one in turn}
    tainted = [index.round for index in inventory.indexes if not gone.isdisjoint(_ids(index.entries))]
    if not tainted:
        return 0
    kept = [index for index in inventory.indexes if index.round < min(tainted)]
    _send(repo, remote, now.values(), {one for index in kept for one in _ids(index.entries)}, inventory, meter)
    for ref, new in now.items():
        if new != refs[ref]:
            move = Move(ref, refs[ref], new, author, time, "purge", secrets.token_hex(16))
            if not remote.append(move):
                raise _overtaken(name, ref, done)
    old = [index for index in inventory.indexes if index not in kept]
    for index in old:
        remote.remove(index.name)
    shutil.rmtree(repo.folder / "cache" / "packs", ignore_errors=True)
    return len(old)


def _send(
    repo: Repository, remote: Remote, tips: Collection[str], held: set[str], inventory: Inventory, meter: Meter
) -> None:
    packs = list(split(to_send(repo, tips, held), inventory.next_round))
    meter.begin("send", sum(index.pack_bytes for index in packs))
    for index in packs:
        send_pack(repo, remote, index, meter)


def _ids(entries: Collection[tuple[str, str, int]]) -> set[str]:
    return {entry[0] for entry in entries}


def _overtaken(name: str, ref: str, done: Purge) -> NotPurged:
    again = f"cns purge {' '.join(done.wish.names)} --remote {name}"
    return NotPurged(f"{ref} of '{name}' moved meanwhile; what it holds now is not known here", again)
