"""`cns mlflow sync` and `cns mlflow restore`: bring MLflow up to date, or the registry back from it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cns_cli import figures
from cns_cli.errors import ExitCode
from cns_cli.optionfield import Option
from cns_cli.options import JsonFlag, verb, verbs
from cns_cli.output import Line, Output, Styled, is_verbose
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.mlflow import RestoreResult, SyncResult

SCORES = "refs/evaluations/"

app = verbs("Record commits on MLflow, or restore the registry from it.")


@verb(app, "cns mlflow sync", "MLFLOW_TRACKING_URI=http://team:5000 cns mlflow sync")
def sync(as_json: JsonFlag = False) -> None:
    """Record on MLflow what is not there yet; safe to repeat.

    The server is MLFLOW_TRACKING_URI, else mlflow.tracking_uri of .cns/config.toml (of a trusted registry, see
    docs/security.md), else the file .cns/mlflow.db.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.mlflow import sync as bring_up_to_date

    out = Output(as_json=as_json)
    with open_progress() as progress:
        progress.stage("record in MLflow")
        result = bring_up_to_date(request)
    out.answer(result.to_json(), sync_lines(result))
    if result.rebuilt:
        out.note("the folder had moved, so the registry's own MLflow file was made anew")


@verb(app, "cns mlflow restore", "cns mlflow restore --name my-registry-1179a2f7")
def restore(
    name: Annotated[str | None, Option("Which registry, where the server holds several.", "NAME")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Bring back every object and ref from MLflow.

    They come back bit for bit. For when .cns/objects is damaged or gone. What is still there and whole stays as it is.
    Exit code 8 where MLflow does not hold all that is needed.
    """
    request = Request(**request_settings(config={}))
    from cns_cli.porcelain.mlflow import restore as bring_back

    out = Output(as_json=as_json)
    with open_progress() as progress:
        progress.stage("read MLflow")
        result = bring_back(request, name)
    for one in result.damaged:
        out.warn(f"MLflow holds this damaged: {one}")
    for ref in result.kept:
        out.note(f"{ref} was intact and stays as it is; MLflow has another value")
    out.answer(result.to_json(), restore_lines(result, in_full=is_verbose()))
    if result.lacking:
        ref, lacks = next(iter(result.lacking.items()))
        scores = figures.plural(len(result.lacking), "score")
        out.warn(
            f"MLflow does not hold all of {scores}, first object {figures.short_id(lacks)} of {ref}; all else is here"
        )
        out.hint("cns fsck", "what that means")
        raise typer.Exit(ExitCode.REMOTE)
    out.hint("cns log")


def sync_lines(result: SyncResult) -> Iterator[Line]:
    """Shape what was recorded."""
    if result.mended:
        yield f"files of {figures.plural(len(result.mended), 'run')} were gone there, and are written again"
    elif not result.told:
        yield "everything was recorded already"
    if result.told:
        yield f"recorded {result.told}"
    yield ["MLflow is at ", Styled(result.tracking_uri, "bold"), in_workspace(result)]


def restore_lines(result: RestoreResult, *, in_full: bool = False) -> Iterator[Line]:
    """Shape what came back; refs of scores are counted, unless all are wanted."""
    whole = figures.plural(result.objects, "whole object")
    yield f"MLflow held {whole}{in_workspace(result)}; they are in {result.folder / '.cns'} now"
    named = [ref for ref in result.refs if in_full or not ref.startswith(SCORES)]
    yield from (f"set {ref}" for ref in named)
    if scores := len(result.refs) - len(named):
        yield f"set {figures.plural(scores, 'ref')} of scores"


def in_workspace(result: SyncResult | RestoreResult) -> str:
    """Name the workspace in which MLflow worked, where one is set."""
    return f", workspace {result.workspace}" if result.workspace else ""
