"""`cns verify REV`: learn once more what a commit brought, and compare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cns_cli import figures
from cns_cli.errors import ExitCode
from cns_cli.optionfield import DEVICE, Option
from cns_cli.options import JsonFlag, Revision
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.verify import Verified, VerifyResult

EXAMPLES = ("cns verify HEAD", "cns verify rex", "cns verify v1 --json")


def verify(
    rev: Revision,
    concept: Annotated[str | None, Option("Only this one of the concepts that it brought.", "NAME")] = None,
    device: Annotated[str, DEVICE] = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Learn what a commit brought once more, and compare.

    It takes as long as cns add did. On the machine that the record names, the same bits must come out. Elsewhere the
    scores of what is drawn must be the same within the gate's interval. Writes nothing. Exit code 3 where neither is.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.verify import verify as learn_again

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = learn_again(request, rev, concept, progress, device)
    out.answer(result.to_json(), verify_lines(result))
    if not result.reproduced:
        out.hint(f"cns show {figures.short_id(result.commit)}", "what its record claims")
        raise typer.Exit(ExitCode.FORGOT)


def verify_lines(result: VerifyResult) -> Iterator[Line]:
    """Shape what came out, and why it may differ."""
    styles = {"identical": "green", "alike": "yellow", "differs": "red"}
    for one in result.concepts:
        yield [Styled(one.outcome, styles[one.outcome]), "  ", Styled(one.name, "bold"), f"  {_why(one)}"]
    if result.machine and any(one.parts for one in result.concepts):
        yield "this machine is another than the record's, so that bits may differ:"
        yield from (f"  {what}" for what in result.machine)


def _why(one: Verified) -> str:
    if not one.parts:
        return f"{figures.short_id(one.concept)} again, bit for bit, after {one.steps:,} steps"
    said = f"{', '.join(one.parts)} came out otherwise"
    if one.step is not None:
        said += f"; the loss differs from step {one.step:,} on"
    if one.drop is not None and one.low is not None and one.high is not None:
        span = f"{figures.cosine(one.low)} to {figures.cosine(one.high)}"
        said += f"; its score fell by {figures.cosine(one.drop)} ({span}), allowed {one.max_drop}"
    return said
