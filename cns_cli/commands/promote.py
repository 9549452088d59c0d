"""`cns promote [ALIAS] [REV]`: move an alias to a model whose check passed. Exit code 3 where it did not."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cns_cli import figures
from cns_cli.errors import ExitCode
from cns_cli.optionfield import Argument, Option
from cns_cli.options import DeviceOption, JsonFlag, Revision
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import CheckOptions
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings
from cns_cli.signals import explained

if TYPE_CHECKING:
    from cns_cli.porcelain.promote import AliasesResult, PromoteResult
    from cns_cli.porcelain.reflog import ReflogResult

EXAMPLES = ("cns promote", "cns promote champion", "cns promote champion v1", "cns promote --log champion")


def promote(
    alias: Annotated[str | None, Argument("Alias to move, such as champion.", "ALIAS")] = None,
    rev: Revision = "HEAD",
    log: Annotated[str | None, Option("Show the moves of this alias, newest first.", "ALIAS")] = None,
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Move an alias to what a check passes; or list them.

    The check is cns check by the registry's own limits; no flag loosens them. In MLflow the alias leads to a model that
    can be served: models:/NAME@ALIAS. Exit code 3 means that the check did not pass and the alias stays.
    """
    out = Output(as_json=as_json)
    if log is not None and alias is not None:
        raise typer.BadParameter(f"--log takes one alias and moves none: expected no {alias!r}")
    if alias is not None:
        _move(alias, CheckOptions(rev=rev, device=device, **request_settings()), out)
    else:
        _show(log, out)


def _show(log: str | None, out: Output) -> None:
    """List the aliases, or the moves of one."""
    from cns_cli.porcelain.promote import alias_log, aliases

    if log is None:
        listed = aliases(Path.cwd())
        out.answer(listed.to_json(), alias_lines(listed))
        return
    moves = alias_log(Path.cwd(), log)
    out.answer(moves.to_json(), log_lines(moves))
    if moves.damaged:
        out.warn(f"the log of {log} cannot be read in line {', '.join(map(str, moves.damaged[:10]))}")
        out.hint("cns fsck")


def _move(alias: str, options: CheckOptions, out: Output) -> None:
    """Check, move, and say what was decided."""
    with open_progress() as progress, explained("the scores that were computed are kept", f"cns promote {alias}"):
        from cns_cli.porcelain.promote import promote as move

        result = move(alias, options, progress)
    for warning in (*result.check.warnings, *result.warnings):
        out.warn(warning)
    out.answer(result.to_json(), promote_lines(result))
    if not result.check.passed:
        out.hint(f"cns check {figures.short_id(result.check.commit)}")
        raise typer.Exit(ExitCode.FORGOT)


def alias_lines(result: AliasesResult) -> Iterator[Line]:
    """Shape names with their commits."""
    for name, commit in result.aliases.items():
        yield [Styled(figures.short_id(commit), "yellow"), " ", Styled(name, "cyan")]


def promote_lines(result: PromoteResult) -> Iterator[Line]:
    """Shape where the alias is now; of a check that did not pass, the concepts and why."""
    asked = figures.short_id(result.check.commit)
    was = figures.short_id(result.before) if result.before else "nowhere"
    if not result.check.passed:
        lost = [row for row in result.check.rows if row.verdict != "kept"]
        names = ", ".join(row.concept for row in lost)
        yield [Styled("refused", "red"), f": {result.alias} stays {was}; {asked} does not keep {names}"]
        for row in lost:
            yield from textwrap.wrap(f"{row.concept} {row.verdict}: {row.why}", 80, subsequent_indent="  ")
        return
    kept = [row for row in result.check.rows if not row.concept.startswith("(")]
    why = f"{figures.plural(len(kept), 'concept')} kept" if kept else "no concept, nothing to forget"
    there = f"moved from {was} to " if result.moved else "is already at "
    yield [Styled(result.alias, "cyan"), f" {there}", Styled(asked, "yellow"), f": {why}"]


def log_lines(result: ReflogResult) -> Iterator[Line]:
    """Shape each move as revision, id, time and author, and below it the check that it rests on."""
    for move in result.moves:
        commit = figures.short_id(move.new) if move.new else "deleted"
        revision, who = move.revision.removeprefix("refs/aliases/"), f"  {figures.moment(move.time)}  {move.author}"
        yield [Styled(revision, "cyan"), "  ", Styled(commit, "yellow"), who]
        yield from textwrap.wrap(move.message, 80, initial_indent="  ", subsequent_indent="  ")
