"""`cns check`: has the model forgotten anything? Exit code 0 when every concept is kept, 3 otherwise."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cns_cli import figures, settings
from cns_cli.errors import ExitCode, boundary
from cns_cli.metricnames import largest_drop, least_score, metric_list
from cns_cli.optionfield import Option, file_to_write
from cns_cli.options import JsonFlag, takes
from cns_cli.output import Line, Output, Piece, Styled, table
from cns_cli.porcelain.metrics import BY_WEIGHTS, grows, label_of
from cns_cli.porcelain.options import CheckOptions
from cns_cli.progress import open_progress
from cns_cli.quick import QuickCommand
from cns_cli.settings import request_settings
from cns_cli.signals import explained

if TYPE_CHECKING:
    from cns_cli.porcelain.answers import CheckPart, CheckResult, CheckRow, MetricResult

EXAMPLES = (
    "cns check",
    "cns check HEAD --since HEAD~1",
    "cns check --concept rex --metric id,clip-t --min=clip-t=0.2",
    "cns check --max-drop 0.05 --junit check.xml",
    "cns check --fast --max-drop=drift=0.001",
    "cns check --jobs 4",
    "cns check --jobs 16 --engine ray",
    "cns check --shard 1/2",
)
SKIP = 125
"""What `git bisect run` and `cns bisect run` read as: this one cannot be told."""
_COLOURS = {"kept": "green", "forgot": "red", "inconclusive": "yellow"}


@takes(CheckOptions, shard="seed", engine="seed", devices="seed", jobs="seed", dtype="seed", device="seed")
def check(
    bisect: Annotated[bool, Option("Exit code 0 if kept, 3 if forgot, 125 if it cannot be told.")] = False,
    as_json: JsonFlag = False,
    junit: Annotated[Path | None, Option("Also write JUnit XML.", "FILE", check=file_to_write)] = None,
    markdown: Annotated[Path | None, Option("Also write Markdown.", "FILE", check=file_to_write)] = None,
    **given: Any,
) -> None:
    """Compare each concept with its own baseline: was it forgotten?

    The baseline of a concept is the model right after it was learned, made anew from the registry.

    A concept is kept when the upper bound of its drop is at most --max-drop, forgotten when the lower bound is above
    it, and inconclusive in between. Exit code 0 means that all are kept, 3 that some are not.
    """
    with _told_to(bisect):
        given |= {
            "concepts": tuple(given["concepts"] or ()),
            "metrics": metric_list(given["metrics"]),
            "max_drop": dict(map(largest_drop, given["max_drop"] or ())),
            "minimum": dict(map(least_score, given["minimum"] or ())),
        }
        options = CheckOptions(**given, **request_settings())
        out = Output(as_json=as_json)
        result = _answer(options)
        write_reports(result, out, junit, markdown)
        if not result.passed and result.part is None:
            raise typer.Exit(exit_code(result, bisect=bisect))


def exit_code(result: CheckResult, *, bisect: bool) -> int:
    """What the shell is told of a check that did not pass."""
    return SKIP if bisect and result.outcome != "forgot" else ExitCode.FORGOT


@contextmanager
def _told_to(bisect: bool) -> Iterator[None]:
    """With `--bisect`, whatever is neither an answer nor an interruption gets the exit code that skips a commit."""
    if not bisect:
        yield
        return
    try:
        with boundary("cns check"):
            yield
    except typer.Exit as told:
        known = told.exit_code in (ExitCode.OK, ExitCode.FORGOT) or told.exit_code > SKIP  # ended by a signal
        raise typer.Exit(told.exit_code if known else SKIP) from None


class Command(QuickCommand):
    """With `--bisect` a mistake on the command line is no verdict either: `git bisect run` reads exit code 2 as bad."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line."""
        with _told_to("--bisect" in args):
            return super().parse_args(ctx, args)


def _answer(options: CheckOptions) -> CheckResult:
    with open_progress() as progress, explained("the scores that were computed are kept", "cns check"):
        from cns_cli.porcelain.check import check as check_concepts

        return check_concepts(options, progress)


def write_reports(result: CheckResult, out: Output, junit: Path | None, markdown: Path | None) -> None:
    """Print the answer, write the files that were asked for, and tell GitHub Actions where that runs us."""
    for warning in result.warnings:
        out.warn(warning)
    lines: list[Line] = list(result_lines(result))
    if junit or markdown or settings.github_actions():
        from cns_cli.files import write_output
        from cns_cli.porcelain.gate import formats

        if junit:
            write_output(junit, formats.junit(result))
        if markdown:
            write_output(markdown, formats.markdown(result))
        if settings.github_actions():
            _summarise(formats.markdown(result), out)
            errors = formats.github_errors(result)
            lines += [] if out.as_json else errors
            for error in errors if out.as_json else ():  # stdout is one JSON document
                out.note(error)
    out.answer(result.to_json(), lines)


def _summarise(text: str, out: Output) -> None:
    """Append the Markdown to the summary of the GitHub job."""
    place = settings.github_summary()
    if place is None:
        return
    try:
        with place.open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        out.warn(f"the summary of the job cannot be written: {error}")


def result_lines(result: CheckResult) -> Iterator[Line]:
    """Shape the whole answer: what was checked, one block a concept, the limits, the verdict."""
    if result.part is not None:
        yield from _part_lines(result.part)
        return
    if not result.rows:
        yield f"{figures.short_id(result.commit)} holds no concept; there is nothing to forget."
        return
    counts = [figures.plural(result.prompts, "prompt")] if result.images else ["no image"]
    counts += [f"{figures.plural(result.images, 'image')} ({result.images_made:,} new)"] if result.images else []
    since = f", since {figures.short_id(result.since)}" if result.since else ""
    yield f"{figures.short_id(result.commit)}{since}: {', '.join(counts)}"
    yield ""
    yield from check_lines(result.rows)
    yield ""
    yield from _wrapped("limits: ", limits_of(result.rows))
    if any(row.gates for row in result.rows):
        yield from _wrapped("", BY_WEIGHTS)
    if result.passed:
        yield [Styled("kept", "green"), f": {figures.plural(_concepts(result.rows), 'concept')}"]
        return
    lost = [row.concept for row in result.rows if row.verdict != "kept"]
    yield [Styled("not kept", "red"), f": {', '.join(lost)}"]


def _part_lines(part: CheckPart) -> Iterator[Line]:
    """Say how far the check is, and what is left to do."""
    yield f"{part.shard} of {part.shards}: {part.stored} of {part.evaluations} evaluations are stored"
    if part.stored < part.evaluations:
        yield "Run the other shards, bring all together (cns push, cns pull, or one folder), then: cns check"
    else:
        yield "All that is asked for is there: cns check"


def check_lines(rows: Sequence[CheckRow]) -> Iterator[Line]:
    """Shape the table of concepts: one line a metric, the verdict beside the concept's name."""
    body: list[list[Piece]] = []
    for row in rows:
        cells = [_metric_cells(metric) for metric in row.metrics]
        if row.drift is not None and row.metric("drift") is None:
            cells.append(["K/V drift", figures.drift(row.drift), "", "", ""])
        if row.share_kv is not None:
            cells.append(["weights", figures.percent(row.share_kv), "", "", _shared(row)])
        head: list[Piece] = [Styled(row.concept, "bold"), Styled(row.verdict, _COLOURS[row.verdict])]
        for line in cells or [["", "", "", "", ""]]:
            body.append([*head, *line])
            head = ["", ""]
    yield from table(body, header=["concept", "", "", "now", "before", "drop", "between"], right=[3, 4, 5])
    for row in rows:
        yield from _wrapped(f"{row.concept}: ", row.why) if row.why else ()
    for row in rows:
        yield from (f"{'yes' if holds else 'NO '}  {demand}" for demand, holds in row.gates.items())


def _wrapped(label: str, text: str) -> list[str]:
    """Break a labelled text into lines of 80 columns; no word is broken, since commands are copied."""
    return textwrap.wrap(
        f"{label}{text}", 80, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False
    )


def limits_of(rows: Sequence[CheckRow]) -> str:
    """What was asked of the metrics, each limit once: `identity, CLIP-I drop at most 0.02`."""
    metrics = {one.metric: one for row in rows for one in row.metrics}
    labels: dict[str, list[str]] = {}
    for name, one in metrics.items():
        if one.max_drop is not None:
            limit = f"{'' if grows(name) else 'drop '}at most {one.max_drop:g}"
            labels.setdefault(limit, []).append(label_of(name))
        if one.minimum is not None:
            labels.setdefault(f"at least {one.minimum:g}", []).append(label_of(name))
    return "; ".join(f"{', '.join(names)} {limit}" for limit, names in labels.items()) or "none"


def _metric_cells(metric: MetricResult) -> list[Piece]:
    """One line of the table: its label, the means, the drop and its interval."""
    label = label_of(metric.metric)
    if metric.drop is None:
        return [label, "-", "-", "-", ""]
    means = [figures.cosine(metric.now), figures.cosine(metric.baseline)] if metric.baseline is not None else ["", ""]
    if metric.same:
        return [label, *means, "0", "same weights"]
    if metric.low is None or metric.high is None:
        return [label, figures.drift(metric.drop), "", "", ""]
    return [label, *means, f"{metric.drop:+.3f}", f"{metric.low:.3f} to {metric.high:.3f}"]


def _shared(row: CheckRow) -> str:
    """The concept that shares most of a concept's weights."""
    if not row.overlap:
        return ""
    other, share = max(row.overlap.items(), key=lambda pair: pair[1])
    return f"{figures.percent(share)} of them also {other}'s"


def _concepts(rows: Sequence[CheckRow]) -> int:
    return sum(not row.concept.startswith("(") for row in rows)
