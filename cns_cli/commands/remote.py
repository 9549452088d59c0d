"""`cns remote add|list|remove|set-url`: names for the places where a lineage is shared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.optionfield import Argument
from cns_cli.options import JsonFlag, verb, verbs
from cns_cli.output import Line, Output, Styled, table
from cns_cli.porcelain.options import Request
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.remote import RemotesResult

NameArgument = Annotated[str, Argument("What the remote is called here, such as origin.", "NAME")]
UrlArgument = Annotated[str, Argument("MLflow server and name, URL, folder, or bundle.", "URL")]
app = verbs("Name the places where the lineage is shared.")


@verb(
    app,
    "cns remote add origin https://mlflow.example.org#studio",
    "cns remote add origin s3://bucket/studio",
    "cns remote add disk /mnt/team/studio",
)
def add(name: NameArgument, url: UrlArgument, as_json: JsonFlag = False) -> None:
    """Name a remote; nothing is contacted.

    Users and passwords are no part of an address: MLflow, fsspec and their libraries read them from the environment.
    """
    from cns_cli.porcelain.remote import add_remote

    out = Output(as_json=as_json)
    _answer(out, add_remote(Path.cwd(), name, url))
    out.hint(f"cns push {name}")


@verb(app, "cns remote list", "cns remote list --json", name="list")
def list_all(as_json: JsonFlag = False) -> None:
    """List the remotes, and where their branches were last."""
    from cns_cli.porcelain.remote import list_remotes

    _answer(Output(as_json=as_json), list_remotes(Path.cwd()))


@verb(app, "cns remote set-url origin s3://bucket/studio", name="set-url")
def set_url(name: NameArgument, url: UrlArgument, as_json: JsonFlag = False) -> None:
    """Give a remote another address.

    Also for one that came with a folder from elsewhere: with this you say that you mean it.
    """
    from cns_cli.porcelain.remote import set_url as change

    _answer(Output(as_json=as_json), change(Path.cwd(), name, url))


@verb(app, "cns remote remove disk")
def remove(name: NameArgument, as_json: JsonFlag = False) -> None:
    """Forget a remote. What came from it stays."""
    from cns_cli.porcelain.remote import remove_remote

    _answer(Output(as_json=as_json), remove_remote(Request(**request_settings()), name))


def _answer(out: Output, result: RemotesResult) -> None:
    out.answer(result.to_json(), remote_lines(result))
    for one in result.remotes:
        if not one.trusted:
            out.warn(f"the address of '{one.name}' came with this folder and is not used until you set it")


def remote_lines(result: RemotesResult) -> Iterator[Line]:
    """Shape the remotes."""
    if not result.remotes:
        yield "no remotes"
    for one in result.remotes:
        yield [Styled(one.name, "cyan"), "  ", one.address]
        yield from table(["", Styled(figures.short_id(at), "yellow"), name] for name, at in one.branches.items())
