"""`push`: send branches and tags to a remote, with all that they need there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cns_cli.porcelain.fetch import ByteMeter, RefUpdate, moment_of
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from cns_cli.progress import Progress
from registry.errors import SHORT, UnknownRevision
from registry.refs import HEADS
from registry.repository import Repository
from registry.sharing import outgoing, remotes
from registry.sharing.opening import open_remote


@dataclass(frozen=True, kw_only=True)
class PushResult(Result):
    """What was sent to a remote.

    Attributes:
        remote: What it is called here. address: Where it is, without credentials.
        moved: Refs of the remote that moved. up_to_date: Refs that were where they should be.
        packs, objects, size_bytes: What was transferred. evaluations: How many of the objects are scores.
        photos: How many training images are among them. first_photos: The remote held none before.
        dry_run: Nothing was sent; the figures say what would be.
    """

    remote: str
    address: str
    moved: tuple[RefUpdate, ...]
    up_to_date: tuple[str, ...]
    packs: int
    objects: int
    size_bytes: int
    evaluations: int
    photos: int
    first_photos: bool
    dry_run: bool


def push(
    request: Request,
    remote: str | None,
    branches: Sequence[str],
    progress: Progress,
    *,
    tags: bool = False,
    delete: Sequence[str] = (),
    force: bool = False,
    dry_run: bool = False,
) -> PushResult:
    """Send branches and tags.

    Args:
        request: Where the registry is, and who sends.
        remote: Its name; None: the only one, or `origin`.
        branches: Their names; none: the branch of HEAD, where nothing else is asked for.
        progress: Is told of bytes.
        tags: Send all tags, too.
        delete: Branches that the remote is to drop.
        force: Move branches there also where commits are lost, if they are where this registry saw them last.
        dry_run: Only say what would be done.

    Raises:
        NotARegistry, UnknownRemote, RemoteUntrusted, RemoteUnavailable, RemoteReadOnly, LockBusy.
        UnknownRevision: there is no such branch. PushRefused: the remote has commits that would be lost.
    """
    repo = Repository.discover(request.start)
    named = remotes.get(repo, remote)
    asked: dict[str, str | None] = dict.fromkeys((HEADS + name for name in delete), None)
    for name in branches or ([] if delete else [_current(repo, named.name)]):
        asked[HEADS + name] = _tip(repo, name)
    if tags:
        asked |= {f"refs/tags/{name}": commit for name, commit in repo.tags().items()}
    opened = open_remote(named.address, lambda: _first_name(repo))
    how: dict[str, Any] = {"author": request.author, "time": moment_of(request), "force": force, "dry_run": dry_run}
    done = outgoing.push(repo, opened, named.name, asked, meter=ByteMeter(progress), **how)
    moved = tuple(RefUpdate(ref, old, new) for ref, (old, new) in sorted(done.moved.items()))
    return PushResult.of(done, remote=named.name, address=opened.shown, moved=moved)


def _current(repo: Repository, remote: str) -> str:
    branch = repo.head().branch
    if branch is None:
        raise UnknownRevision("HEAD", "it is on no branch: expected the name of one", f"cns push {remote} BRANCH")
    return branch


def _first_name(repo: Repository) -> str:
    """Return what a lineage is called on a server where nobody has named it: by its first commit."""
    first = [one for one, commit in repo.index.log([repo.head().commit]) if not commit.parents][-1]
    return f"cns-{first[:SHORT]}"


def _tip(repo: Repository, name: str) -> str:
    commit = repo.branches().get(name)
    if commit is None:
        raise UnknownRevision(name, "there is no branch of this name", "cns branch")
    return commit
