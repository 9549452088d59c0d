"""`cns revert REV`: take back what a commit did."""

from __future__ import annotations

from typing import Annotated

from cns_cli.combined import answer
from cns_cli.optionfield import FAVOUR, MAINLINE, NO_DRIFT, OURS, RENAME, REV, THEIRS, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Output
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

EXAMPLES = ("cns revert HEAD", "cns revert concept:rex", "cns revert HEAD~2 -m 1")


def revert(
    rev: Annotated[str, REV],
    mainline: Annotated[int | None, MAINLINE] = None,
    ours: Annotated[list[str] | None, OURS] = None,
    theirs: Annotated[list[str] | None, THEIRS] = None,
    rename: Annotated[list[str] | None, RENAME] = None,
    favour: Annotated[str | None, FAVOUR] = None,
    no_drift: Annotated[bool, NO_DRIFT] = False,
    message: Annotated[str | None, Option("Commit message.", "TEXT")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Take back what a commit did, by a new commit on HEAD.

    What was added since stays. Concepts that were trained beside what is taken back may look a little different: see
    cns check. Conflicts are answered as by cns merge.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.revert import Choices
    from cns_cli.porcelain.revert import revert as take_back

    choices = Choices.of(ours, theirs, rename, favour)
    with open_progress() as progress:
        result = take_back(request, rev, choices, progress, mainline=mainline, message=message, drift=not no_drift)
    answer(Output(as_json=as_json), result)
