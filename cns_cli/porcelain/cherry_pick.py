"""`cherry-pick`: do on HEAD what one commit did to its parent."""

from __future__ import annotations

from cns_cli.porcelain.combining.outcome import CombineResult
from cns_cli.porcelain.combining.settle import Choices
from cns_cli.porcelain.combining.single import apply_one
from cns_cli.porcelain.options import Request
from cns_cli.progress import Progress

__all__ = ["Choices", "CombineResult", "cherry_pick"]


def cherry_pick(
    request: Request,
    rev: str,
    choices: Choices,
    progress: Progress,
    *,
    mainline: int | None = None,
    message: str | None = None,
    drift: bool = True,
) -> CombineResult:
    """Commit on HEAD what a commit changed, with its message. Conflicts are an answer, and nothing is committed then.

    Args:
        request: Where, by whom, when.
        rev: The commit.
        choices: How conflicts are settled.
        progress: Told of stages.
        mainline: Of a merge, the parent against which it is looked at; the first is 1.
        message: In the place of the commit's own.
        drift: Compute the K/V drift of concepts that leave their training context.

    Raises:
        NotARegistry, UnknownRevision, AmbiguousRevision, MainlineNeeded, BaseDiffers, ChoiceMeaningless, LockBusy.
        NothingToDo: HEAD has all of it. Overtaken: HEAD moved meanwhile; nothing was committed.
    """
    return apply_one("cherry-pick", request, rev, choices, progress, mainline=mainline, message=message, drift=drift)
