"""`cns purge CONCEPT...`: have a concept, or its photos, leave history for good."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from cns_cli import figures
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import Request
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings
from registry.refs import ALIASES

if TYPE_CHECKING:
    from cns_cli.porcelain.purge import PurgeResult

EXAMPLES = (
    "cns purge rex --dry-run",
    "cns purge rex",
    "cns purge rex --photos-only --yes",
    "cns purge rex --remote origin --yes",
)

SHOWN = 8


def purge(
    names: Annotated[list[str], Argument("Name of a concept, wherever in history.", "CONCEPT", repeated=True)],
    photos_only: Annotated[bool, Option("Its photos alone go; its weights stay.")] = False,
    remote: Annotated[list[str] | None, Option("Have it leave this remote, too.", "NAME", repeated=True)] = None,
    dry_run: Annotated[bool, Option("Only say what would go.")] = False,
    yes: Annotated[bool, Option("Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete a concept from history, at once and for good.

    Its photos, weights, scores and name leave every commit, branch, tag and log, the caches and MLflow. Commits that
    held it become others without it. Nothing brings it back: cns rm takes a concept out and keeps history.
    """
    request = Request(**request_settings())
    from cns_cli.porcelain.purge import planned, purge_concepts
    from registry.purging import Wish

    out, wish = Output(as_json=as_json), Wish(tuple(names), photos_only)
    if not (dry_run or yes or sys.stdin.isatty()):
        raise typer.BadParameter("nobody can be asked here; expected --yes, or --dry-run", param_hint="--yes")
    with open_progress() as progress:
        result = planned(request, wish, remote or (), progress)
    if not dry_run:
        _consent(out, result, yes=yes)
        with open_progress() as progress:
            result = purge_concepts(request, wish, remote or (), progress)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), purge_lines(result))
    _advise(out, result)


def _consent(out: Output, result: PurgeResult, *, yes: bool) -> None:
    """Go on only where somebody has said yes."""
    if yes:
        return
    for line in purge_lines(result):
        pieces = [line] if isinstance(line, str) else line
        out.note("".join(piece.text if isinstance(piece, Styled) else piece for piece in pieces))
    if not typer.confirm("This cannot be undone. Go on?", err=True):
        raise typer.Exit


def purge_lines(result: PurgeResult) -> Iterator[Line]:
    """Shape what goes, what becomes another, and what stays."""
    what = "the photos of " if result.photos_only else ""
    yield ["purged " if result.done else "would purge ", what, Styled(", ".join(result.names), "bold")]
    gone = ", ".join(f"{number} {kind}" for kind, number in result.objects.items())
    count = sum(result.objects.values())
    yield f"  {figures.plural(count, 'object')} deleted ({figures.byte_size(result.freed_bytes)}): {gone or 'none'}"
    yield f"  {figures.plural(result.commits, 'commit')} written anew, {result.dropped:,} dropped"
    moved = [name.removeprefix("refs/") for name in result.refs]
    if moved:
        yield f"  refs moved: {_some(moved)}"
    if result.lost:
        yield f"  refs removed: {_some(result.lost)}"
    if result.renewed:
        yield f"  concepts with a new id, their weights as before: {_some(result.renewed)}"
    if result.evaluations:
        yield f"  {figures.plural(result.evaluations, 'stored score')} deleted: measured with it, or of it"
    if result.mlflow_runs:
        yield f"  {figures.plural(result.mlflow_runs, 'run')} on the MLflow server deleted, with their files"
    yield "  caches, contact sheets and states of interrupted trainings deleted"
    if result.remotes:
        packs = f": {figures.plural(result.packs, 'pack')} deleted" if result.done else ""
        yield f"  remotes: {', '.join(result.remotes)}{packs}"


def _advise(out: Output, result: PurgeResult) -> None:
    again = f"cns purge {' '.join(result.names)}{' --photos-only' * result.photos_only}"
    if not result.done:
        out.hint(f"{again}{''.join(f' --remote {name}' for name in result.remotes)}", "do it; this cannot be undone")
        return
    if result.still_named:
        out.warn(f"the name still stands in: {', '.join(result.still_named)}; a branch or tag is yours to rename")
    if result.mlflow_runs:
        out.warn("MLflow keeps params and tags of deleted runs in its database until its admin runs: mlflow gc")
    for name in (name.removeprefix(ALIASES) for name in result.refs if name.startswith(ALIASES)):
        out.hint(f"cns promote {name}", "it follows to a model without the concept, which nothing has checked")
    for name in result.other_remotes:
        out.hint(f"{again} --remote {name}", f"{name} may still hold it, and a fetch would bring it back")
    out.note(f"other clones and copies of this folder keep it until there, too: {again}")
    out.hint("cns check", "did the other concepts keep their looks?")


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
