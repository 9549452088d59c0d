"""`pull`: fetch, then move the branch of HEAD forward to where the remote has it."""

from __future__ import annotations

from dataclasses import dataclass

from cns_cli.porcelain.fetch import FetchResult, fetched_from
from cns_cli.porcelain.options import Request
from cns_cli.porcelain.result import Result
from cns_cli.progress import Progress
from registry.dag import is_ancestor
from registry.errors import SHORT, RegistryError, UnknownRevision
from registry.repository import Repository
from registry.sharing import remotes
from registry.sharing.incoming import tracking


class Diverged(RegistryError):
    """A branch and what the remote has of it have commits that the other has not; nothing here moved."""

    def __init__(self, branch: str, there: str, ours: str, theirs: str) -> None:
        self.branch, self.there, self.ours, self.theirs = branch, there, ours, theirs
        super().__init__(
            f"{branch} ({ours[:SHORT]}) and {there} ({theirs[:SHORT]}) have both moved on: expected one that the other "
            "continues; what came is here, and the branch stays where it is",
            f"cns merge {there}",
        )


@dataclass(frozen=True, kw_only=True)
class PullResult(Result):
    """Where the branch of HEAD is now.

    Attributes:
        fetched: What came.
        before, commit: Where the branch was and where it is; the same where it was up to date or is ahead.
        ahead: The remote lacks commits of it.
        concepts: Names that the model holds now.
    """

    fetched: FetchResult
    branch: str
    before: str
    commit: str
    ahead: bool
    concepts: tuple[str, ...]


def pull(request: Request, remote: str | None, progress: Progress) -> PullResult:
    """Fetch, and move the branch of HEAD forward.

    Raises:
        NotARegistry, UnknownRemote, RemoteUntrusted, RemoteUnavailable, PackCorrupt, LockBusy.
        UnknownRevision: HEAD is on no branch, or the remote has none of its name.
        Diverged: both sides have commits of their own. RefMoved: the branch moved here meanwhile.
    """
    repo = Repository.discover(request.start)
    named = remotes.get(repo, remote)
    head = repo.head()
    if head.branch is None:
        raise UnknownRevision("HEAD", "it is on no branch, so nothing could move forward", "cns checkout main")
    fetched = fetched_from(repo, named, request, progress)
    theirs = repo.refs.get(tracking(named.name, head.branch))
    if theirs is None:
        reason = f"the remote '{named.name}' has no branch of this name"
        raise UnknownRevision(head.branch, reason, f"cns push {named.name} {head.branch}")
    ahead = is_ancestor(theirs, head.commit, repo.parents)
    if not ahead:
        if not is_ancestor(head.commit, theirs, repo.parents):
            raise Diverged(head.branch, f"{named.name}/{head.branch}", head.commit, theirs)
        message = f"pull: fast-forward to {named.name}/{head.branch}"
        repo.move(theirs, message=message, author=request.author, time=request.time, old=head.commit)
    now = head.commit if ahead else theirs
    return PullResult(
        fetched=fetched,
        branch=head.branch,
        before=head.commit,
        commit=now,
        ahead=ahead and theirs != head.commit,
        concepts=tuple(sorted(repo.tree_of(now).concepts)),
    )
