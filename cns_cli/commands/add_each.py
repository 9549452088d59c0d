"""`cns add --each FOLDER/` and `--plan FILE`: how the plan, and what came of it, are shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from cns_cli import figures
from cns_cli.output import Line, Output, Piece, Styled, table
from cns_cli.porcelain.options import AddOptions, Spread
from cns_cli.progress import open_progress

if TYPE_CHECKING:
    from cns_cli.porcelain.answers import EachResult, EachRow

STYLES = {"added": "green", "failed": "red"}


def add_each(options: AddOptions, source: Path, spread: Spread, out: Output) -> None:
    """Teach a concept from each folder of a folder, or each of a plan; exits with the code of the first that failed."""
    from cns_cli.porcelain.add_each import add_each as teach
    from cns_cli.porcelain.add_each import add_plan

    with open_progress() as progress:
        result = (teach if source.is_dir() else add_plan)(options, source, progress, spread)
    for warning in result.left:
        out.warn(warning)
    for row in result.rows:
        for warning in row.warnings:
            out.warn(f"{row.name}: {warning}")
    out.answer(result.to_json(), each_lines(result))
    failed = [row for row in result.rows if row.outcome == "failed"]
    if result.dry_run:
        out.hint(result.command, "when that suits you")
    elif failed:
        out.hint(result.command, "what is left; those that are there are skipped")
    if failed:
        raise typer.Exit(failed[0].code)


def each_lines(result: EachResult) -> Iterator[Line]:
    """Shape a row for each concept, and why one was not taught."""
    done = [row for row in result.rows if row.outcome in ("planned", "added")]
    seconds = sum(row.seconds for row in done)
    count = figures.plural(len(done), "concept")
    if result.dry_run:
        took = f", in about {figures.duration(seconds)}" if done else ""
        yield f"{count} of {len(result.rows)} would be taught from {figures.place(result.folder)}{took}"
    else:
        yield f"{count} of {len(result.rows)} taught from {figures.place(result.folder)}"
    yield ""
    last = "" if result.dry_run else "identity"
    header = ["", "name", "noun", "images", "captions", *(["masks"] if any(row.masks for row in done) else []), last]
    yield from table(([*_cells(row, len(header))] for row in result.rows), header=header, right=[3])
    for row in result.rows:
        if row.why:
            yield ""
            yield [Styled(row.name or row.folder.name, "bold"), f" {row.outcome}: {row.why}"]
            yield from [f"  {row.hint}"] if row.hint else []
    if result.dry_run:
        yield ""
        yield "Nothing was written."


def _cells(row: EachRow, count: int) -> Iterator[Piece]:
    """The cells of a concept; of one that was not taught, only what became of it."""
    yield from ("", Styled(row.name or row.folder.name, STYLES.get(row.outcome, "")))
    if row.outcome in ("skipped", "failed"):
        yield from (row.outcome, *[""] * (count - 3))
        return
    sure = "" if row.confidence is None else f" ({row.confidence:.0%})"
    yield from (row.class_noun + sure, str(row.images), row.captions.partition(";")[0].partition(",")[0])
    if count == 7:
        yield row.masks.partition(",")[0]
    yield "" if row.outcome == "planned" else " -> ".join(map(figures.cosine, row.identity))
