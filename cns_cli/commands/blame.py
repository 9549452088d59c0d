"""`cns blame CONCEPT [REV]`: who shares its neurons, and who moved them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cns_cli import figures
from cns_cli.optionfield import Argument, Option
from cns_cli.options import JsonFlag, NoPagerFlag, Revision
from cns_cli.output import Line, Output, Piece, Styled, table

if TYPE_CHECKING:
    from cns_cli.porcelain.views.blame import BlameLine, BlameResult, OtherLine
    from cns_cli.porcelain.views.overlaps import OverlapView

EXAMPLES = ("cns blame rex", "cns blame rex v1", "cns blame rex --matrices", "cns blame rex --json")

OVERLAP = ("neurons", "of its own", "by chance", "energy there", "cosine")


def blame(
    concept: Annotated[str, Argument("Name of a concept of the model.", "CONCEPT")],
    rev: Revision = "HEAD",
    matrices: Annotated[bool, Option("Also matrix by matrix.")] = False,
    as_json: JsonFlag = False,
    no_pager: NoPagerFlag = False,
) -> None:
    """Show who shares a concept's neurons, and who moved them.

    Exact, from the stored deltas. Energy there: the squared change that the other
    adds on the shared neurons, in units of what the concept itself adds there.
    """
    from cns_cli.porcelain.blame import blame as blame_concept

    out = Output(as_json=as_json, paged=not no_pager)
    result = blame_concept(Path.cwd(), concept, rev)
    out.answer(result.to_json(), blame_lines(result, matrices=matrices))
    if result.missing or not all(other.in_context for other in result.others):
        out.hint(f"cns check {figures.short_id(result.rev)} --concept {concept}", "does it look as it was learned?")


def blame_lines(result: BlameResult, *, matrices: bool) -> Iterator[Line]:
    """Shape the commits, the concept's own first; then what each of the others shares and adds."""
    own = result.own
    along = f" along {figures.plural(own.rank, 'direction')}" if own.rank else ""
    share = f"{own.neurons:,} neurons, {figures.percent(result.share_kv)} of K/V{along}"
    yield [Styled(own.name, "bold"), f" at {figures.short_id(result.rev)}: {share}; {result.alone:,} are its alone"]
    yield ""
    rows = [_commit_row(own, ""), *(_commit_row(other, _learned(other)) for other in result.others)]
    yield from table(rows, header=("commit", "date", "concept", "neurons", "learned", "author"), right=(3,))
    if result.missing:
        yield [Styled(own.name, "yellow"), f" was trained with {', '.join(result.missing)}, not here now"]
    if result.others:
        yield ""
        if result.compose == "named":
            yield f"A prompt sees the concepts that it names: {own.name} meets others where it names both."
        shares = [overlap_row(other.name, other.overlap) for other in result.others]
        yield from table(shares, header=("shared with", *OVERLAP), right=range(1, 6))
    for other in result.others if matrices else ():
        yield ""
        parts = [overlap_row(part.place, part) for part in other.matrices]
        yield from table(parts, header=(f"with {other.name}", *OVERLAP), right=range(1, 6))


def overlap_row(name: str, view: OverlapView) -> list[Piece]:
    """Shape one comparison, in the columns of `OVERLAP`."""
    return [
        name,
        f"{view.shared:,}",
        figures.percent(view.share),
        figures.percent(view.chance),
        "-" if view.energy is None else f"{view.energy:.3g} x",
        figures.cosine(view.cosine),
    ]


def _commit_row(line: BlameLine, learned: str) -> list[Piece]:
    return [
        Styled("-" if line.commit is None else figures.short_id(line.commit), "yellow"),
        "-" if line.time is None else figures.moment(line.time).split(" ")[0],
        line.name,
        f"{line.neurons:,}",
        learned,
        line.author or "-",
    ]


def _learned(other: OtherLine) -> str:
    """When it came, and whether one of the two knew of the other."""
    return (other.when or "-") + ("" if other.in_context else ", apart")
