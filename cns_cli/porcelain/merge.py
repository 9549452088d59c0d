"""`merge`: bring the concepts of another commit into HEAD, three-way, per name."""

from __future__ import annotations

from cns_cli.porcelain.check import check as check_concepts
from cns_cli.porcelain.combining.outcome import Combination, CombineResult
from cns_cli.porcelain.combining.settle import Choices
from cns_cli.porcelain.combining.sides import merging
from cns_cli.porcelain.options import CheckOptions, Request
from cns_cli.progress import Progress
from registry.repository import Repository

__all__ = ["Choices", "CombineResult", "merge"]


def merge(
    request: Request,
    rev: str,
    choices: Choices,
    progress: Progress,
    *,
    message: str | None = None,
    no_ff: bool = False,
    dry_run: bool = False,
    check: bool = False,
    drift: bool = True,
    unrelated: bool = False,
) -> CombineResult:
    """Merge a revision into HEAD. Conflicts are an answer, and nothing is committed then.

    Args:
        request: Where, by whom, when.
        rev: What to merge.
        choices: How conflicts are settled.
        progress: Told of stages.
        message: Of the commit.
        no_ff: Make a commit even where HEAD's branch could just move on.
        dry_run: Answer what would come of it; nothing is committed.
        check: Run the gate of `cns check` on the outcome first; nothing moves unless every concept is kept.
        drift: Compute the K/V drift of concepts that leave their training context.
        unrelated: Merge a history that shares no commit with HEAD's, too.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision, UnrelatedHistories, BaseDiffers, ChoiceMeaningless, LockBusy.
        Overtaken: HEAD moved meanwhile; nothing was committed.
    """
    repo = Repository.discover(request.start)
    sides = merging(repo, rev, unrelated=unrelated)
    flags = {"--no-ff": no_ff, "--check": check, "--no-drift": not drift, "--allow-unrelated-histories": unrelated}
    words = ["cns", "merge", rev, *(flag for flag, given in flags.items() if given)]
    work = Combination(
        request=request, repo=repo, sides=sides, choices=choices, progress=progress, drift=drift,
        words=(*words, *(("-m", message) if message else ())),
    )  # fmt: skip
    if sides.bases == (sides.named,):
        return work.answer("up to date")
    tree = work.settled()
    if isinstance(tree, CombineResult):
        return tree
    forward, message = sides.bases == (sides.ours,) and not no_ff, message or f"merge {rev}"
    if dry_run:
        return work.answer("planned", tree)
    checked = None
    if check:
        made = sides.named if forward else work.candidate(tree, message)
        gate = CheckOptions(start=request.start, author=request.author, mlflow_uri=request.mlflow_uri, rev=made)
        checked = check_concepts(gate, progress)
        if not checked.passed:
            return work.answer("refused", tree, commit=made, check=checked)
    return work.forward(tree, checked) if forward else work.commit(tree, message, checked)
