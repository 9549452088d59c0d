"""`cns fetch [REMOTE]`: bring what a remote has; nothing here moves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled, table
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.fetch import FetchResult, RefUpdate

RemoteArgument = Annotated[str | None, Argument("Name of a remote; the only one, or origin.", "REMOTE")]
EXAMPLES = ("cns fetch", "cns fetch origin --prune")


def fetch(
    remote: RemoteArgument = None,
    prune: Annotated[bool, Option("Drop what stands for branches that are gone there.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Bring what a remote has; no branch moves.

    Its branches become REMOTE/BRANCH here. What has come before is not sent again, also where a fetch was broken off.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.fetch import fetch as bring

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = bring(request, remote, progress, prune=prune)
    warn_of_tags(out, result)
    out.answer(result.to_json(), fetch_lines(result))


def warn_of_tags(out: Output, result: FetchResult) -> None:
    """Say which tags are not those of the remote."""
    for tag in result.kept:
        out.warn(f"the tag '{tag}' leads to another commit at {result.remote}; it stays as it is here")


def fetch_lines(result: FetchResult) -> Iterator[Line]:
    """Shape what came."""
    if not result.moved and not result.objects and not result.evaluations:
        yield ["up to date with ", Styled(result.remote, "cyan"), f" ({result.address})"]
        return
    yield ["from ", Styled(result.remote, "cyan"), f" ({result.address})"]
    yield from update_lines(result.moved)
    yield f"received {transferred(result.objects, result.size_bytes, result.evaluations)}"


def update_lines(moved: Iterable[RefUpdate]) -> Iterator[Line]:
    """Shape refs that moved, a line each."""
    yield from table(["", Styled(_short(one.ref), "cyan"), _span(one.old, one.new)] for one in moved)


def transferred(objects: int, size_bytes: int, evaluations: int) -> str:
    """Say how much it was."""
    scores = f", {figures.plural(evaluations, 'score')} among them" if evaluations else ""
    return f"{figures.plural(objects, 'object')}, {figures.byte_size(size_bytes)}{scores}"


def _short(ref: str) -> str:
    return ref.split("/", 2)[2]


def _span(old: str | None, new: str | None) -> str:
    if new is None:
        return "gone"
    return f"new at {figures.short_id(new)}" if old is None else f"{figures.short_id(old)}..{figures.short_id(new)}"
