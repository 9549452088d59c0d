"""`cns branch [NAME] [REV]`: list branches, make one, rename one, or delete one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cns_cli import figures
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag, MissingArgument, Revision
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import Request
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.refs import RefKind, RefsResult

DeleteOption = Annotated[
    str | None, Option("Delete this one; its commits stay for a month.", "NAME", flags="-d --delete")
]
EXAMPLES = (
    "cns branch",
    "cns branch winter",
    "cns branch before-rex HEAD~1",
    "cns branch -m winter snow",
    "cns branch -d winter",
)


def branch(
    name: Annotated[str | None, Argument("Branch to make.", "NAME")] = None,
    rev: Revision = "HEAD",
    delete: DeleteOption = None,
    move: Annotated[
        bool, Option("Rename: OLD NEW, or NEW alone for the branch that HEAD is on.", flags="-m --move")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """List branches; make, rename or delete one. HEAD stays where it is."""
    out = Output(as_json=as_json)
    if not move:
        list_make_or_delete("branch", name, rev, delete, out)
    elif delete is not None:
        raise typer.BadParameter(f"--move renames and deletes nothing: expected no --delete {delete}")
    elif name is None:
        raise MissingArgument("NEW: what to call it", "cns branch -m OLD NEW")
    else:
        old, new = (None, name) if rev == "HEAD" else (name, rev)
        _rename(old, new, out)


def _rename(old: str | None, new: str, out: Output) -> None:
    """Rename a branch, and say how to take it back."""
    from cns_cli.porcelain.refs import rename_branch

    result = rename_branch(Request(**request_settings()), old, new)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), refs_lines(result))
    out.hint(f"cns branch -m {new} {result.renamed}", "to take it back")


def list_make_or_delete(kind: RefKind, name: str | None, rev: str, delete: str | None, out: Output) -> None:
    """Do with branches or tags what was asked, and answer.

    Raises:
        typer.BadParameter: one is to be deleted, and a name to make is given as well.
    """
    from cns_cli.porcelain.refs import refs

    if delete is None:
        result = refs(Path.cwd(), kind, name, rev)
        for warning in result.warnings:
            out.warn(warning)
        out.answer(result.to_json(), refs_lines(result))
        if kind == "branch" and result.made is not None:
            out.hint(f"cns checkout {result.made}")
    elif name is None:
        _delete(kind, delete, out)
    else:
        raise typer.BadParameter(f"--delete takes one name and makes none: expected no {name!r}")


def _delete(kind: RefKind, name: str, out: Output) -> None:
    """Delete a branch or a tag, and say how to get it back."""
    from cns_cli.porcelain.refs import delete_ref

    result = delete_ref(Request(**request_settings()), kind, name)
    commit = figures.short_id(result.commit)
    was: Line = [f"deleted {kind} ", Styled(name, "cyan"), ", which was at ", Styled(commit, "yellow")]
    out.answer(result.to_json(), [was])
    lost = figures.plural(len(result.unreached), "commit")
    why = f" within a month; no other name reaches {lost}" if result.unreached else ""
    out.hint(f"cns {kind} {name} {commit}", f"to get it back{why}")


def refs_lines(result: RefsResult) -> Iterator[Line]:
    """Shape names with their commits; the branch of HEAD has a star."""
    for name, commit in result.refs.items():
        star = "* " if name == result.current else "  " if result.kind == "branch" else ""
        yield [star, Styled(figures.short_id(commit), "yellow"), " ", Styled(name, "cyan")]
