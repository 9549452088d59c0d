"""`cns report [REV]`: the lineage, its scores and its pictures on one page that anybody can open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cns_cli import figures
from cns_cli.options import JsonFlag, MissingArgument, takes
from cns_cli.output import Line, Output, Styled
from cns_cli.porcelain.options import ReportOptions
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

if TYPE_CHECKING:
    from cns_cli.porcelain.report import ReportResult

EXAMPLES = (
    "cns report",
    "cns report v1 -o v1.html",
    "cns report --fill --images 4",
    "cns report --fill --jobs 4",
    "cns report --no-images",
)
_COLOURS = {"kept": "green", "forgot": "red", "inconclusive": "yellow", "unmeasured": "yellow"}


@takes(ReportOptions, shard="fill", engine="fill", devices="fill", jobs="fill", dtype="fill", device="fill")
def report(as_json: JsonFlag = False, **given: Any) -> None:
    """Write a self-contained HTML page about a revision's lineage.

    Scores are taken from what is stored; what was never measured is said, with the command that measures it. Pictures
    are made once and kept in the registry's cache.
    """
    if given["shard"] and not given["fill"]:
        raise MissingArgument("--fill: --shard is a part of what it computes", "cns report --fill --shard 1/2")
    options = ReportOptions(**given, **request_settings())
    from cns_cli.porcelain.report import report as write_report

    out = Output(as_json=as_json)
    with open_progress() as progress:
        result = write_report(options, progress)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), result_lines(result))
    if result.missing and (options.shard or not options.fill):
        rev = "" if options.rev == "HEAD" else f"{options.rev} "
        out.hint(f"cns report {rev}--fill", "compute what is missing")


def result_lines(result: ReportResult) -> Iterator[Line]:
    """Shape the answer: the file, the verdict, what the page holds."""
    yield figures.place(result.path.absolute())
    yield [Styled(result.verdict, _COLOURS[result.outcome])]
    scores = f"{result.measured} of {result.measured + result.missing} scores"
    size = figures.byte_size(result.bytes_written)
    yield f"{figures.short_id(result.commit)}: {scores}, {figures.plural(result.pictures, 'picture')}, {size}"
    yield from (f"left out: {line}" for line in result.left_out)
