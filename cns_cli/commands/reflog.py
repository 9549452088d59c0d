"""`cns reflog [REF]`: where HEAD or a branch was, move by move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.optionfield import Argument
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled, table

if TYPE_CHECKING:
    from cns_cli.porcelain.reflog import ReflogResult

EXAMPLES = ("cns reflog", "cns reflog main", "cns show HEAD@{1}", "cns branch found HEAD@{2}")


def reflog(
    ref: Annotated[str, Argument("HEAD, a branch, or a ref's full name.", "REF")] = "HEAD",
    as_json: JsonFlag = False,
) -> None:
    """Show where HEAD or a branch was, newest first.

    Each line begins with what to type for that commit. So what a branch has left behind can be found again.
    """
    from cns_cli.porcelain.reflog import reflog as moves

    out = Output(as_json=as_json)
    result = moves(Path.cwd(), ref)
    out.answer(result.to_json(), reflog_lines(result))
    if result.damaged:
        lines = ", ".join(map(str, result.damaged[:10]))
        out.warn(f"the reflog of {result.ref} cannot be read in line {lines}")
        out.hint("cns fsck")


def reflog_lines(result: ReflogResult) -> Iterator[Line]:
    """Shape each move as revision, id, time and reason."""
    if not result.moves:
        yield f"no move of {result.ref} is recorded"
    yield from table(
        [
            Styled(move.revision, "cyan"),
            Styled(figures.short_id(move.new) if move.new else "deleted", "yellow"),
            figures.moment(move.time),
            move.message,
        ]
        for move in result.moves
    )
