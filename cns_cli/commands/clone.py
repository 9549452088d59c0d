"""`cns clone URL [FOLDER]`: a registry of a lineage that others share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.commands.fetch import transferred
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled, facts
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.clone import CloneResult

FolderArgument = Annotated[Path | None, Argument("Where to; the last part of the address.", "FOLDER")]
BaseOption = Annotated[str | None, Option("Where the base lies: emoji-64, a folder, a file, or a hub id.", "BASE")]
EXAMPLES = (
    "cns clone https://mlflow.example.org#studio",
    "cns clone s3://bucket/studio",
    "cns clone /mnt/team/studio dogs --base ./stable-diffusion-v1-5",
    "cns clone studio.bundle",
)


def clone(
    address: Annotated[str, Argument("MLflow server and name, URL, folder, or bundle.", "URL")],
    folder: FolderArgument = None,
    base: BaseOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a registry of a lineage that others share.

    The remote is called origin in it. A clone that was broken off goes on when the same command is typed again.
    """
    clone_and_answer(address, folder, base, Output(as_json=as_json))


def clone_and_answer(address: str, folder: Path | None, base: str | None, out: Output) -> None:
    """Clone, and say what is there now."""
    request = Request(**request_settings(config={}))
    from cns_cli.porcelain.clone import clone as make

    with open_progress() as progress:
        result = make(request, address, folder, progress, base=base)
    out.answer(result.to_json(), clone_lines(result))
    out.hint(f"cd {figures.place(result.folder)}")
    if result.base_source is None:
        out.hint("cns config base.source FOLDER", "where its base model lies on this machine")


def clone_lines(result: CloneResult) -> Iterator[Line]:
    """Shape what was made."""
    yield ["cloned ", result.address, " into ", Styled(figures.place(result.folder), "bold")]
    yield ""
    yield from facts(
        [
            ("received", transferred(result.objects, result.size_bytes, result.evaluations)),
            ("branch", f"{result.branch} at {figures.short_id(result.commit)}"),
            ("concepts", ", ".join(result.concepts) or "none"),
            ("base", result.base_source or "not on this machine yet"),
        ]
    )
