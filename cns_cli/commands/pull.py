"""`cns pull [REMOTE]`: fetch, and move the branch forward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cns_cli import figures
from cns_cli.commands.fetch import RemoteArgument, fetch_lines, warn_of_tags
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Piece, Styled
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.pull import PullResult

EXAMPLES = ("cns pull", "cns pull origin")


def pull(remote: RemoteArgument = None, as_json: JsonFlag = False) -> None:
    """Fetch, and move the branch of HEAD forward.

    Where both sides have commits of their own nothing moves, and the answer is the command that merges them.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.pull import pull as bring

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = bring(request, remote, progress)
    warn_of_tags(out, result.fetched)
    out.answer(result.to_json(), pull_lines(result))
    if result.ahead:
        out.hint(f"cns push {result.fetched.remote}", "it lacks commits of this branch")


def pull_lines(result: PullResult) -> Iterator[Line]:
    """Shape where the branch is now."""
    yield from fetch_lines(result.fetched)
    here: list[Piece] = [Styled(result.branch, "cyan"), " "]
    if result.before == result.commit:
        yield [*here, f"stays at {figures.short_id(result.commit)}"]
        return
    yield [*here, f"moved from {figures.short_id(result.before)} to {figures.short_id(result.commit)}"]
    yield f"concepts: {', '.join(result.concepts) or 'none'}"
