"""`cns branch [NAME] [REV]`: list branches, or make one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cns_cli import figures
from cns_cli.options import JsonFlag, Revision
from cns_cli.output import Line, Output, Styled

if TYPE_CHECKING:
    from cns_cli.porcelain.refs import RefsResult

EXAMPLES = ("cns branch", "cns branch winter", "cns branch before-rex HEAD~1")


def branch(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Branch to make.")] = None,
    rev: Revision = "HEAD",
    as_json: JsonFlag = False,
) -> None:
    """List the branches, or make one at a revision. HEAD stays where it is."""
    from cns_cli.porcelain.refs import refs

    out = Output(as_json=as_json)
    result = refs(Path.cwd(), "branch", name, rev)
    out.answer(result.to_json(), refs_lines(result))
    if result.made is not None:
        out.hint(f"cns checkout {result.made}")


def refs_lines(result: RefsResult) -> Iterator[Line]:
    """Shape names with their commits; the branch of HEAD has a star."""
    for name, commit in result.refs.items():
        star = "* " if name == result.current else "  " if result.kind == "branch" else ""
        yield [star, Styled(figures.short_id(commit), "yellow"), " ", Styled(name, "cyan")]
