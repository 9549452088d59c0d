"""`cns undo [BRANCH]`: take back the last move of HEAD or of a branch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.commands.reset import left_behind_lines
from cns_cli.optionfield import Argument
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import Request
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.undo import UndoResult

EXAMPLES = ("cns undo", "cns undo main", "cns reflog", "cns reset HEAD@{2}")


def undo(
    branch: Annotated[str, Argument("Take back the last move of this branch.", "BRANCH")] = "HEAD",
    as_json: JsonFlag = False,
) -> None:
    """Take back the last move of HEAD or of a branch.

    A commit, merge or reset is undone by moving its branch back, a checkout by going back, cns branch -d by making the
    branch again. No commit is removed. A second undo makes the move again; cns reset HEAD@{n} goes further back.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.undo import undo as take_back

    out = Output(as_json=as_json)
    result = take_back(request, branch)
    out.answer(result.to_json(), undo_lines(result))
    out.hint(f"cns undo{'' if result.ref == 'HEAD' else ' ' + result.ref}", "to make that move again")


def undo_lines(result: UndoResult) -> Iterator[Line]:
    """Shape what was undone, where the ref is now, and what is left behind."""
    yield ["undone: ", Styled(result.undone, "bold")]
    here = f"HEAD is now {f'on branch {result.branch}' if result.branch else 'detached'}"
    holds = f", which holds {', '.join(result.concepts) or 'no concept'}"
    what = here if result.ref == "HEAD" else f"{result.ref} is now"
    yield [f"{what} at ", Styled(figures.short_id(result.commit), "yellow"), holds]
    yield from left_behind_lines(result.left_behind)
