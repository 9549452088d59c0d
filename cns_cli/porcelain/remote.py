"""`remote`: names for places that a lineage is shared at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cns_cli.porcelain.fetch import moment_of
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from registry.addresses import shown
from registry.repository import Repository
from registry.sharing import remotes


@dataclass(frozen=True)
class RemoteView:
    """A remote.

    Attributes:
        address: Where it is, without credentials.
        trusted: This user set it in this very folder; else it is not contacted.
        branches: {branch: commit id} as they were seen last.
    """

    name: str
    address: str
    trusted: bool
    branches: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class RemotesResult(Result):
    """The remotes, by name; `changed` is the one that this call made, changed or removed."""

    remotes: tuple[RemoteView, ...]
    changed: str | None = None


def list_remotes(start: Path) -> RemotesResult:
    """List the remotes; raises NotARegistry, BadConfig."""
    return _answer(Repository.discover(start))


def add_remote(start: Path, name: str, address: str) -> RemotesResult:
    """Name a remote; nothing is contacted.

    Raises:
        NotARegistry, BadName, RemoteTaken, LockBusy.
        RemoteUnavailable: the address holds credentials.
    """
    repo = Repository.discover(start)
    remotes.add(repo, name, address)
    return _answer(repo, name)


def set_url(start: Path, name: str, address: str) -> RemotesResult:
    """Give a remote another address; raises as `add_remote`, and UnknownRemote."""
    repo = Repository.discover(start)
    remotes.set_address(repo, name, address)
    return _answer(repo, name)


def remove_remote(request: Request, name: str) -> RemotesResult:
    """Forget a remote and where its branches were; raises NotARegistry, UnknownRemote, LockBusy."""
    repo = Repository.discover(request.start)
    remotes.remove(repo, name, author=request.author, time=moment_of(request))
    return _answer(repo, name)


def _answer(repo: Repository, changed: str | None = None) -> RemotesResult:
    views = (
        RemoteView(one.name, shown(one.address), one.here, remotes.seen(repo, one.name))
        for one in remotes.named(repo).values()
    )
    return RemotesResult(remotes=tuple(views), changed=changed)
