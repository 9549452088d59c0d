"""`purge`: concepts, or their photos, leave history, the registry's folder, MLflow and remotes for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from cns_cli.porcelain.fetch import ByteMeter, moment_of
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from cns_cli.progress import Progress
from cns_cli.signals import explained
from registry.errors import MlflowUnavailable
from registry.purging import Purge, Wish, purge
from registry.repository import Repository
from registry.sharing import remotes
from registry.sharing.forgetting import bring_all, forget
from registry.sharing.opening import open_remote
from registry.sharing.remote import Remote


class Who(TypedDict):
    """Who purges, and when (unix seconds)."""

    author: str
    time: int


@dataclass(frozen=True, kw_only=True)
class PurgeResult(Result):
    """What a purge does, or did.

    Attributes:
        names, photos_only: What was asked for.
        done: It is done; else this is what would be.
        commits: How many commits are written anew; dropped: how many held nothing else, and are none any more.
        refs: {full name, or HEAD: commit id} of those that move; lost: of refs/lost, those that go.
        renewed: Other concepts that have another id now: they were trained beside, or hold, what is changed.
        evaluations: Stored scores that go.
        objects: How many objects go, by kind; freed_bytes: the size of their files.
        still_named: Branches and tags that are called so; they are yours to rename.
        remotes: Remotes that were purged, too. other_remotes: Those that still hold it.
        mlflow_runs: Runs of a server that were deleted. packs: Packs of remotes, likewise.
    """

    names: tuple[str, ...]
    photos_only: bool
    done: bool
    commits: int
    dropped: int
    refs: Mapping[str, str]
    lost: tuple[str, ...]
    renewed: tuple[str, ...]
    evaluations: int
    objects: Mapping[str, int]
    freed_bytes: int
    still_named: tuple[str, ...]
    remotes: tuple[str, ...]
    other_remotes: tuple[str, ...]
    mlflow_runs: int = 0
    packs: int = 0
    warnings: tuple[str, ...] = ()


def planned(request: Request, wish: Wish, at: Sequence[str], progress: Progress) -> PurgeResult:
    """Say what a purge would do; nothing is changed, but that remotes are fetched from.

    Args:
        request: Where the registry is, and who asks.
        wish: What shall go.
        at: Names of remotes where it shall go, too.
        progress: Told of stages.

    Raises:
        NotARegistry, UnknownConcept, NotPurged, UnknownRemote, RemoteUntrusted, RemoteUnavailable.
    """
    repo = Repository.discover(request.start)
    _opened(repo, request, at, progress)
    return _result(repo, Purge(repo, wish), at, done=False)


def purge_concepts(request: Request, wish: Wish, at: Sequence[str], progress: Progress) -> PurgeResult:
    """Purge. A purge that was interrupted is ended by the same one.

    Args:
        request: Where the registry is, and who asks.
        wish: What shall go.
        at: Names of remotes where it shall go, too.
        progress: Told of stages.

    Raises:
        NotARegistry, UnknownConcept, NotPurged, UnknownRemote, RemoteUntrusted, RemoteUnavailable, LockBusy.
        MlflowUnavailable: MLflow is a server that cannot be reached, or keeps its files; nothing was changed here.
    """
    from registry.mirror.mirror import MlflowMirror

    repo = Repository.discover(request.start)
    who, meter = _who(request), ByteMeter(progress)
    opened = _opened(repo, request, at, progress)
    mirror = MlflowMirror(repo, request.mlflow_uri)
    progress.stage("delete on MLflow")
    plan = Purge(repo, wish)
    runs = mirror.forget(plan.rewriting.led_to_it())
    progress.stage("purge")
    done = purge(repo, wish, **who)
    with explained(f"{', '.join(wish.names)} is purged here; a remote may still hold it", _again(wish, at)):
        packs = sum(forget(repo, remote, name, done, **who, meter=meter) for name, remote in opened.items())
    result = replace(_result(repo, done, at, done=True), mlflow_runs=runs, packs=packs)
    progress.stage("record in MLflow")
    try:
        mirror.sync()
    except MlflowUnavailable as error:
        said = f"{error.message}; the purge is done, and this records what is left: cns mlflow sync"
        return replace(result, warnings=(said,))
    return result


def _opened(repo: Repository, request: Request, at: Sequence[str], progress: Progress) -> dict[str, Remote]:
    """Return remotes by name, all that they hold being here."""
    opened = {name: open_remote(remotes.get(repo, name).address) for name in at}
    for name, remote in opened.items():
        bring_all(repo, remote, name, **_who(request), meter=ByteMeter(progress))
    return opened


def _who(request: Request) -> Who:
    return {"author": request.author, "time": moment_of(request)}


def _again(wish: Wish, at: Sequence[str]) -> str:
    words = [*wish.names, *(["--photos-only"] if wish.photos_only else []), *(f"--remote {name}" for name in at)]
    return f"cns purge {' '.join(words)} --yes"


def _result(repo: Repository, purge: Purge, at: Sequence[str], *, done: bool) -> PurgeResult:
    dropped = len(purge.rewriting.dropped)
    return PurgeResult.of(
        purge,
        names=purge.wish.names,
        photos_only=purge.wish.photos_only,
        done=done,
        commits=len(purge.commits) - dropped,
        dropped=dropped,
        refs=purge.moved,
        evaluations=len(purge.lost_evaluations),
        objects=purge.kinds_gone,
        remotes=tuple(at),
        other_remotes=tuple(name for name in remotes.named(repo) if name not in at),
    )
