"""`cns fsck`: is everything there, and is it what was written?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from cns_cli import figures
from cns_cli.errors import ExitCode
from cns_cli.options import JsonFlag, takes
from cns_cli.output import Line, Output, Styled, is_verbose
from cns_cli.porcelain.options import FsckOptions
from cns_cli.progress import NullProgress, open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.fsck import FsckResult
    from registry.health.findings import Finding, Reach

EXAMPLES = ("cns fsck", "cns fsck --read-data", "cns fsck --rebuild", "cns fsck --json")

SHOWN = 3
_STYLES = {"error": "red", "warning": "yellow", "info": "dim"}


@takes(FsckOptions)
def fsck(as_json: JsonFlag = False, **given: Any) -> None:
    """Check that every object, ref and log is what was written.

    Says what is damaged, what needs it and what to do. Changes nothing without --rebuild. Exit code 4 for damage.
    """
    from cns_cli.porcelain.fsck import fsck as check

    out = Output(as_json=as_json)
    options = FsckOptions(**given, **request_settings(config={}))
    with open_progress() if options.read_data or options.rebuild else NullProgress() as progress:  # the rest is a blink
        result = check(options, progress)
    out.answer(result.to_json(), fsck_lines(result, in_full=is_verbose()))
    if result.damaged:
        raise typer.Exit(ExitCode.REGISTRY)


def fsck_lines(result: FsckResult, *, in_full: bool = False) -> Iterator[Line]:
    """Shape the findings, damage first and of each kind the first few, unless all are wanted; then what was read."""
    for level in ("error", "warning", "info"):
        kinds: dict[str, list[Finding]] = {}
        for finding in result.findings:
            if finding.level == level:
                kinds.setdefault(finding.code, []).append(finding)
        for code, found in kinds.items():
            few = found if in_full else found[:SHOWN]
            for finding in few:
                yield from _finding_lines(finding)
            if more := len(found) - len(few):
                yield [Styled(level, _STYLES[level]), f"  and {more:,} more of {code}: cns fsck -v"]
    for done in result.rebuilt:
        yield [Styled("rebuilt", "green"), f"  {done}"]
    count = sum(result.objects.values())
    yield (
        f"read {figures.plural(count, 'object')} ({figures.byte_size(result.bytes_read)}), "
        f"{figures.plural(result.refs, 'ref')} and {figures.plural(result.reflog_entries, 'move')} of reflogs "
        f"in {figures.duration(result.elapsed_s)}"
        + (f"; decoded {figures.plural(result.decoded, 'concept')}" * bool(result.decoded))
    )
    errors = sum(finding.level == "error" for finding in result.findings)
    if errors:
        yield [Styled(f"damaged: {figures.plural(errors, 'error')}", "red")]
    else:
        yield [Styled("everything is whole", "green")]


def _finding_lines(finding: Finding) -> Iterator[Line]:
    yield [Styled(finding.level, _STYLES[finding.level]), f"  {finding.what}"]
    yield f"  where:     {finding.path}"
    if finding.reach.commit_count or finding.reach.concepts or finding.reach.refs:
        yield f"  needed by: {_reach(finding.reach)}"
    if finding.fix:
        yield f"  to do:     {finding.fix}"


def _reach(reach: Reach) -> str:
    """Say what needs a damaged object: `2 commits (282c15536a, d6018f0cd9), concept rex, refs main, HEAD`."""
    shown = ", ".join(figures.short_id(commit) for commit in reach.commits[:SHOWN])
    more = ", …" if reach.commit_count > SHOWN else ""
    parts = [f"{figures.plural(reach.commit_count, 'commit')} ({shown}{more})"] if reach.commit_count else []
    if reach.concepts:
        parts.append(f"{'concept' if len(reach.concepts) == 1 else 'concepts'} {', '.join(reach.concepts[:20])}")
    names = [ref for ref in reach.refs if not ref.startswith("refs/evaluations/")]
    scores = len(reach.refs) - len(names)
    parts += [", ".join(names)] if names else []
    parts += [figures.plural(scores, "evaluation")] if scores else []
    return "; ".join(parts)
