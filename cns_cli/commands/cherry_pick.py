"""`cns cherry-pick REV`: do here what a commit did elsewhere."""

from __future__ import annotations

from typing import Annotated

from cns_cli.combined import answer
from cns_cli.optionfield import FAVOUR, MAINLINE, NO_DRIFT, OURS, RENAME, REV, THEIRS, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Output
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

EXAMPLES = ("cns cherry-pick pets~1", "cns cherry-pick concept:rex", "cns cherry-pick pets -m 1")


def cherry_pick(
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
    """Do on HEAD what a commit did to its parent, by a new commit.

    Of a commit that added a concept, the concept is brought in alone, without what it was trained beside. Conflicts are
    answered as by cns merge.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.cherry_pick import Choices
    from cns_cli.porcelain.cherry_pick import cherry_pick as pick

    choices = Choices.of(ours, theirs, rename, favour)
    with open_progress() as progress:
        result = pick(request, rev, choices, progress, mainline=mainline, message=message, drift=not no_drift)
    answer(Output(as_json=as_json), result)
