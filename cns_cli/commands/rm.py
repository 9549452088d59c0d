"""`cns rm NAME...`: take concepts out of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.combined import context_lines
from cns_cli.optionfield import MESSAGE, NO_DRIFT, Argument, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.rm import RmPreview, RmResult

EXAMPLES = ("cns rm rex", "cns rm rex tom", "cns rm rex --dry-run", 'cns rm rex -m "rex has moved to another model"')


def rm(
    names: Annotated[list[str], Argument("Concepts of HEAD.", "NAME...", repeated=True)],
    message: Annotated[str | None, MESSAGE] = None,
    dry_run: Annotated[bool, Option("Only say what would be removed, and who was trained beside it.")] = False,
    no_drift: Annotated[bool, NO_DRIFT] = False,
    as_json: JsonFlag = False,
) -> None:
    """Take concepts out of the model, each by a commit.

    This removes a concept's exact weights and its token. Concepts that were trained after it may look a little
    different without it: see cns check. History keeps the concept.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain import rm as porcelain

    out = Output(as_json=as_json)
    if dry_run:
        would = porcelain.preview(request, names)
        out.answer([one.to_json() for one in would], preview_lines(would))
        return
    names = [one.name for one in porcelain.preview(request, names)]
    with open_progress() as progress:
        results = [porcelain.rm(request, name, progress, message, drift=not no_drift) for name in names]
    for warning in dict.fromkeys(warning for result in results for warning in result.warnings):
        out.warn(warning)
    said = [result.to_json() for result in results]
    out.answer(said if len(said) > 1 else said[0], (line for result in results for line in rm_lines(result)))
    last = results[-1]
    if last.concepts and (last.compose == "all" or last.outside_context):
        out.hint("cns check", "did the other concepts keep their looks?")
    out.hint(f"cns checkout {figures.short_id(results[0].before)}", f"the model that still holds {', '.join(names)}")


def preview_lines(would: Sequence[RmPreview]) -> Iterator[Line]:
    """Shape what would be removed."""
    for one in would:
        yield [
            "would remove ",
            Styled(one.name, "bold"),
            f" ({figures.tokens(one.tokens)}, {figures.a(one.class_noun)})",
        ]
        if one.beside:
            yield f"  trained beside it, and without it afterwards: {', '.join(one.beside)}"
    yield "Nothing was written."


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
