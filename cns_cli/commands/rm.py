"""`cns rm NAME`: take a concept out of the model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.combined import context_lines
from cns_cli.optionfield import MESSAGE, NO_DRIFT, Argument
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.rm import RmResult

EXAMPLES = ("cns rm rex", 'cns rm rex -m "rex has moved to another model"')


def rm(
    name: Annotated[str, Argument("Name of a concept of HEAD.", "NAME")],
    message: Annotated[str | None, MESSAGE] = None,
    no_drift: Annotated[bool, NO_DRIFT] = False,
    as_json: JsonFlag = False,
) -> None:
    """Take a concept out of the model, as a commit.

    This removes the concept's exact weights and its token. Concepts that were trained after it may look a little
    different without it: see cns check. History keeps the concept.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.rm import rm as remove

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = remove(request, name, progress, message, drift=not no_drift)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), rm_lines(result))
    if result.concepts and (result.compose == "all" or result.outside_context):
        out.hint("cns check", "did the other concepts keep their looks?")
    out.hint(f"cns checkout {figures.short_id(result.before)}", f"the model that still holds {result.name}")


def rm_lines(result: RmResult) -> Iterator[Line]:
    """Shape what was removed, and what that does not mean."""
    where = f"{figures.short_id(result.commit)} on {result.branch or 'a detached HEAD'}"
    yield [
        "removed ",
        Styled(result.name, "bold"),
        f" ({figures.tokens(result.token.split())}, {figures.a(result.class_noun)}): commit {where}",
    ]
    effect = "; its effect on what was trained later is not undone." if result.compose == "all" else "."
    yield f"Its exact weights and its token are gone from the model{effect}"
    yield from context_lines(result)
