"""`fetch`: bring what a remote has; branches of the remote become refs of their own, and nothing here moves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from cns_cli.figures import byte_size
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from cns_cli.progress import Progress
from registry.repository import Repository
from registry.sharing import incoming, remotes
from registry.sharing.incoming import Fetched
from registry.sharing.opening import open_remote
from registry.sharing.remote import Meter


@dataclass(frozen=True)
class RefUpdate:
    """A ref that moved: its full name, and commit ids; None where it was not, or is no more."""

    ref: str
    old: str | None
    new: str | None


@dataclass(frozen=True, kw_only=True)
class FetchResult(Result):
    """What came from a remote.

    Attributes:
        remote: What it is called here. address: Where it is, without credentials.
        moved: Refs here that were set.
        kept: Tags that are here and lead to another commit there; they stay as they are.
        packs, objects, size_bytes: What was transferred. evaluations: How many scores became known.
    """

    remote: str
    address: str
    moved: tuple[RefUpdate, ...]
    kept: tuple[str, ...]
    packs: int
    objects: int
    size_bytes: int
    evaluations: int


class ByteMeter(Meter):
    """Shows a transfer as a stage of a verb's progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done = 0

    def begin(self, what: str, size_bytes: int) -> None:
        """Begin a stage."""
        self._done = 0
        self._progress.stage(what, size_bytes, byte_size)

    def moved(self, size_bytes: int) -> None:
        """Say how far it is."""
        self._done += size_bytes
        self._progress.step(self._done)


def fetch(request: Request, remote: str | None, progress: Progress, *, prune: bool = False) -> FetchResult:
    """Bring what a remote has.

    Args:
        request: Where the registry is, and who asks.
        remote: Its name; None: the only one, or `origin`.
        progress: Is told of bytes.
        prune: Remove what stands for branches that the remote has no more.

    Raises:
        NotARegistry, UnknownRemote, RemoteUntrusted, RemoteUnavailable, PackCorrupt, LockBusy.
    """
    repo = Repository.discover(request.start)
    return fetched_from(repo, remotes.get(repo, remote), request, progress, prune=prune)


def fetched_from(
    repo: Repository, named: remotes.NamedRemote, request: Request, progress: Progress, *, prune: bool = False
) -> FetchResult:
    """Bring what a remote has whose name was looked up already; see `fetch`."""
    opened = open_remote(named.address)
    who: dict[str, Any] = {"author": request.author, "time": moment_of(request)}
    done = incoming.fetch(repo, opened, named.name, prune=prune, meter=ByteMeter(progress), **who)
    return FetchResult.of(done, remote=named.name, address=opened.shown, moved=updates(done))


def updates(done: Fetched) -> tuple[RefUpdate, ...]:
    """Return the refs that moved, by name."""
    return tuple(RefUpdate(ref, old, new) for ref, (old, new) in sorted(done.moved.items()))


def moment_of(request: Request) -> int:
    """Return the time that a request is to write into logs."""
    return int(time.time()) if request.time is None else request.time
