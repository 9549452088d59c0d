"""`cns diff A [B]`: how two models differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cns_cli import figures
from cns_cli.commands.blame import OVERLAP, overlap_row
from cns_cli.commands.status import context_line
from cns_cli.optionfield import SEED, Argument, Option, file_to_write
from cns_cli.options import DeviceOption, JsonFlag, NoPagerFlag
from cns_cli.output import Line, Output, Piece, Styled, table
from cns_cli.porcelain.metrics import METRICS
from cns_cli.progress import open_progress

if TYPE_CHECKING:
    from cns_cli.porcelain.views.concepts import ConceptView
    from cns_cli.porcelain.views.difference import ChangedConcept, DiffResult

EXAMPLES = (
    "cns diff HEAD~1",
    "cns diff v1 main",
    "cns diff main...side --matrices",
    "cns diff v1 --images -o v1-and-now.png",
    "cns diff v1 --json",
)

_LABELS = {row.stored or name: row.label for name, row in METRICS.items()}


def diff(
    a: Annotated[str, Argument("Commit, branch, ...; or a range, A..B or A...B.", "A")],
    b: Annotated[str | None, Argument("What it is compared with; HEAD when absent.", "B")] = None,
    matrices: Annotated[bool, Option("Also matrix by matrix, for concepts that changed.")] = False,
    images: Annotated[bool, Option("Draw both models, with the same prompts and seeds, on one sheet.")] = False,
    picture: Annotated[
        Path | None, Option("With --images: the sheet, a PNG.", "FILE", flags="-o --out", check=file_to_write)
    ] = None,
    n: Annotated[int, Option("With --images: pictures of each concept.", "N", flags="-n", min=1, max=16)] = 2,
    seed: Annotated[int, SEED] = 0,
    device: DeviceOption = "auto",
    as_json: JsonFlag = False,
    no_pager: NoPagerFlag = False,
) -> None:
    """Show how two models differ: concepts, neurons, scores.

    A..B is A and B; A...B is where the two parted, and B. Scores are those that
    cns check stored of both models; nothing is computed but with --images.
    """
    if images != (picture is not None) or (picture and picture.suffix.lower() != ".png"):
        raise typer.BadParameter("--images and -o FILE go together, and the file's name ends in .png")
    if b is not None and ".." in a:
        raise typer.BadParameter(f"{a!r} names both sides; expected nothing behind it")
    from cns_cli.porcelain import diff as porcelain

    out = Output(as_json=as_json, paged=not no_pager)
    result = porcelain.diff(Path.cwd(), a, b)
    for warning in result.warnings:
        out.warn(warning)
    if picture is not None:
        from cns_cli.files import write_output

        with open_progress() as progress:
            data = porcelain.sheet(Path.cwd(), result, n=n, seed=seed, device=device, progress=progress)
        write_output(picture, data)
        out.note(f"wrote {picture}")
    out.answer(result.to_json(), diff_lines(result, matrices=matrices))


def diff_lines(result: DiffResult, *, matrices: bool) -> Iterator[Line]:
    """Shape what became of the concepts, then what their deltas share, their company, and their scores."""
    sides: list[list[Piece]] = [
        [letter, Styled(figures.short_id(side.id), "yellow"), figures.moment(side.time).split(" ")[0], side.subject]
        for letter, side in (("A", result.a), ("B", result.b))
    ]
    yield from table(sides)
    if not result.same_base:
        yield "the two stand on different base models: no concept can be compared with another"
    if result.a.compose != result.b.compose:
        words = (figures.COMPOSED.get(side.compose or "", "what cannot be read") for side in (result.a, result.b))
        yield "prompts see {} in A, and {} in B".format(*words)
    if result.a.erased != result.b.erased:
        yield f"erased in A: {figures.erased(result.a.erased)}; in B: {figures.erased(result.b.erased)}"
    yield from _concepts(result)
    if result.kept:
        yield ""
        yield f"the same in both: {', '.join(result.kept)}"
    yield from _overlaps(result.changed, matrices=matrices)
    yield from _contexts(result)
    yield from _scores(result)


def _concepts(result: DiffResult) -> Iterator[Line]:
    changed = [row for one in result.changed for row in (_row("changed: A", one.before), _row("B", one.now))]
    rows = [
        *(_row("added", view) for view in result.added),
        *(_row("removed", view) for view in result.removed),
        *changed,
    ]
    if rows:
        yield ""
        header = ("", "concept", "class noun", "token", "neurons", "of K/V", "commit")
        yield from table(rows, header=header, right=(4, 5))
    elif not result.kept:
        yield "neither holds a concept"


def _row(what: str, view: ConceptView) -> list[Piece]:
    return [
        Styled(what, {"added": "green", "removed": "red"}.get(what, "yellow")),
        Styled(view.name, "bold"),
        view.class_noun,
        figures.tokens(view.tokens),
        "-" if view.neurons is None else f"{view.neurons:,}",
        figures.percent(view.share_kv),
        "-" if view.commit is None else figures.short_id(view.commit),
    ]


def _overlaps(changed: Sequence[ChangedConcept], *, matrices: bool) -> Iterator[Line]:
    """Shape what A's and B's delta of one name share."""
    columns = ("neurons", "of A's", *OVERLAP[2:])
    rows = [overlap_row(one.name, one.overlap) for one in changed if one.overlap]
    if rows:
        yield ""
        yield from table(rows, header=("A and B share", *columns), right=range(1, 6))
    for one in changed if matrices else ():
        yield ""
        parts = [overlap_row(part.place, part) for part in one.matrices]
        yield from table(parts, header=(one.name, *columns), right=range(1, 6))


def _contexts(result: DiffResult) -> Iterator[Line]:
    """Shape how the company changed of concepts that did not."""
    if result.context:
        yield ""
    for one in result.context:
        for letter, view in (("A", one.before), ("B", one.now)):
            line = context_line(view) if view.outside_context else [view.name, " runs in its training context"]
            yield [f"in {letter}: ", *line]


def _scores(result: DiffResult) -> Iterator[Line]:
    """Shape stored scores of both models, and what was recorded as a concept that changed was learned."""
    rows: list[list[Piece]] = [
        [one.concept, _LABELS.get(one.metric, one.metric), *_cells(one.metric, one.a, one.b), f"{one.images or '-'}"]
        for one in result.scores
    ]
    for one in result.changed:
        learned = {key: one.recorded[f"{key}_after"] for key in _LABELS if f"{key}_after" in one.recorded}
        rows += [[one.name, f"{_LABELS[key]} when learned", *_cells(key, *pair), "-"] for key, pair in learned.items()]
    if rows:
        yield ""
        yield from table(rows, header=("concept", "score", "A", "B", "change", "images"), right=(2, 3, 4, 5))


def _cells(metric: str, a: float, b: float) -> tuple[str, str, str]:
    write = figures.drift if metric == "drift" else figures.cosine
    return write(a), write(b), f"{b - a:+z.3f}"
