"""`revert`: take back on HEAD what one commit did to its parent; history keeps both."""

from __future__ import annotations

from cns_cli.porcelain.combining.outcome import CombineResult
from cns_cli.porcelain.combining.settle import Choices
from cns_cli.porcelain.combining.single import apply_one
from cns_cli.porcelain.options import Request
from cns_cli.progress import Progress

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
    return apply_one("revert", request, rev, choices, progress, mainline=mainline, message=message, drift=drift)
