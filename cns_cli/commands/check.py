"""`cns check`: has the model forgotten anything? Exit code 0 when every concept is kept, 3 otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from cns_cli import figures
from cns_cli.errors import ExitCode
from cns_cli.options import DeviceOption, JsonFlag, Revision, SeedOption
from cns_cli.output import Line, Output, Piece, Styled, table
from cns_cli.porcelain.options import CheckOptions, CheckResult, CheckRow, Score
from cns_cli.progress import open_progress
from cns_cli.settings import request_settings

EXAMPLES = ("cns check", "cns check HEAD~1", "cns check --concept rex --images 8", "cns check --max-drop 0.05 --json")
_COLOURS = {"kept": "green", "forgot": "red", "inconclusive": "yellow"}


def check(
    rev: Revision = "HEAD",
    concept: Annotated[
        list[str] | None, typer.Option("--concept", metavar="NAME", help="Check only this one; may be repeated.")
    ] = None,
    images: Annotated[
        int | None, typer.Option("--images", metavar="N", min=1, help="Images for each prompt and concept.")
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option("--max-drop", metavar="X", min=0, max=2, help="Largest drop (cosine) that still counts as kept."),
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
) -> None:
    """Compare each concept with its own baseline: was it forgotten?

    The baseline of a concept is the model right after it was learned, made anew from the registry.

    A concept is kept when the upper bound of its drop is at most --max-drop, forgotten when the lower bound is above
    it, and inconclusive in between. Exit code 0 means that all are kept, 3 that some are not.
    """
    options = CheckOptions(
        rev=rev, concepts=tuple(concept or ()), images=images, max_drop=max_drop, seed=seed, device=device,
        **request_settings(),
    )  # fmt: skip
    from cns_cli.porcelain.revision import require

    require(options.start, rev, options.concepts)
    out = Output(as_json=as_json)
    with open_progress() as progress:
        progress.stage("load libraries")
        from cns_cli.porcelain.check import check as check_concepts

        result = check_concepts(options, progress)
    for warning in result.warnings:
        out.warn(warning)
    out.answer(result.to_json(), result_lines(result))
    if not result.passed:
        raise typer.Exit(ExitCode.FORGOT)


def result_lines(result: CheckResult) -> Iterator[Line]:
    """Shape the whole answer: what was checked, one block a concept, the verdict."""
    if not result.rows:
        yield f"{figures.short_id(result.commit)} holds no concept; there is nothing to forget."
        return
    yield f"{figures.short_id(result.commit)}, {figures.plural(result.images, 'image')} a concept"
    yield ""
    yield from check_lines(result.rows)
    yield ""
    lost = [row.concept for row in result.rows if row.verdict != "kept"]
    limit = f"no drop above {result.max_drop:g}"
    if result.passed:
        yield [Styled("kept", "green"), f": {figures.plural(len(result.rows), 'concept')}, {limit}"]
    else:
        yield [Styled("not kept", "red"), f": {', '.join(lost)} (asked: {limit})"]


def check_lines(rows: Sequence[CheckRow]) -> Iterator[Line]:
    """Shape the table of concepts: one line a metric, the verdict beside the concept's name."""
    body: list[list[Piece]] = []
    for row in rows:
        head: list[Piece] = [Styled(row.concept, "bold"), Styled(row.verdict, _COLOURS[row.verdict])]
        metrics = [("identity", row.identity), ("CLIP-I", row.clip_i)]
        for label, score in [(label, score) for label, score in metrics if score is not None]:
            body.append([*head, label, *_score_cells(score)])
            head = ["", ""]
        if row.drift is not None:
            body.append([*head, "K/V drift", figures.drift(row.drift), "", "", ""])
            head = ["", ""]
        if head != ["", ""]:
            body.append([*head, "", "", "", "", ""])
    yield from table(body, header=["concept", "", "", "now", "baseline", "drop", "between"], right=[3, 4, 5])
    yield from (f"{row.concept}: {row.why}" for row in rows if row.why)


def _score_cells(score: Score) -> list[Piece]:
    bounds = f"{score.low:+.3f} and {score.high:+.3f}"
    return [figures.cosine(score.now), figures.cosine(score.baseline), f"{score.drop:+.3f}", bounds]
