"""One commit, done or taken back on HEAD: what cherry-pick and revert have in common."""

from __future__ import annotations

from typing import Literal

from cns_cli.porcelain.combining.outcome import Combination, CombineResult
from cns_cli.porcelain.combining.settle import Choices
from cns_cli.porcelain.combining.sides import of_one
from cns_cli.porcelain.options import Request
from cns_cli.progress import Progress
from registry.repository import Repository


def apply_one(
    kind: Literal["cherry-pick", "revert"],
    request: Request,
    rev: str,
    choices: Choices,
    progress: Progress,
    *,
    mainline: int | None,
    message: str | None,
    drift: bool,
) -> CombineResult:
    """Commit on HEAD what a commit changed, or the opposite; arguments and errors as of `cherry_pick`."""
    repo = Repository.discover(request.start)
    sides = of_one(repo, kind, rev, mainline)
    flags = {"-m": mainline, "--message": message}
    typed = [word for flag, value in flags.items() if value for word in (flag, str(value))]
    work = Combination(
        request=request, repo=repo, sides=sides, choices=choices, progress=progress, drift=drift,
        words=("cns", kind, rev, *typed),
    )  # fmt: skip
    tree = work.settled()
    if isinstance(tree, CombineResult):
        return tree
    named = repo.commit_of(sides.named)
    taken_back = f'revert "{named.subject}"\n\nThis takes back {sides.named[:10]}.'
    return work.commit(tree, message or (named.message if kind == "cherry-pick" else taken_back))
