"""`cns bundle create|verify|clone`: a lineage in one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.commands.clone import BaseOption, FolderArgument, clone_and_answer
from cns_cli.optionfield import Argument, file_to_write
from cns_cli.options import JsonFlag, verb, verbs
from cns_cli.output import Line, Output, Styled, table
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.bundle import BundleResult

BundleArgument = Annotated[Path, Argument("A bundle.", "FILE")]
NamesArgument = Annotated[list[str] | None, Argument("Branches and tags; all of them.", "REV", repeated=True)]
app = verbs("Put a lineage in one file, or take it out.")


@verb(app, "cns bundle create studio.bundle", "cns bundle create winter.bundle winter v1")
def create(
    file: Annotated[Path, Argument("File to write.", "FILE", check=file_to_write)],
    revs: NamesArgument = None,
    as_json: JsonFlag = False,
) -> None:
    """Write branches and tags, with all their history, to a file.

    Scores and training photos are in it, as in what cns push sends. The same history makes the same file.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.bundle import create as write

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = write(request, file, revs or (), progress)
    out.answer(result.to_json(), bundle_lines(result, "wrote"))
    out.hint(f"cns clone {file}", "to take it out elsewhere")


@verb(app, "cns bundle verify studio.bundle")
def verify(file: BundleArgument, as_json: JsonFlag = False) -> None:
    """Read a bundle and hash every object in it.

    Exit code 0: it is whole, and holds all that its branches need.
    """
    from cns_cli.porcelain.bundle import verify as read

    result = read(file)
    Output(as_json=as_json).answer(result.to_json(), bundle_lines(result, "whole:"))


@verb(app, "cns bundle clone studio.bundle dogs")
def clone(
    file: BundleArgument, folder: FolderArgument = None, base: BaseOption = None, as_json: JsonFlag = False
) -> None:
    """Make a registry of a bundle, as cns clone does."""
    clone_and_answer(str(file), folder, base, Output(as_json=as_json))


def bundle_lines(result: BundleResult, said: str) -> Iterator[Line]:
    """Shape what a bundle holds."""
    size = f"{figures.plural(result.objects, 'object')}, {figures.byte_size(result.size_bytes)}"
    yield [f"{said} ", Styled(str(result.file), "bold"), f", {size}"]
    yield from table(
        ["", Styled(figures.short_id(at), "yellow"), ref.split("/", 2)[2]] for ref, at in result.refs.items()
    )
