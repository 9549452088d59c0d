"""`cns mv OLD NEW`: give a concept another name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.optionfield import MESSAGE, Argument
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.mv import MvResult

EXAMPLES = ("cns mv rex bello", 'cns mv rex bello -m "its owner calls it so"', "cns undo")


def mv(
    old: Annotated[str, Argument("Concept of HEAD.", "OLD")],
    new: Annotated[str, Argument("What to call it.", "NEW")],
    message: Annotated[str | None, MESSAGE] = None,
    as_json: JsonFlag = False,
) -> None:
    """Give a concept another name, by a commit.

    Its weights stay what they are. Prompts call it <NEW> instead of <OLD>; a token of its own (cns add --token) stays.
    Older commits have it under its old name.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain import mv as porcelain

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = porcelain.mv(request, old, new, progress, message)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), mv_lines(result))
    out.hint(f'cns generate "a {result.tokens[0]} {result.class_noun}"')
    out.hint("cns undo", f"take {figures.short_id(result.commit)} back")


def mv_lines(result: MvResult) -> Iterator[Line]:
    """Shape what has another name, and what prompts say now."""
    where = f"{figures.short_id(result.commit)} on {result.branch or 'a detached HEAD'}"
    yield ["renamed ", Styled(result.old, "bold"), " to ", Styled(result.name, "bold"), f": commit {where}"]
    now, before = figures.tokens(result.tokens), figures.tokens(result.tokens_before)
    instead = f", and {before} no more" if before != now else ", as before"
    yield f"Prompts say {now}{instead}; its weights are the same."
