"""`revert`: take back on HEAD what one commit did to its parent; history keeps both."""

from __future__ import annotations

from cns_cli.porcelain.combining.outcome import Combination, CombineResult
from cns_cli.porcelain.combining.settle import Choices
from cns_cli.porcelain.combining.sides import reverting
from cns_cli.porcelain.options import Request
from cns_cli.progress import Progress
from registry.repository import Repository

__all__ = ["Choices", "CombineResult", "revert"]


def revert(
    request: Request,
    rev: str,
    choices: Choices,
    progress: Progress,
    *,
    mainline: int | None = None,
    message: str | None = None,
    drift: bool = True,
) -> CombineResult:
    """Commit on HEAD the opposite of what a commit changed; arguments and errors as of `cherry_pick`."""
    repo = Repository.discover(request.start)
    sides = reverting(repo, rev, mainline)
    words = ["cns", "revert", rev, *(("-m", str(mainline)) if mainline else ())]
    work = Combination(
        request=request, repo=repo, sides=sides, choices=choices, progress=progress, drift=drift,
        words=(*words, *(("--message", message) if message else ())),
    )  # fmt: skip
    tree = work.settled()
    if isinstance(tree, CombineResult):
        return tree
    subject = repo.commit_of(sides.named).subject
    return work.commit(tree, message or f'revert "{subject}"\n\nThis takes back {sides.named[:10]}.')
