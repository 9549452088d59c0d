"""`cns show --provenance REV`: the choices behind a concept as a table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cns_cli import figures
from cns_cli.output import Line, Piece, Styled, table

if TYPE_CHECKING:
    from cns_cli.porcelain.views.provenance import ProvenanceResult, ProvenanceRow

LONGEST = 26  # characters of a value, so that four columns fit into 80
COLOURS = {"yours": "yellow", "paper": "green"}


def provenance_lines(result: ProvenanceResult) -> Iterator[Line]:
    """Shape the choices: what, value, whose, and the default where somebody chose otherwise."""
    brought = f", brought in by {figures.short_id(result.commit)}" if result.commit else ""
    yield [Styled(result.name, "bold"), f"  on {result.family}{brought}"]
    yield ""
    yield from table(map(_cells, result.rows), header=("choice", "value", "whose", "default"))
    yield ""
    yield "paper: the paper's; ours: this project's; standard: common practice; yours: not"
    yield "the default. Why is said by --json, and in these places:"
    pages: dict[str, list[str]] = {}
    for row in result.rows:
        pages.setdefault(row.page, []).append(row.name)
    for page, names in pages.items():
        yield [Styled(f"  {page}", "dim")]
        yield from textwrap.wrap(", ".join(names), 76, initial_indent="    ", subsequent_indent="    ")


def _cells(row: ProvenanceRow) -> list[Piece]:
    whose = Styled(row.whose, COLOURS[row.whose]) if row.whose in COLOURS else row.whose
    return [row.name, _value(row.value), whose, _value(row.default) if row.whose == "yours" else ""]


def _value(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return figures.number(value)
    text = str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
