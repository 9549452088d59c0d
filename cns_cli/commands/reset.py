"""`cns reset REV`: move HEAD's branch to another commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cns_cli import figures
from cns_cli.options import JsonFlag, Revision
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import Request
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.reset import ResetResult

EXAMPLES = ("cns reset HEAD~1", "cns reset v1", "cns reset HEAD@{1}")
LISTED = 20  # of the commits that are left behind; log has them all


def reset(rev: Revision, as_json: JsonFlag = False) -> None:
    """Move HEAD's branch to a revision, back or anywhere else.

    There is no working tree, so that nothing is overwritten. Commits that no branch or tag reaches then stay for a
    month; cns undo moves the branch back.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.reset import reset as move

    out = Output(as_json=as_json)
    result = move(request, rev)
    out.answer(result.to_json(), reset_lines(result))
    if result.commit != result.before:
        out.hint("cns undo", "to get back")


def reset_lines(result: ResetResult) -> Iterator[Line]:
    """Shape where the branch is now, what the model holds, and what is left behind."""
    what = result.branch or "the detached HEAD"
    how = "is still at " if result.commit == result.before else "is now at "
    holds = f", which holds {', '.join(result.concepts) or 'no concept'}"
    yield [Styled(what, "cyan"), f" {how}", Styled(figures.short_id(result.commit), "yellow"), holds]
    yield from left_behind_lines(result.left_behind)


def left_behind_lines(commits: Mapping[str, str]) -> Iterator[Line]:
    """Shape the commits that nothing reaches any more, the newest first."""
    if commits:
        yield f"left behind, as no branch or tag reaches {'it' if len(commits) == 1 else 'them'}:"
    for commit, subject in list(commits.items())[:LISTED]:
        yield ["  ", Styled(figures.short_id(commit), "yellow"), f" {subject}"]
    if len(commits) > LISTED:
        yield f"  and {figures.plural(len(commits) - LISTED, 'commit')} before these"
