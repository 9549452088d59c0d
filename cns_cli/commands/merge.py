"""`cns merge REV`: bring the concepts of another branch into this one."""

from __future__ import annotations

from typing import Annotated

from cns_cli.combined import answer
from cns_cli.optionfield import FAVOUR, MESSAGE, NO_DRIFT, OURS, RENAME, REV, THEIRS, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Output
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

EXAMPLES = (
    "cns merge pets",
    "cns merge pets --dry-run",
    "cns merge pets --theirs rex --rename tom=tom2",
    "cns merge pets -X ours",
    "cns merge pets --check",
)


def merge(
    rev: Annotated[str, REV],
    no_ff: Annotated[bool, Option("Make a commit even where the branch could just move on.", flags="--no-ff")] = False,
    ours: Annotated[list[str] | None, OURS] = None,
    theirs: Annotated[list[str] | None, THEIRS] = None,
    rename: Annotated[list[str] | None, RENAME] = None,
    favour: Annotated[str | None, FAVOUR] = None,
    dry_run: Annotated[bool, Option("Say what would come of it; nothing is committed.", flags="--dry-run")] = False,
    check: Annotated[bool, Option("Move only if every concept passes cns check.", flags="--check")] = False,
    unrelated: Annotated[
        bool, Option("Merge a history that shares no commit, too.", flags="--allow-unrelated-histories")
    ] = False,
    no_drift: Annotated[bool, NO_DRIFT] = False,
    message: Annotated[str | None, MESSAGE] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring the concepts of another commit into HEAD, name by name.

    Whichever side changed a name since the two parted wins; a removal is a change. Nothing is fused: the integers of
    all concepts add up. Names that both sides changed differently are conflicts: nothing is committed, the exit code is
    4, and the answer lists what to type.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.merge import Choices
    from cns_cli.porcelain.merge import merge as combine

    choices = Choices.of(ours, theirs, rename, favour)
    with open_progress() as progress:
        result = combine(
            request, rev, choices, progress, message=message, no_ff=no_ff, dry_run=dry_run, check=check,
            drift=not no_drift, unrelated=unrelated,
        )  # fmt: skip
    answer(Output(as_json=as_json), result)
