"""`cns push [REMOTE] [BRANCH...]`: send branches, with all that they need, to a remote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.commands.fetch import RemoteArgument, transferred, update_lines
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.push import PushResult

EXAMPLES = (
    "cns push",
    "cns push origin main winter --tags",
    "cns push origin --delete winter",
    "cns push --dry-run --json",
)


def push(
    remote: RemoteArgument = None,
    branches: Annotated[
        list[str] | None, Argument("Branches to send; the one that HEAD is on.", "BRANCH", repeated=True)
    ] = None,
    tags: Annotated[bool, Option("Send all tags, too.")] = False,
    delete: Annotated[list[str] | None, Option("A branch that the remote is to drop.", "BRANCH", repeated=True)] = None,
    force: Annotated[bool, Option("Drop commits there, if nobody pushed since your last fetch.")] = False,
    dry_run: Annotated[bool, Option("Only say what would be sent.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Send branches to a remote, with all that they need.

    Scores of the models go with them, and so do training photos, unless they were added with --no-keep-images. What
    the remote has is not sent again. A branch that has commits there which you have not is refused: cns pull.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.push import push as send

    how = {"tags": tags, "delete": delete or (), "force": force, "dry_run": dry_run}
    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = send(request, remote, branches or (), progress, **how)  # type: ignore[arg-type]
    if result.first_photos:
        photos = figures.plural(result.photos, "training photo")
        out.note(f"{photos} travel with the lineage; cns add --no-keep-images keeps those of a concept at home")
    out.answer(result.to_json(), push_lines(result))


def push_lines(result: PushResult) -> Iterator[Line]:
    """Shape what was sent."""
    if not result.moved and not result.objects:
        yield ["up to date: ", Styled(result.remote, "cyan"), f" ({result.address})"]
        return
    yield ["to ", Styled(result.remote, "cyan"), f" ({result.address})"]
    yield from update_lines(result.moved)
    verb = "would send" if result.dry_run else "sent"
    yield f"{verb} {transferred(result.objects, result.size_bytes, result.evaluations)}"
